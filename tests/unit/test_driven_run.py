"""Clips of Wan-Animate-2 from their settings file to their video, through what all models share."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from animate.config.job import read_job
from animate.demo.tiny2 import write_tiny_2
from animate.devices.machine import machine_of
from animate.devices.world import ALONE
from animate.errors import ClipError, HostMemoryShort
from animate.journal.key import input_hashes, job_key
from animate.parallel import build
from animate.parallel.build import build_transformer
from animate.parallel.plan import (
    GIB,
    Plan,
    Sizes,
    Workload,
    check_host_memory,
    model_sizes,
    plan_memory,
    plans,
)
from animate.sampling.conditions.driven import DrivenConditions
from animate.sampling.progress import Progress
from animate.sampling.run import run_job
from animate.video.files import video_info
from driven_models import tiny_inputs, velocities
from sampler_clip import (
    RATE,
    change_settings,
    result_frames,
    write_clip,
    write_driven_clip,
    write_model,
)

CPU = machine_of(ALONE, "cpu")
FRAMES, SEGMENT = 14, 9


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A tiny model of this kind."""
    folder = tmp_path_factory.mktemp("model")
    write_tiny_2(folder)
    return folder


@pytest.fixture
def clip(model, tmp_path):
    """A clip of two segments, guided."""
    settings = {"segment_frames": SEGMENT, "segment_fit": "pad", "guidance_scale": 3.0}
    return write_driven_clip(tmp_path / "clip", model, FRAMES, (48, 32), solver="dpm++", **settings)


class Stop(Exception):
    """What a run is ended by."""


def sample(path, segments: int | None = None) -> Progress:
    """Run a settings file; end after so many segments, where that is given."""
    progress, done = Progress("clip", quiet=True), []
    if segments is not None:

        def stop(segment: int) -> None:
            done.append(segment)
            if len(done) == segments:
                raise Stop

        progress.parts = stop
    run_job(read_job(path), CPU, progress)
    return progress


def test_a_clip_has_its_frames_and_tells_what_sampled_it(clip):
    sample(clip)
    job = json.loads(clip.read_text())
    info = video_info(job["output"])
    assert (info.frame_count, info.frame_rate, info.size) == (FRAMES, RATE, (48, 32))
    segments = json.loads(Path(job["record"]).read_text())["segments"]
    assert [(one["first"], one["last"]) for one in segments] == [(1, 2)]
    assert segments[0]["made_by"]["attention"] == "plain"


def test_a_killed_clip_goes_on_to_the_same_frames(clip, tmp_path, monkeypatch):
    sample(clip)
    expected = result_frames(clip)
    job = json.loads(clip.read_text()) | {"journal": str(tmp_path / "other")}
    clip.write_text(json.dumps(job))
    with pytest.raises(Stop):
        sample(clip, segments=1)
    # The finished segment is not sampled again.
    made = []
    both = DrivenConditions.branches
    monkeypatch.setattr(DrivenConditions, "branches", lambda *args: made.append(1) or both(*args))
    sample(clip)
    assert len(made) == 1
    assert np.array_equal(result_frames(clip), expected)


def test_the_scale_of_the_first_frame_counts_and_what_is_not_read_does_not(clip):
    def key(**settings) -> str:
        change_settings(clip, **settings)
        job = read_job(clip)
        return job_key(job, [], input_hashes(job))

    first = key()
    assert key(pose_strength=0.5, face_strength=0.0) == first
    assert key(log_scale=-1.3) != first
    sample(clip)
    scaled = result_frames(clip)
    change_settings(clip, log_scale=0.0)
    sample(clip)
    assert not np.array_equal(scaled, result_frames(clip))


def test_the_key_of_a_first_model_s_clip_knows_nothing_of_that_scale(tmp_path):
    path = write_clip(tmp_path / "clip", write_model(tmp_path / "model"), 5)
    keys = []
    for scale in ("auto", 0.0, -1.3):
        change_settings(path, log_scale=scale)
        job = read_job(path)
        keys.append(job_key(job, [], input_hashes(job)))
    assert len({*keys}) == 1


def test_inputs_of_another_kind_of_model_are_refused(model, tmp_path):
    first = write_model(tmp_path / "first")
    path = write_clip(tmp_path / "posed", first, 5)
    job = json.loads(path.read_text()) | {"model": str(model)}
    path.write_text(json.dumps(job))
    with pytest.raises(ClipError, match="another kind than the clip's inputs, which have a pose"):
        sample(path)
    path = write_driven_clip(tmp_path / "driven", model, 5)
    job = json.loads(path.read_text())
    path.write_text(json.dumps(job | {"mode": "replace"}))
    with pytest.raises(ClipError, match="mode is animate"):
        read_job(path)
    path.write_text(json.dumps(job | {"settings": {"log_scale": "auto"}}))
    with pytest.raises(ClipError, match="log_scale a number"):
        read_job(path)


@pytest.mark.parametrize("precision", ["bf16", "fp8"])
def test_keys_and_values_lie_where_the_plan_has_them(model, monkeypatch, precision):
    monkeypatch.setattr(build, "multiplies_fp8", lambda device: True)
    planned = []

    def next_plan(model, device, world, workload, fresh) -> Plan:
        size = workload.width * workload.height
        every = plans(model_sizes(model), workload.tokens, size, workload.frames, world.size)
        planned.append([plan for plan in every if not plan.by_frames][len(planned)])
        return planned[-1]

    monkeypatch.setattr(build, "common_plan", next_plan)
    given, found, workload = tiny_inputs((4, 2, 3)), [], Workload(96, 64, 45, precision=precision)
    dtype = torch.float32 if precision == "bf16" else torch.bfloat16
    for _ in range(4):
        made = build_transformer(model, dtype, torch.device("cpu"), [], ALONE, workload, print)
        found.append(velocities(made.model, given, -1.3))
    ways = [(one.placement, one.streamed) for one in planned]
    assert ways == [(p, s) for p in ("replicated", "offload") for s in (False, True)]
    block = planned[0].peak - planned[1].peak
    assert 0 < block < planned[1].host_memory == made.model.kept_per_token * 12 * 24
    for velocity in found[1:]:
        assert all(map(torch.equal, velocity, found[0]))
    assert made.how["streamed"] and "keys of the driving video streamed" in str(planned[-1])


@pytest.mark.parametrize(
    ("free", "placement", "streamed"),
    [(64, "replicated", True), (48, "offload", False), (16, "replicated", True)],
)
def test_a_host_without_room_for_streamed_keys_gets_another_plan(free, placement, streamed):
    # Wan-Animate-2 in bf16 at 1280x720x81, on a GPU of 80 GiB.
    sizes = Sizes((752 << 20,) * 40, 2 << 30, 5120, 13824, kept=40 * 2 * 5120 * 2)
    host = [("a", free * GIB)]
    plan = plan_memory(sizes, 22 * 3600, 1280 * 720, 81, 79 * GIB, 1, hosts=host)
    assert (plan.placement, plan.streamed) == (placement, streamed)
    if free == 16:
        with pytest.raises(HostMemoryShort, match=r"driving video's keys .* segment_frames or"):
            check_host_memory(plan, host)
    else:
        check_host_memory(plan, host)
