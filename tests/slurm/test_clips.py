"""Six clips on a real SLURM, and what a second run submits: counted in SLURM's own records."""

import os
import time
from collections import Counter

import pytest

WHOLE = ["finish", "prepare", "sample"]
RESAMPLED = ["finish", "sample"]


def test_every_clip_is_three_submissions(finished):
    kinds = Counter(job.kind for job in finished.jobs)
    assert kinds == {"prepare": 6, "sample": 6, "finish": 6, "small_model": 1, "prompt": 1}
    assert {job.state for job in finished.jobs} == {"COMPLETED"}
    finished.assert_whole()


@pytest.mark.parametrize(
    ("clip", "gpus", "nodes"),
    [
        ("dance", 1, 1),
        ("swap", 1, 1),
        ("dance2", 2, 1),
        ("swap2", 2, 1),
        ("wide", 4, 2),
        ("auto", 2, 1),
    ],
)
def test_a_clip_gets_its_gpus_and_its_time(finished, clip, gpus, nodes):
    (job,) = finished.samplers_of(clip)
    assert (job.gpus, job.nodes, job.minutes) == (gpus, nodes, 5)
    log = (finished.folder / f"logs/sample/{clip}.log").read_text()
    assert f"{gpus} cpu rank" in log


def test_a_second_run_submits_nothing(project):
    assert project.submitted() == {}


def test_only_what_changed_is_submitted(project, rows):
    rows[0]["steps"] = "1"
    rows[1]["mask_kernel"] = "5"
    project.write_table(*rows, rows[5] | {"clip": "added"})
    assert project.submitted() == {"dance": RESAMPLED, "swap": WHOLE, "added": WHOLE}


def test_other_gpus_a_removed_row_and_a_new_order_submit_no_sampling(project, rows):
    rows[1]["gpus"] = "2"
    project.write_table(*reversed(rows[1:]))
    # Its record says how many GPUs a clip had.
    assert project.submitted() == {"swap": ["finish"]}


def test_touched_files_submit_nothing(project):
    later = time.time() + 60
    for path in (*project.folder.glob("demo/*"), *project.folder.glob("workflow/**/*.py")):
        os.utime(path, (later, later))
    assert project.submitted() == {}
