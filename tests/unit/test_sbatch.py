"""What jobs ask sbatch for at sites that differ, and an sbatch that has no time."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from animate.cluster import submit
from animate.cluster.nodes import read_nodes
from animate.cluster.requests.gpus import why_never
from animate.cluster.site import Site
from animate.config.checks import config_mistakes
from animate.config.sbatch import flags_problem, quoted_flags
from animate.errors import ClipError

CALL = ["--parsable", "--job-name", "run-1", "--comment", "rule_sample_wildcards_a b"]
TIMED_OUT = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation"


def test_jobs_with_gpus_have_their_own_account_and_qos():
    site = Site(account="m1", gpu_account="m1_g", qos="shared", partition="p")
    assert site.cpu_options == {"slurm_account": "m1", "slurm_partition": "p", "qos": "shared"}
    assert site.gpu_options == {"slurm_account": "m1_g", "slurm_partition": "p", "qos": "shared"}
    site = Site(account="m1", gpu_qos="gpu")
    assert site.cpu_options == {"slurm_account": "m1"}
    assert site.gpu_options == {"slurm_account": "m1", "qos": "gpu"}


def test_added_flags_keep_the_gpus_and_the_warning():
    site = Site(gpu_model="a100", extra="--exclusive", gpu_extra="--licenses='a b' --nice=$HOME")
    assert site.cpu_options == {"slurm_extra": "--exclusive"}
    assert site.gpu_options == {"gpu_model": "a100"}
    wanted = "--gpus-per-node=a100:2 --signal=USR1@120 --exclusive '--licenses=a b' '--nice=$HOME'"
    assert site.gpu_request(2) == {"slurm_extra": wanted}


def test_gpus_are_asked_for_in_one_flag_where_the_plugin_cannot_say_the_same():
    gres = Site(gres=True, gpu_model="a100", warning_seconds=0)
    assert not gres.plugin_asks and "gpu_model" not in gres.gpu_options
    assert gres.gpu_request(2) == {"gres": "gpu:a100:2", "slurm_extra": ""}
    assert Site(gres=True).gpu_request(4)["gres"] == "gpu:4"
    hyphened = Site(gpu_model="a100-sxm4-80gb", warning_seconds=0)
    assert not hyphened.plugin_asks and hyphened.gpu_options == {}
    assert hyphened.gpu_request(1) == {"slurm_extra": "--gpus-per-node=a100-sxm4-80gb:1"}
    assert Site(gpu_model="1g.10gb").plugin_asks and Site().plugin_asks


def test_without_memory_requests_that_of_the_nodes_refuses_no_clip():
    (unset,) = read_nodes("gpu*\tgpu:4\t64\t1\t(null)")
    assert "MB of memory" in why_never(1, Site(), "wan2.2-animate-14b", [unset])
    assert why_never(1, Site(memory=False), "wan2.2-animate-14b", [unset]) == ""


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        ("--exclusive --mail-user=a@b.c --mem-bind=local --time-min=5", ""),
        ("--licenses='a b'", ""),
        ("", ""),
        ("--account=x", "--account is set by the workflow: use the keys account and gpu_account"),
        ("--exclusive --gpus=2", "use the keys gpu_model, gpus_per_node and gres"),
        ("--gres=gpu:1", "--gres is set by the workflow"),
        ("--sig=USR2", "--signal is set by the workflow: use the keys warning_seconds"),
        ("--wrap=x", "--wrap is set by the workflow: leave it out"),
        ("exclusive", "'exclusive' is no flag of the form --name or --name=value"),
        ("--mail-type END", "'END' is no flag"),
        ("-A x", "'-A' is no flag"),
        ("--exclusive; rm", "'--exclusive;' is no flag"),
        ("--a='b", "lacks the end of a quotation"),
    ],
)
def test_a_wrong_flag_is_found(flags, problem):
    found = flags_problem(flags)
    assert (problem in found) if problem else found == ""


def test_flags_reach_sbatch_as_they_were_meant():
    given = "--a='it is $(touch x)' --b=`c`"
    echoed = subprocess.run(
        f"printf '%s\\n' {quoted_flags(given)}", shell=True, capture_output=True, text=True
    )
    assert echoed.stdout.splitlines() == ["--a=it is $(touch x)", "--b=`c`"]
    assert quoted_flags(None) == ""


def test_wrong_cells_of_a_cluster_are_found_in_the_configuration():
    cluster = {"extra": "--mem=3", "gpu_extra": "x", "gpu_model": "a100-80gb", "gres": True}
    said = [str(mistake) for mistake in config_mistakes({"cluster": cluster})]
    assert [line.split(":")[0] for line in said] == [
        "cluster.extra",
        "cluster.gpu_extra",
        "cluster.gpu_model",
    ]
    assert "leave gres out" in said[2]
    assert config_mistakes({"cluster": {"gpu_model": "a100-80gb", "extra": "--exclusive"}}) == []
    (typed,) = config_mistakes({"cluster": {"gpu_model": "a100; x"}})
    assert "a name of letters" in str(typed)


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Programs in place of SLURM's: sbatch runs a shell text, and each appends to `asked`."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    asked = tmp_path / "asked"

    def put(**programs: str) -> list[str]:
        for name, text in programs.items():
            program = folder / name
            program.write_text(f'#!/bin/sh\necho "{name} $*" >> {asked}\n{text}\n')
            program.chmod(0o755)

    monkeypatch.setenv("PATH", f"{submit.PATIENT}:{folder}:/bin:/usr/bin")
    monkeypatch.setenv(submit.RUN, str(os.getpid()))
    put.calls = lambda: [line.split()[0] for line in asked.read_text().splitlines()]
    put.asked = asked
    return put


def failing(times: int, asked: Path) -> str:
    """Return the text of an sbatch whose first calls meet a busy SLURM."""
    few = f"test $(grep -c ^sbatch {asked}) -le {times}"
    return f"if {few}; then echo '{TIMED_OUT}' >&2; exit 1; fi; cat > {asked}.script; echo 7"


def test_a_busy_slurm_is_asked_again_after_a_pause(slurm):
    slurm(sbatch=failing(2, slurm.asked), squeue="exit 0")
    answer = submit.submit_patiently(CALL, b"the script", pauses=[0, 0, 0])
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, b"7\n", b"")
    assert slurm.calls() == ["sbatch", "squeue", "sbatch", "squeue", "sbatch"]
    # Each try has the whole script, and none of the run's own programs.
    assert Path(f"{slurm.asked}.script").read_text() == "the script"


def test_a_job_whose_acceptance_was_not_heard_of_is_not_submitted_twice(slurm):
    now = "$(date +%Y-%m-%dT%H:%M:%S)"
    rows = (
        f'echo "4 2020-01-31T08:00:00 rule_sample_wildcards_a b"; '
        f'echo "5 {now} rule_sample_wildcards_a"; echo "6 {now} rule_sample_wildcards_a b"'
    )
    slurm(sbatch=failing(9, slurm.asked), squeue=rows)
    answer = submit.submit_patiently(CALL, b"", pauses=[0, 0])
    assert (answer.returncode, answer.stdout) == (0, b"6\n"), "neither an older one nor another's"
    assert slurm.calls() == ["sbatch", "squeue"]
    assert "--states=all" in slurm.asked.read_text(), "a short job may have ended already"


def test_nothing_is_submitted_while_the_queue_is_unknown(slurm):
    slurm(sbatch=failing(9, slurm.asked), squeue="exit 1")
    answer = submit.submit_patiently(CALL, b"", pauses=[0, 0])
    assert answer.returncode == 1 and TIMED_OUT.encode() in answer.stderr
    assert slurm.calls() == ["sbatch", "squeue", "squeue"]


def test_nothing_is_submitted_for_a_run_that_was_killed(slurm, monkeypatch):
    killed = subprocess.Popen(["true"])
    killed.wait()
    monkeypatch.setenv(submit.RUN, str(killed.pid))
    slurm(sbatch=failing(1, slurm.asked), squeue="exit 0")
    with pytest.raises(ProcessLookupError):
        submit.submit_patiently(CALL, b"", pauses=[0])
    assert slurm.calls() == ["sbatch"]


def test_what_is_refused_for_good_is_not_asked_again(slurm):
    slurm(sbatch="echo 'sbatch: error: Invalid account' >&2; exit 3", squeue="exit 0")
    answer = submit.submit_patiently(CALL, b"", pauses=[600])
    assert (answer.returncode, answer.stderr) == (3, b"sbatch: error: Invalid account\n")
    assert slurm.calls() == ["sbatch"]


@pytest.mark.parametrize(
    ("said", "busy"),
    [
        (TIMED_OUT, True),
        ("Unable to contact slurm controller (connect failure)", True),
        ("sbatch: error: Resource temporarily unavailable", True),
        ("Slurm temporarily unable to accept job, sleeping and retrying.", True),
        ("Zero Bytes were transmitted or received", True),
        ("sacctmgr: error: Unable to connect to database", True),
        ("Slurm backup controller in standby mode", True),
        ("Invalid account or account/partition combination specified", False),
        ("Requested node configuration is not available", False),
        ("Requested time limit is invalid (missing or exceeds some limit)", False),
        ("Job violates accounting/QOS policy (job submit limit, user's size and/or time", False),
        ("Invalid qos specification", False),
        ("Access/permission denied", False),
    ],
)
def test_a_busy_slurm_is_told_from_one_that_refuses(said, busy):
    assert submit.is_busy(said) is busy


def test_the_run_finds_the_patient_sbatch_and_its_jobs_do_not(slurm):
    slurm(sbatch=f"cat; echo $PATH; echo run:${submit.RUN}")
    folders = os.environ["PATH"].removeprefix(f"{submit.PATIENT}:")
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{folders}",
        "SCRIPTS": str(submit.PATIENT.parent),
    }
    submit.use_patient_sbatch(environment)
    done = subprocess.run(
        f"sbatch {shlex.join(CALL)}",
        shell=True,
        env=environment,
        input="the script\n",
        capture_output=True,
        text=True,
    )
    script, path, run = done.stdout.splitlines()
    assert (script, run) == ("the script", "run:")
    assert folders in path and str(submit.PATIENT) not in path


def test_without_slurm_one_sentence_says_what_to_do(tmp_path):
    with pytest.raises(ClipError, match=r"no SLURM on this machine .* --profile local"):
        submit.use_patient_sbatch({"PATH": str(tmp_path)})
