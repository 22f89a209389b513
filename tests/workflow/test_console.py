"""What a person at the console sees of a run, and what is tried again."""

import time
from contextlib import suppress

import psutil
import pytest

from project import Project

SENTENCE = "driving video text.mp4 is no video or is cut off"
BLOCKS = "Error in rule", "RuleException", "CalledProcessError", "rule timeline:", "Finished jobid"


@pytest.fixture
def broken(project, rows):
    """A project with a clip whose driving video is none."""
    (project.folder / "text.mp4").write_text("this is not a video")
    project.write_table(*rows, rows[0] | {"clip": "text", "video": "../text.mp4"})
    return project


def log_of(project: Project) -> str:
    """Return Snakemake's own log file of the last run."""
    return sorted(project.folder.glob(".snakemake/log/*"))[-1].read_text()


def test_a_users_mistake_is_one_line_and_is_not_tried_again(broken):
    done = broken.snakemake("--keep-going", "--retries", "2", check=False)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert [line.split(" (")[0] for line in lines if SENTENCE in line] == [
        f"clip text: {SENTENCE}",
        f"  text: {SENTENCE}",
    ]
    assert any(line.endswith("% done, clip text: timeline") for line in lines)
    assert [block for block in BLOCKS if block in done.stderr] == []
    kept = log_of(broken)
    assert "Error in rule timeline:" in kept and "output: results/text/timeline.json" in kept
    assert "Trying to restart" not in kept


def test_verbose_shows_what_snakemake_says(broken):
    said = broken.snakemake("--keep-going", "--verbose", check=False).stderr
    assert [block for block in BLOCKS if block not in said] == []


def test_a_dry_run_is_snakemakes_own(broken):
    said = broken.snakemake("--dry-run").stdout
    assert "    rule timeline:\n        input: text.mp4, results/text/src_ref.png\n" in said
    assert "job stats" in said.lower() and "% done" not in said


def test_a_killed_job_is_tried_again(project, rows):
    project.write_table(*rows, rows[0] | {"clip": "other"})
    process = project.start("--retries", "1", "results/other/keypoints.npz")
    while not (found := jobs_of(process.pid, "keypoints.py")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    for job in found:
        with suppress(psutil.NoSuchProcess):
            job.kill()
    _, said = process.communicate()
    assert process.returncode == 0, said
    (line,) = (line for line in said.splitlines() if "tried again" in line)
    assert line == "other: failed; it is tried again"
    assert log_of(project).count("Trying to restart job") == 1


def jobs_of(process: int, script: str) -> list[psutil.Process]:
    """Return the processes below one that run a script."""
    below = psutil.Process(process).children(recursive=True)
    return [child for child in below if any(script in word for word in words_of(child)[1:3])]


def words_of(process: psutil.Process) -> list[str]:
    """Return a process's command line, none of one that has ended meanwhile."""
    with suppress(psutil.Error):
        return process.cmdline()
    return []
