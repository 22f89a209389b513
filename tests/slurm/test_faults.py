"""Faults on a real SLURM: afterwards the same command finishes the rest, with the same frames.

What happens to single jobs, to a node or to the controller, happens to different clips of one run.
"""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator

import pytest

import loopback
from conftest import PATIENCE, ROWS, Cluster, set_site, wait_until

# Long enough to be hit in the middle; SLURM looks at time limits every half a minute.
LONGER = {
    "dance": {"steps": "50", "segment_frames": "9"},
    "swap": {"steps": "200", "segment_frames": "5"},
    "swap2": {"steps": "30", "segment_frames": "9"},
    "wide": {"steps": "60", "segment_frames": "5", "gpus": "1"},
    "auto": {"steps": "60", "segment_frames": "5", "gpus": "1"},
}
ON_ONE_GPU = "dance", "swap", "wide", "auto"
ON_TWO_NODES = "swap", "swap2"
UNENDED = {"PENDING", "RUNNING", "COMPLETING"}


def slurm(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def videos(*clips: str) -> list[str]:
    return [f"results/{clip}/sampled.mp4" for clip in clips]


def lengthen(project: Cluster, **site: str | int) -> None:
    """Make the clips long enough to be interrupted, and change the site's settings.

    Unless a test sets another limit, none is met, however slow the machine is.
    """
    project.write_table(*(row | LONGER.get(row["clip"], {}) for row in ROWS))
    set_site(project, **{"min_minutes": 20} | site)


@pytest.fixture(scope="module")
def without_fault(finished, tmp_path_factory):
    """The longer clips, sampled without any fault."""
    project = finished.copy_to(tmp_path_factory.mktemp("whole") / "clips")
    lengthen(project)
    project.snakemake(*videos(*LONGER))
    return project


def strike(
    project: Cluster,
    clips: dict[str, Callable[[str], None]],
    before: Callable[[], None] = lambda: None,
) -> None:
    """Run the clips; call each one's fault with its job's number after its first segment.

    `before` is called before the first of these.
    """
    process = project.start(*videos(*clips))
    try:
        left = dict(clips)
        while left:
            wait_until(lambda: any(started(project, clip) for clip in left), process)
            if len(left) == len(clips):
                before()
            clip = next(clip for clip in left if started(project, clip))
            (job,) = project.samplers_of(clip)
            assert job.state == "RUNNING", f"{clip} was not in the middle, but {job}"
            left.pop(clip)(str(job.number))
        _, said = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, said
    finally:
        end(project, process)


def started(project: Cluster, clip: str) -> bool:
    """Whether a segment of the clip is finished."""
    return any((project.folder / f"results/{clip}/.journal").rglob("segment_*.safetensors"))


def end(project: Cluster, process: subprocess.Popen) -> None:
    """After a failed test: leave nothing running, and show what Snakemake said."""
    if process.poll() is None:
        process.kill()
        slurm("scancel", *(str(job.number) for job in project.jobs))
        wait_until(lambda: not {job.state for job in project.jobs} & UNENDED)
    if not process.stderr.closed:
        print(process.communicate()[1])


@pytest.fixture(scope="module")
def struck(finished, tmp_path_factory):
    """A run on one GPU a clip: one job is cancelled, one meets its limit, one is requeued.

    Before that, the controller is restarted: started anew while a job is being ended, SLURM 22.05
    loses count of that job's GPUs.
    """
    project = finished.copy_to(tmp_path_factory.mktemp("struck") / "clips")
    lengthen(project)

    def restart() -> None:
        wait_until(lambda: states(project, "wide") == ["RUNNING"])
        loopback.stop_controller()
        loopback.start_controller()
        wait_until(loopback.node_states)

    faults = {
        "wide": lambda job: None,
        "dance": lambda job: slurm("scancel", job),
        "auto": lambda job: slurm("scontrol", "requeue", job),
        "swap": lambda job: slurm("scontrol", "update", f"jobid={job}", "timelimit=1"),
    }
    strike(project, faults, before=restart)
    return project


@pytest.fixture(scope="module")
def scratch(tmp_path_factory) -> Iterator[str | None]:
    """A folder on a disk that is full, if one can be mounted."""
    folder = tmp_path_factory.mktemp("scratch")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "none", folder])
    yield None if mounted.returncode else str(folder)
    if not mounted.returncode:
        subprocess.run(["umount", folder], check=True)


@pytest.fixture(scope="module")
def struck_nodes(finished, scratch, tmp_path_factory):
    """A run of two clips, a node each: one is warned, the other's node goes down and up."""
    project = finished.copy_to(tmp_path_factory.mktemp("struck_nodes") / "clips")
    # Half an hour before the limit of an hour: no clip is warned before the test says so.
    site = {"min_minutes": 60, "warning_seconds": 1800}
    lengthen(project, **site, **({"scratch": scratch} if scratch else {}))

    def down_and_up(job: str) -> None:
        (node,) = {found.node for found in project.jobs if str(found.number) == job}
        slurm("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
        # It may come back by itself once its job is gone.
        subprocess.run(["scontrol", "update", f"nodename={node}", "state=resume"])
        wait_until(lambda: "down" not in loopback.node_states())

    def make_the_warning_due(job: str) -> None:
        slurm("scontrol", "update", f"jobid={job}", "timelimit=31")

    strike(project, {"swap": make_the_warning_due, "swap2": down_and_up})
    return project


def log_of(project: Cluster, clip: str) -> str:
    return (project.folder / f"logs/sample/{clip}.log").read_text()


def output_of(project: Cluster, clip: str) -> str:
    """Return what failed jobs of a clip printed; its log file is that of its last attempt."""
    logs = project.folder.glob(f".snakemake/slurm_logs/rule_sample/{clip}/*.log")
    return "".join(path.read_text() for path in logs)


def states(project: Cluster, clip: str) -> list[str]:
    return [job.state for job in project.samplers_of(clip)]


def assert_went_on(project: Cluster, without_fault: Cluster, clip: str) -> None:
    """The clip went on from its journal, to the frames of a run without the fault."""
    assert "already sampled" in log_of(project, clip)
    assert project.frames(clip) == without_fault.frames(clip)


def test_cancelled_job_is_tried_again(struck, without_fault):
    assert states(struck, "dance") == ["CANCELLED", "COMPLETED"]
    assert "stopped by SIGTERM after step" in output_of(struck, "dance")
    assert_went_on(struck, without_fault, "dance")


def test_clip_longer_than_its_limit_gets_more_time(struck, without_fault):
    assert states(struck, "swap") == ["TIMEOUT", "COMPLETED"]
    assert [job.minutes for job in struck.samplers_of("swap")] == [1, 40]
    assert_went_on(struck, without_fault, "swap")


def test_requeued_job_goes_on(struck, without_fault):
    (job,) = struck.samplers_of("auto")
    assert (job.state, job.restarts) == ("COMPLETED", 1)
    assert_went_on(struck, without_fault, "auto")


def test_jobs_run_on_while_the_controller_is_restarted(struck, without_fault):
    (job,) = struck.samplers_of("wide")
    assert (job.state, job.restarts) == ("COMPLETED", 0)
    assert struck.frames("wide") == without_fault.frames("wide")


def test_warning_before_the_limit_stops_after_the_step(struck_nodes, without_fault):
    assert states(struck_nodes, "swap") == ["FAILED", "COMPLETED"]
    assert "stopped by SIGUSR1 after step" in output_of(struck_nodes, "swap")
    assert_went_on(struck_nodes, without_fault, "swap")


def test_job_on_a_node_that_goes_down_goes_on(struck_nodes, without_fault):
    (job,) = struck_nodes.samplers_of("swap2")
    assert (job.state, job.restarts) == ("COMPLETED", 1)
    assert_went_on(struck_nodes, without_fault, "swap2")


def test_full_scratch_is_read_past(struck_nodes, scratch):
    if not scratch:
        pytest.skip("a small file system cannot be mounted here")
    for clip in ON_TWO_NODES:
        reason = f"scratch {scratch}: no space left; reading models/tiny in place"
        assert reason in log_of(struck_nodes, clip)


@pytest.mark.parametrize(("run", "clips"), [("struck", ON_ONE_GPU), ("struck_nodes", ON_TWO_NODES)])
def test_nothing_is_left_after_the_faults(run, clips, request):
    project = request.getfixturevalue(run)
    project.assert_whole()
    assert project.submitted(*videos(*clips)) == {}


def test_killed_login_process_is_recovered(project, without_fault):
    lengthen(project)
    process = project.start(*videos("dance"))
    try:
        wait_until(lambda: started(project, "dance"), process)
        refused = project.snakemake("recover", "--nolock", check=False)
        assert refused.returncode
        assert f"a run is alive here, process {process.pid}" in refused.stderr
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        project.snakemake("recover", "--nolock")
        assert states(project, "dance") == ["CANCELLED"]
        assert project.submitted(*videos("dance")) == {"dance": ["sample"]}
    finally:
        end(project, process)
    assert_went_on(project, without_fault, "dance")
    project.assert_whole()


def test_preempted_job_goes_on(project, without_fault):
    lengthen(project)
    whole = "--partition=urgent", "--nodes=2", "--exclusive", "--time=1", "--output=/dev/null"
    strike(project, {"auto": lambda job: slurm("sbatch", *whole, "--wrap=sleep 5")})
    (job,) = project.samplers_of("auto")
    assert (job.state, job.restarts) == ("COMPLETED", 1)
    assert_went_on(project, without_fault, "auto")


def test_job_that_cannot_be_submitted_fails(project, rows):
    project.write_table(rows[0] | {"steps": "1"}, *rows[1:])
    set_site(project, gpu_model="no-such", check_nodes=False)
    done = project.snakemake("--retries", "0", check=False)
    # SLURM keeps a record of what it refused.
    assert done.returncode == 1 and {job.state for job in project.jobs} <= {"FAILED"}
    assert "1 of 6 clips failed" in done.stderr
    assert "dance: SLURM sbatch failed. The error message was 'sbatch: error: " in done.stderr


def test_more_gpus_than_the_site_has(project, rows):
    project.write_table(rows[0] | {"gpus": "8"}, *rows[1:])
    done = project.snakemake(check=False)
    assert done.returncode == 1 and not project.jobs
    assert "row 2, column 'gpus': 8 GPUs are more than the 4" in done.stderr


def test_more_gpus_than_any_node_has(project, rows):
    project.write_table(rows[0] | {"gpus": "8"}, *rows[1:])
    set_site(project, max_gpus=8, gpus_per_node=8)
    done = project.snakemake(check=False)
    assert done.returncode == 1 and not project.jobs
    sentence = (
        "8 GPUs of type fake of one node: no node of partition main has more than 2; set"
        " cluster.gpus_per_node in config.yaml to 2"
    )
    assert f"row 2, column 'gpus': {sentence}" in done.stderr
    assert sentence in project.snakemake("plan").stdout


@pytest.fixture
def lenient(cluster):
    """The cluster as a site that keeps jobs which its partition will never start."""
    loopback.enforce_limits(False)
    yield
    loopback.enforce_limits(True)


def test_job_that_a_site_keeps_for_ever_is_ended(lenient, project, rows):
    project.write_table(rows[0] | {"steps": "1"}, *rows[1:])
    # The partition's limit is two hours.
    set_site(project, min_minutes=200)
    done = project.snakemake("--retries", "0", check=False)
    assert done.returncode == 1 and states(project, "dance") == ["CANCELLED"]
    said = "can never start (PartitionTimeLimit) and was cancelled: under cluster: in config.yaml"
    assert f"of clip dance {said}, set max_minutes lower" in done.stderr
    assert "1 of 6 clips failed" in done.stderr and f"dance: {said}" in done.stderr


def test_one_clip_fails_while_others_go_on(project, rows):
    (project.folder / "text.mp4").write_text("this is not a video")
    others = [rows[0] | {"clip": f"x{number}", "end": "0.3", "steps": "1"} for number in range(20)]
    broken = rows[0] | {"clip": "broken", "video": "../text.mp4"}
    project.write_table(broken, *others)
    done = project.snakemake("--retries", "0", "previews", check=False)
    assert done.returncode == 1
    assert "1 of 21 clips failed, 0 more are not finished" in done.stderr
    assert "broken: driving video" in done.stderr
    assert all((project.folder / f"results/x{n}/preview.png").is_file() for n in range(20))
    project.assert_whole()
    project.write_table(rows[0] | {"clip": "broken"}, *others)
    assert project.submitted("previews") == {"broken": ["prepare"]}
