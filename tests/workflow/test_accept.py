"""A clip whose verdict is bad fails before its sampler; a finished one is never sampled for it."""

import csv
import json
from fractions import Fraction
from itertools import islice

import numpy as np
import pytest

from animate.demo.clips import FRAME_SIZE, moving_photograph
from difficult import write_clip

BAD = "clip gone: The person is found in "
REFUSED = "; require: none samples it as it is"
# Other thresholds, other words about the clip, but no other frames.
TOLD = {"verdict": 1, "provenance": 1, "page": 1}


@pytest.fixture
def gone(project, rows):
    """The finished project, and a clip whose person leaves in its middle."""
    frames = list(islice(moving_photograph(), 16))
    frames += [np.full((*FRAME_SIZE, 3), 120, np.uint8)] * 14
    write_clip(project.folder / "gone.mp4", frames, rate=Fraction(25))
    row = rows[0] | {"clip": "gone", "video": "../gone.mp4", "end": ""}
    project.write_table(*rows, row)
    return project, row


def manifest(project):
    """Return the verdicts of both manifests, which must agree: {clip: (finished, state, why)}."""
    folder = project.folder / "results"
    entries = json.loads((folder / "manifest.json").read_text())["clips"]
    with (folder / "manifest.tsv").open(newline="") as file:
        rows = {row["clip"]: row for row in csv.DictReader(file, delimiter="\t")}
    assert rows.keys() == entries.keys()
    found = {}
    for name, entry in entries.items():
        why = " ".join(entry["verdict"]["sentences"])
        found[name] = entry["finished"], entry["verdict"]["state"], why
        assert (rows[name]["finished"] == "yes") == entry["finished"]
        assert (rows[name]["verdict"], rows[name]["why"]) == found[name][1:]
    return found


def test_a_bad_clip_is_not_sampled_until_nothing_is_required(gone, rows):
    project, row = gone
    done = project.snakemake("--keep-going", "--retries", "2", check=False)
    assert done.returncode == 1
    assert not (project.folder / "results/gone/sampled.mp4").exists()
    lines = done.stderr.splitlines()
    (told,) = (line for line in lines if line.startswith("clip gone: verdict: bad. The person is"))
    assert "less than the 80% of require body (longest without 0:00." in told
    (refused,) = (line for line in lines if line.startswith(BAD))
    assert REFUSED in refused
    assert sum(line.startswith(refused.replace("clip gone", "  gone")) for line in lines) == 1
    assert not any("tried again" in line for line in lines)
    finished, state, why = manifest(project)["gone"]
    assert (finished, state) == (False, "bad") and why in told
    assert project.pending_jobs()["gone"]["accept"] == 1

    project.write_table(*rows, row | {"require": "none"})
    project.snakemake()
    assert manifest(project)["gone"] == (True, "not judged", "")
    assert not (project.folder / "results/gone/.accepted").exists()
    assert project.pending_jobs() == {}


@pytest.mark.slow
def test_another_threshold_samples_no_finished_clip(gone, rows):
    """Neither one that it passes, nor one that it does not, nor the way back."""
    project, row = gone
    project.write_table(*rows, row | {"require": "body=0.4"})
    project.snakemake()
    sampled = project.folder / "results/gone/sampled.mp4"
    before = sampled.stat().st_mtime_ns
    assert manifest(project)["gone"][1] == "warning"
    for require, state in (
        ("body=0.05 face=none", "good"),
        ("body=0.9", "bad"),
        ("none", "not judged"),
    ):
        project.write_table(*rows, row | {"require": require})
        assert project.pending_jobs() == {"gone": TOLD}
        project.snakemake()
        assert manifest(project)["gone"][1] == state
        assert sampled.stat().st_mtime_ns == before
    # What samples it anew asks again.
    project.write_table(*rows, row | {"require": "body=0.9", "steps": "2"})
    jobs = project.pending_jobs()["gone"]
    assert jobs["verdict"] == jobs["accept"] == jobs["sample"] == 1
    assert BAD in project.snakemake(check=False).stderr
    assert sampled.stat().st_mtime_ns == before


def test_a_threshold_that_is_none_is_named(project, rows):
    project.write_table(rows[0] | {"require": "bodey=0.5"}, rows[1] | {"require": "face=2"})
    said = project.snakemake(check=False).stderr
    assert "row 2, column 'require.bodey': unknown; did you mean 'body'?" in said
    assert "row 3, column 'require.face': '2' is not allowed; allowed: a number from 0 to 1" in said
