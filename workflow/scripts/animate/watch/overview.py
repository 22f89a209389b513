"""Where a run stands: how many clips are finished, and how far those are that are sampled."""

from collections.abc import Iterable, Mapping

from animate.sampling.progress import Sampled, duration, read_progress
from animate.watch.records import PlannedJob

SHOWN = 5


def overview(unfinished: Mapping[str, Iterable[PlannedJob]], total: int, since: float) -> str:
    """Return one line on all clips: the finished ones, and where those being sampled are.

    Args:
        unfinished: the unfinished jobs of each clip that has any.
        total: clips that this run works on.
        since: time of the run's start; what was written before is of other runs.
    """
    steps = {
        clip: found
        for clip, jobs in unfinished.items()
        for job in jobs
        for log in job.logs
        if (found := read_progress(log, since))
    }
    shown = [f"{clip} {_where(step)}" for clip, step in list(steps.items())[:SHOWN]]
    more = [f"{len(steps) - SHOWN} more"] if len(steps) > SHOWN else []
    sampling = f", {len(steps)} sampling: {'; '.join(shown + more)}" if steps else ""
    return f"clips: {total - len(unfinished)} of {total} finished{sampling}"


def _where(step: Sampled) -> str:
    line = f"segment {step.segment}/{step.segments} step {step.step}/{step.steps}"
    if step.seconds_left is not None:
        line += f" about {duration(step.seconds_left)} left"
    return line
