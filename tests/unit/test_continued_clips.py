"""Clips that go on from the last frames of another row's result."""

import json
from argparse import Namespace
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

import last_frames
from animate.config.job import read_job
from animate.config.settings import SegmentSettings
from animate.devices.machine import Machine
from animate.errors import ClipError
from animate.journal.key import input_hashes, job_key
from animate.sampling.clip import frames_before, read_clip
from animate.sampling.conditions.frames import read_frames
from animate.sampling.progress import Progress
from animate.sampling.run import run_job
from animate.sampling.segments import plan_segments, segment_lengths, segment_starts
from animate.video.files import read_video
from animate.video.last_frames import load_last_frames, save_last_frames
from animate.video.source import Picture
from animate.video.timeline import Timeline
from sampler_clip import change_settings, result_frames, write_clip, write_model
from timeline import check_before

SETTINGS = {"segment_frames": 13, "steps": 2, "conditioning_frames": 5}


class Stop(Exception):
    """Stands for the end of a process."""


class Stopping(Progress):
    """Ends a run after some steps."""

    def __init__(self, steps: int = 0):
        super().__init__("clip", quiet=True)
        self.left = steps

    def step(self, segment, step):
        self.left -= 1
        if self.left == 0:
            raise Stop


def sample(path, steps: int = 0) -> np.ndarray:
    run_job(read_job(path), Machine(torch.device("cpu"), torch.float32), Stopping(steps))
    return result_frames(path)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model"))


def go_on(path, other, count: int = 5):
    """Have the clip of a settings file go on from the videos of another; return its file."""
    job, videos = json.loads(path.read_text()), read_job(other).inputs
    roles = [role for role in ("pose", "face", "background", "mask") if role in videos]
    given = dict.fromkeys(last_frames.ROLES) | {role: videos[role] for role in roles}
    given["result"] = read_job(other).output
    output = path.parent / "before.safetensors"
    last_frames.main(Namespace(**given, count=count, output=output))
    job["inputs"]["before"] = str(output)
    path.write_text(json.dumps(job))
    change_settings(path, continue_from="other")
    return path


@pytest.mark.parametrize("conditioning", [1, 5, 9])
@pytest.mark.parametrize("frames", [1, 3, 4, 8, 12, 13, 30])
@pytest.mark.parametrize("shots", [(0,), (0, 14)])
def test_a_continued_clip_is_planned_like_the_rest_of_a_longer_one(frames, conditioning, shots):
    frames += shots[-1]
    segments = plan_segments(frames, 13, conditioning, shots, "pad", True)
    shown = [f for s in segments for f in s.sources[s.overlap : s.end]]
    assert shown == list(range(frames))
    assert segments[0].overlap == conditioning
    assert segments[0].sources[:conditioning] == list(range(-conditioning, 0))
    lengths = segment_lengths(frames, 13, conditioning, shots, "pad", True)
    assert [len(s.sources) for s in segments] == lengths
    settings = SegmentSettings(segment_frames=13, conditioning_frames=conditioning)
    settings = settings.model_copy(update={"segment_fit": "pad", "continue_from": "other"})
    if len(shots) == 1:
        begins = [s.sources[s.overlap] for s in segments]
        assert segment_starts(frames, shots, settings) == begins
    whole = plan_segments(13 + frames, 13, conditioning, (0, *(13 + s for s in shots[1:])))
    moved = [[f + 13 for f in s.sources[: s.end]] for s in segments]
    assert [s.sources[: s.end] for s in whole[1:]] == moved


@pytest.mark.parametrize("mode", ["animate", "replace"])
def test_a_segment_reads_what_the_frames_before_were_made_from(model, tmp_path, mode):
    whole = write_clip(tmp_path / "whole", model, 21, mode)
    videos = {r: p for r, p in read_job(whole).inputs.items() if p.suffix == ".mp4"}
    save_last_frames(tmp_path / "last", videos, 5)
    before = load_last_frames(tmp_path / "last")
    (segment,) = plan_segments(8, 13, 5, continued=True)
    (frames,) = read_frames(videos, [segment], before)
    for role, video in videos.items():
        shown = np.stack(list(read_video(video)))
        assert np.array_equal(getattr(frames, role), np.concatenate([shown[-5:], shown[:8]])), role


@pytest.mark.parametrize("mode", ["animate", "replace"])
def test_the_first_segment_starts_from_the_frames_before(model, tmp_path, mode):
    """With the noise that a first segment has, it is the segment that would come next."""
    other = write_clip(tmp_path / "other", model, 13, mode, **SETTINGS)
    sample(other)
    own = go_on(write_clip(tmp_path / "own", model, 16, mode, **SETTINGS), other)
    job = read_job(own)
    shown = np.stack(list(read_video(read_job(other).output)))[-5:]
    given = frames_before(read_clip(job))
    expected = torch.from_numpy(shown).permute(3, 0, 1, 2)[None] / 127.5 - 1
    assert torch.allclose(given, expected, atol=1e-6)
    frames = sample(own)
    assert len(frames) == 16
    fresh = sample(write_clip(tmp_path / "fresh", model, 16, mode, **SETTINGS))
    assert not np.array_equal(frames, fresh)
    # As many segments as the rest of a longer clip.
    assert len(read_clip(job).segments) == 2


def test_a_killed_run_goes_on_with_the_same_frames(model, tmp_path):
    settings = SETTINGS | {"color_match": "overlap", "overlap_blend": 3}
    other = write_clip(tmp_path / "other", model, 13, **settings)
    sample(other)
    whole, killed = (
        go_on(write_clip(tmp_path / name, model, 16, **settings), other) for name in ("a", "b")
    )
    expected = sample(whole)
    for steps in (1, 3):
        with pytest.raises(Stop):
            sample(killed, steps)
    assert np.array_equal(sample(killed), expected)


def test_other_frames_before_are_another_key_and_the_name_is_not(model, tmp_path):
    own = write_clip(tmp_path / "own", model, 16, **SETTINGS)
    keys = []
    for frames in (13, 14):
        other = write_clip(tmp_path / str(frames), model, frames, **SETTINGS)
        sample(other)
        job = read_job(go_on(own, other))
        keys.append(job_key(job, [], input_hashes(job)))
    settings = job.settings.model_copy(update={"continue_from": "renamed"})
    keys.append(job_key(replace(job, settings=settings), [], input_hashes(job)))
    assert keys[0] != keys[1] == keys[2]


def test_frames_of_another_size_or_number_are_refused(model, tmp_path):
    other = write_clip(tmp_path / "other", model, 13, size=(48, 32), **SETTINGS)
    sample(other)
    own = go_on(write_clip(tmp_path / "own", model, 16, **SETTINGS), other)
    with pytest.raises(ClipError, match="5 frames of 48x32, but this clip goes on from 5 of 32x32"):
        sample(own)
    with pytest.raises(ClipError, match="has 13 frames, fewer than the 21 conditioning frames"):
        go_on(own, other, 21)


@pytest.mark.parametrize(
    ("own", "given", "said"),
    [
        ({"model_size": (48, 64)}, {}, "frames of first are 64x48, but those of this clip 48x64"),
        ({"frame_rate": Fraction(10)}, {}, "first has 25 frames per second, but this clip 10"),
        ({}, {"conditioning_frames": 13}, "first has 10 frames, fewer than the 13 conditioning"),
    ],
)
def test_what_cannot_be_gone_on_from_is_known_by_the_timelines(own, given, said):
    """So it is refused before either clip is sampled."""
    before = Timeline(
        Fraction(25),
        tuple(range(10)),
        (64, 48),
        Fraction(0),
        Picture((64, 48), "1", False, 1, None),
    )
    args = Namespace(clip_before="first", frame_shape=None, conditioning_frames=5)
    check_before(before, before, args)
    for name, value in given.items():
        setattr(args, name, value)
    with pytest.raises(ClipError, match=f"column 'continue_from': .*{said}"):
        check_before(replace(before, **own), before, args)
