"""Prompts that hold from a second on: how they are written, and which segment reads which."""

import json

import numpy as np
import pytest
import torch

from animate.config.checks import combination_mistakes, ignored_settings
from animate.config.job import read_job
from animate.config.settings import ClipSettings
from animate.demo.model import TEXT_WIDTH
from animate.devices.machine import Machine
from animate.journal.key import input_hashes, job_key
from animate.model.text import save_prompt
from animate.sampling.clip import read_clip
from animate.sampling.progress import Progress
from animate.sampling.run import run_job
from sampler_clip import RATE, result_frames, write_clip, write_model


@pytest.mark.parametrize(
    ("written", "prompts"),
    [
        ("0: a woman walks; 4.5s: she runs", ((0, "a woman walks"), (4.5, "she runs"))),
        ("1:30: at 2: the end; no time; 95 s: x", ((90, "at 2: the end; no time"), (95, "x"))),
        ("0: walks; 4: runs; ", ((0, "walks"), (4, "runs"))),
        ({0: "walks", 4.5: "runs", "1:30": "rests"}, ((0, "walks"), (4.5, "runs"), (90, "rests"))),
        ((), ()),
    ],
)
def test_how_prompts_are_written(written, prompts):
    assert ClipSettings(prompts=written).prompts == prompts
    if isinstance(written, str):
        read = ClipSettings.model_validate_strings({"prompts": written})
        assert read.prompts == prompts


@pytest.mark.parametrize(
    "written",
    # Times that would become part of the text before them, and texts that say nothing.
    [
        "0: a; 4:b",
        "0: a;4:",
        "0: a; -4: b",
        "0: a; 4,5: b",
        "0: ; 4: b",
        {0: "  "},
        "a woman walks",
        "walks; 4: runs",
        "4: a; 2: b",
        "4: a; 4: b",
        {2: ""},
        {-1: "a"},
        {1: 2},
        # YAML's `true` and `on`.
        {True: "a"},
        {False: "a", 2: "b"},
        7,
    ],
)
def test_what_is_no_prompt_of_a_second(written):
    with pytest.raises(ValueError, match="prompts"):
        ClipSettings(prompts=written)


def test_prompts_count_from_the_beginning_of_the_driving_video():
    timed = {"prompts": "2: walks; 5: runs", "prompt": "stands"}
    whole, late = ClipSettings(**timed), ClipSettings(**timed, start=3.0)
    assert (whole.first_prompt, whole.later_prompts) == ("stands", whole.prompts)
    assert (late.first_prompt, late.later_prompts) == ("walks", ((2, "runs"),))
    assert late.all_prompts[:2] == ["walks", "runs"]
    assert list(ignored_settings(["prompt"], whole, "animate")) == []
    assert "'prompt', which is not read" in next(ignored_settings(["prompt"], late, "animate"))
    (mistake,) = combination_mistakes(ClipSettings(**timed, end=5.0))
    assert str(mistake) == "prompts: 5 s is not before the clip's end at 5 s"


def with_prompts(path, **seeds):
    """Give the clip of a settings file prompts by their seconds, made of seeds; return the file."""
    job = json.loads(path.read_text())
    for second, seed in seeds.items():
        file = path.parent / f"{seed}.prompt.safetensors"
        generator = torch.Generator().manual_seed(seed)
        save_prompt(file, torch.randn(5, TEXT_WIDTH, generator=generator))
        job["inputs"][f"prompt@{second}"] = str(file)
    path.write_text(json.dumps(job))
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model"))


SEGMENTS = {"segment_frames": 9, "steps": 1}


def sampled(path) -> tuple[np.ndarray, list[str]]:
    said = []
    progress = Progress("a", quiet=True)
    progress.say = said.append
    run_job(read_job(path), Machine(torch.device("cpu"), torch.float32), progress)
    return result_frames(path), said


def test_a_segment_reads_the_prompt_that_holds_where_it_begins(model, tmp_path):
    """Four segments of eight new frames begin at frames 0, 9, 17 and 25."""
    plain = write_clip(tmp_path / "plain", model, 33, **SEGMENTS)
    second = f"{float(17 / RATE):.3f}"
    path = write_clip(tmp_path / "timed", model, 33, **SEGMENTS)
    # The last two hold within one segment.
    with_prompts(path, **{"0.1": 1, second: 7, "1.01": 8, "1.02": 1})
    clip = read_clip(read_job(path))
    assert clip.prompts == ["prompt", "prompt@0.1", f"prompt@{second}", f"prompt@{second}"]
    (frames, said), (others, _) = sampled(path), sampled(plain)
    # The plain clip's prompt is of seed 1, too.
    assert np.array_equal(frames[:17], others[:17])
    assert not np.array_equal(frames[17:25], others[17:25])
    assert "segment 3 is the first with the prompt of second 0.567" in said
    assert any("the prompt of second 1.02 is read by no segment" in line for line in said)


def test_what_segments_read_is_the_key_and_not_the_seconds(model, tmp_path):
    def key(**seeds):
        path = write_clip(tmp_path / "clip", model, 33, **SEGMENTS)
        clip = read_clip(read_job(with_prompts(path, **seeds)))
        return job_key(clip.job, [], input_hashes(clip.job), clip.shots, clip.prompts)

    none, early, alike, other, later, unread = (
        key(**seeds) for seeds in ({}, {"0.5": 7}, {"0.4": 7}, {"0.5": 8}, {"0.7": 7}, {"1.09": 7})
    )
    assert early == alike and none == unread
    assert len({none, early, other, later}) == 4
