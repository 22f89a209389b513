"""Settings for long clips in whole runs: prompts, colours, fades, and a row that goes on."""

import json
import re
from collections import Counter

import numpy as np
import pytest
from safetensors.numpy import load_file

from animate.video.files import read_video
from test_reruns import SAMPLE


@pytest.fixture
def continued(project, rows):
    """The finished project's table, with a row that goes on from its second one."""
    last = rows[1] | {"clip": "last", "continue_from": "swap", "end": "1.5"}
    last |= {"overlap_blend": "2", "color_match": "overlap", "conditioning_frames": "5"}
    rows.append(last | {"prompts": "0.2: one; 1.4: two", "prompt": ""})
    project.write_table(*rows)
    return project


def test_a_row_that_goes_on_from_a_finished_one_samples_that_not_again(continued):
    jobs = continued.pending_jobs()
    assert jobs["swap"] == {"intermediate": 1} and "dance" not in jobs
    assert jobs["last"]["last_frames"] == jobs["last"]["sample"] == 1
    assert jobs[""] == {"prompt": 2}


@pytest.mark.slow
def test_a_row_goes_on_from_another_and_its_record_says_so(continued, rows):
    continued.snakemake()
    assert continued.pending_jobs() == {}
    results = continued.folder / "results"
    before = load_file(results / "last/before.safetensors")
    shown = list(read_video(results / "swap/intermediate.mp4"))
    assert np.array_equal(before["result"], shown[-5:])
    assert before.keys() == {"result", "pose", "face", "background", "mask"}
    record = json.loads((results / "last/last.json").read_text())
    given = record["inputs"]["continue_from"]
    assert (given["clip"], given["path"]) == ("swap", "results/swap/intermediate.mp4")
    assert record["settings"]["prompts"] == [[0.2, "one"], [1.4, "two"]]
    read = record["sampling"]["inputs"]
    assert {"before", "prompt", "prompt@0.9"} <= read.keys()
    assert "the result of swap" in (results / "last/last.html").read_text()
    # Another name, the same frames.
    rows[2]["overlap_blend"] = "3"
    continued.write_table(*rows)
    assert continued.pending_jobs() == {"last": SAMPLE}
    rows[1]["seed"] = "1"
    continued.write_table(*rows)
    jobs = continued.pending_jobs()
    assert jobs["swap"] == {**SAMPLE, "intermediate": 1}
    assert jobs["last"] == Counter({"last_frames": 1, **SAMPLE})


def test_frames_of_another_size_are_refused_before_anything_is_sampled(project, rows):
    first = rows[0] | {"clip": "first"}
    other = rows[0] | {"clip": "other", "continue_from": "first", "resolution_area": "160x160"}
    project.write_table(*rows, first, other)
    done = project.snakemake("--keep-going", "results/other/timeline.json", check=False)
    assert done.returncode
    said = (project.folder / "logs/timeline/other.log").read_text()
    assert "clip other: column 'continue_from': the frames of first are 96x144, but" in said
    assert not (project.folder / "results/first/sampled.mp4").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ({"fps": "10"}, "first has .* frames per second, but this clip 10; set fps of this clip"),
        ({"conditioning_frames": "13"}, "first has .* frames, fewer than the 13 conditioning"),
    ],
)
def test_frames_that_cannot_be_gone_on_from_are_refused_before_anything_is_sampled(
    project, rows, cells, said
):
    first = rows[0] | {"clip": "first", "start": "", "end": "0.3"}
    other = first | {"clip": "other", "continue_from": "first"} | cells
    project.write_table(*rows, first, other)
    done = project.snakemake("--keep-going", "results/other/timeline.json", check=False)
    assert done.returncode
    log = (project.folder / "logs/timeline/other.log").read_text()
    assert re.search(f"clip other: column 'continue_from': {said}", log)
    assert not (project.folder / "results/first/sampled.mp4").exists()


def test_previews_sample_nothing_for_a_row_that_goes_on_from_a_chained_one(project, rows):
    """Its size is compared with that of a timeline that only a sampled clip has."""
    follow = rows[1] | {"clip": "follow", "video": "clip:swap"}
    last = rows[1] | {"clip": "last", "continue_from": "follow", "seed": "1"}
    plain = rows[1] | {"clip": "plain", "continue_from": "swap"}
    project.write_table(*rows, follow, last, plain)
    jobs = project.pending_jobs("previews", "export_keypoints")
    assert not any("sample" in made for made in jobs.values())
    assert jobs["plain"]["verdict"] == jobs["plain"]["export_clip_keypoints"] == 1
    assert not {"follow", "last"} & jobs.keys()
