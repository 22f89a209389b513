"""The reference's features from a process of their own are those made in this one."""

import os
import signal
from pathlib import Path

import psutil
import pytest
import torch

from animate.config.job import read_job
from animate.errors import ClipError
from animate.model.image import reference_features
from animate.sampling.reference import SCRIPT, ReferenceFeatures
from sampler_clip import write_clip, write_model


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    folder = tmp_path_factory.mktemp("job")
    return read_job(write_clip(folder / "clip", write_model(folder / "model"), 5, size=(48, 32)))


def encoders() -> list[psutil.Process]:
    """Return this process's children that encode; other tests leave children of other kinds."""
    children = psutil.Process().children()
    return [child for child in children if str(SCRIPT) in child.cmdline()]


def test_features_are_the_same(job):
    with ReferenceFeatures(job, job.model) as features:
        found = features.wait()
    expected = reference_features(job.model, job.inputs["reference"], 48, 32)
    assert torch.equal(found, expected)


def test_a_broken_encoder_is_named(job, tmp_path):
    with ReferenceFeatures(job, tmp_path) as features, pytest.raises(ClipError, match="get the"):
        features.wait()


def test_a_process_that_is_killed_is_told(job):
    with ReferenceFeatures(job, job.model) as features:
        (child,) = encoders()
        os.kill(child.pid, signal.SIGKILL)
        with pytest.raises(ClipError, match="ended by SIGKILL"):
            features.wait()


def test_nothing_is_left_of_one_that_was_not_needed(job):
    with ReferenceFeatures(job, job.model) as features:
        folder = Path(features._folder.name)
    assert not folder.exists() and not encoders()
