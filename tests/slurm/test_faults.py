"""Faults on a real SLURM: afterwards the same command finishes the rest, with the same frames."""

import os
import signal
import subprocess
from dataclasses import replace

import pytest
import yaml

import loopback
from conftest import PATIENCE, ROWS, Cluster, wait_until

VIDEO = "results/dance/sampled.mp4"
SEGMENTS = "results/dance/.journal/segment_*.safetensors"
# Five segments of ten seconds: long enough to be hit in the middle.
LONG = {"steps": "100", "segment_frames": "9"}


def slurm(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def without_fault(finished, tmp_path_factory):
    """The frames of the long clip, sampled without any fault."""
    project = finished.copy_to(tmp_path_factory.mktemp("whole") / "clips")
    set_rows(project, LONG)
    project.snakemake(VIDEO)
    return project.frames("dance")


def set_rows(project: Cluster, changes: dict[str, str], **settings: str | int) -> None:
    """Change the table's first row, and the site's settings."""
    project.write_table(ROWS[0] | changes, *ROWS[1:])
    quick = project.folder / "quick.yaml"
    config = yaml.safe_load(quick.read_text())
    config["cluster"] |= settings
    quick.write_text(yaml.safe_dump(config))


@pytest.fixture
def sampling(project):
    """A run whose first segment is finished: the project, its process and its running job."""
    set_rows(project, LONG)
    process = project.start(VIDEO)
    wait_until(lambda: list(project.folder.glob(SEGMENTS)), process)
    (job,) = [job for job in project.jobs if job.state == "RUNNING"]
    yield project, process, str(job.number)
    if process.poll() is None:
        process.kill()
        process.communicate()
        slurm("scancel", *(str(job.number) for job in project.jobs))


def result(process: subprocess.Popen) -> int:
    """Return the exit status of a run, read to its end."""
    process.communicate(timeout=PATIENCE)
    return process.returncode


def log_of(project: Cluster) -> str:
    return (project.folder / "logs/sample/dance.log").read_text()


def slurm_logs(project: Cluster) -> str:
    """Return what all jobs printed; the sampler's log file is that of its last attempt."""
    return "".join(p.read_text() for p in project.folder.glob(".snakemake/slurm_logs/**/*.log"))


def assert_recovered(project: Cluster, without_fault: bytes) -> None:
    """The frames are those of a run without the fault, from the journal, and nothing is left."""
    assert project.frames("dance") == without_fault
    assert "already sampled" in log_of(project)
    project.assert_whole()
    assert project.submitted(VIDEO) == []


def test_cancelled_job_is_tried_again(sampling, without_fault):
    project, process, job = sampling
    slurm("scancel", job)
    assert result(process) == 0
    assert "stopped by SIGTERM after step" in slurm_logs(project)
    assert [record.minutes for record in project.jobs] == [5, 10]
    assert_recovered(project, without_fault)


def test_warning_before_the_limit_stops_after_the_step(sampling, without_fault):
    project, process, job = sampling
    slurm("scancel", "--signal=USR1", job)
    assert result(process) == 0
    assert "stopped by SIGUSR1 after step" in slurm_logs(project)
    assert_recovered(project, without_fault)


def test_clip_longer_than_the_limit_is_finished_by_its_attempts(project, tmp_path):
    longer = {"steps": "80", "segment_frames": "5"}
    whole = project.copy_to(tmp_path / "whole")
    set_rows(whole, longer)
    whole.snakemake(VIDEO)
    set_rows(project, longer, min_minutes=1, max_minutes=1)
    project.snakemake("--retries", "8", VIDEO)
    first, *others = project.jobs
    assert (first.state, others[-1].state) == ("TIMEOUT", "COMPLETED")
    assert {job.minutes for job in project.jobs} == {1}
    assert_recovered(project, whole.frames("dance"))


def test_requeued_job_goes_on(sampling, without_fault):
    project, process, job = sampling
    slurm("scontrol", "requeue", job)
    assert result(process) == 0
    (record,) = [record for record in project.jobs if str(record.number) == job]
    assert (record.state, record.restarts) == ("COMPLETED", 1)
    assert_recovered(project, without_fault)


def test_node_down_and_up(sampling, without_fault):
    project, process, _ = sampling
    for node in loopback.NODES:
        slurm("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    for node in loopback.NODES:
        # A node that has lost its job may have come back by itself.
        subprocess.run(["scontrol", "update", f"nodename={node}", "state=resume"])
    wait_until(lambda: "down" not in loopback.node_states())
    assert result(process) == 0
    assert_recovered(project, without_fault)


def test_controller_restarted(sampling, without_fault):
    project, process, _ = sampling
    loopback.stop_controller()
    loopback.start_controller()
    assert result(process) == 0
    assert project.frames("dance") == without_fault
    assert len(project.jobs) == 1
    project.assert_whole()


def test_killed_login_process_is_recovered(sampling, without_fault):
    project, process, _ = sampling
    refused = project.snakemake("recover", "--nolock", check=False)
    assert refused.returncode and f"a run is alive here, process {process.pid}" in refused.stderr
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    project.snakemake("recover", "--nolock")
    assert {record.state for record in project.jobs} == {"CANCELLED"}
    project.snakemake(VIDEO)
    assert_recovered(project, without_fault)


def test_full_scratch_is_read_past(project, without_fault, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "none", scratch])
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        set_rows(project, LONG, scratch=str(scratch))
        project.snakemake(VIDEO)
    finally:
        subprocess.run(["umount", scratch], check=True)
    assert f"scratch {scratch}: no space left; reading models/tiny in place" in log_of(project)
    assert project.frames("dance") == without_fault


def test_more_gpus_than_the_site_has(project, rows):
    project.write_table(rows[0] | {"gpus": "8"}, *rows[1:])
    done = project.snakemake(check=False)
    assert done.returncode == 1 and not project.jobs
    assert "row 2, column 'gpus': 8 GPUs are more than the 4" in done.stderr


def test_more_gpus_than_any_node_has(project):
    set_rows(project, {"gpus": "8", "steps": "1"}, max_gpus=8, gpus_per_node=8)
    done = project.snakemake("--retries", "0", check=False)
    assert done.returncode == 1
    assert "1 of 6 clips failed" in done.stderr
    assert "Requested node configuration is not available" in done.stderr


def test_one_clip_fails_while_others_go_on(project, rows):
    (project.folder / "text.mp4").write_text("this is not a video")
    broken = rows[0] | {"clip": "broken", "video": "../text.mp4"}
    short = rows[0] | {"end": "0.3", "steps": "1"}
    others = [short | {"clip": f"x{number}"} for number in range(20)]
    project = replace(project, profile=(*project.profile, "--retries", "0"))
    project.write_table(broken, *others)
    done = project.snakemake(check=False)
    assert done.returncode == 1
    assert "1 of 21 clips failed, 0 more are not finished" in done.stderr
    assert "clip broken: driving video" in done.stderr
    assert all((project.folder / f"results/x{n}/x{n}.mp4").is_file() for n in range(20))
    project.assert_whole()
