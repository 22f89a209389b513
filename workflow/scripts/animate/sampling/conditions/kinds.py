"""The kinds of conditions that clips are sampled on, one for each kind of model."""

from animate.config.job import SamplingJob
from animate.sampling.conditions.driven import DrivenConditions
from animate.sampling.conditions.posed import PosedConditions
from animate.sampling.conditions.shared import Conditions

KINDS = (PosedConditions, DrivenConditions)


def conditions_of(job: SamplingJob) -> type[Conditions]:
    """Return the kind of a job, which has the video that moves the person."""
    return next(kind for kind in KINDS if kind.DRIVER in job.inputs)
