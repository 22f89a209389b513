"""Sites whose sbatch refuses what others take, or has no time: programs that stand before it."""

import shlex
import subprocess
from pathlib import Path

import pytest

from animate.cluster.launch import step_command
from conftest import Cluster, set_site
from loopback import HYPHENED

SBATCH = "/usr/bin/sbatch"
# Writes down what it was asked for; `{refuse}` may end it.
SITE = """#!/bin/sh
echo "$@" >> {log}
{refuse}
exec {sbatch} "$@"
"""
REFUSE = """
for flag; do case "$flag" in {flags})
    echo "sbatch: error: $flag is not allowed here" >&2; exit 1
esac; done
"""
TIMED_OUT = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation"
# Of one clip three answers are errors; of another the first is lost after the job was accepted.
BUSY = """
fail() {
    echo "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation" >&2
    exit 1
}
case "$*" in
    *rule_sample_wildcards_dance*) test $(grep -c wildcards_dance {log}) -gt 3 || fail;;
    *rule_sample_wildcards_swap*) {sbatch} "$@" > /dev/null; fail;;
esac
"""


@pytest.fixture
def site(project, tmp_path):
    """Put a site's sbatch before the project's; the file it returns has a line for each call."""

    def put(refuse: str) -> Path:
        program, log = tmp_path / "site/sbatch", tmp_path / "asked"
        program.parent.mkdir()
        text = SITE.replace("{refuse}", refuse)
        text = text.replace("{log}", shlex.quote(str(log))).replace("{sbatch}", SBATCH)
        program.write_text(text)
        program.chmod(0o755)
        project.path = f"{program.parent}:{project.path}"
        return log

    return put


def sample(project: Cluster, rows: list[dict[str, str]], *clips: str) -> None:
    """Sample some clips again, as short as can be."""
    changed = [row | ({"steps": "1"} if row["clip"] in clips else {}) for row in rows]
    project.write_table(*changed)
    project.snakemake("--retries", "0", *(f"results/{clip}/sampled.mp4" for clip in clips))


def test_site_that_wants_gres(project, rows, site):
    asked = site(REFUSE.replace("{flags}", "--gpus*"))
    set_site(project, gres=True, gpu_extra="--nice=7", warning_seconds=60)
    clips = ["dance", "wide", "auto"]
    sample(project, rows, *clips)
    calls = asked.read_text().splitlines()
    assert len(calls) == 3 and all("--nice=7" in c and "--signal=USR1@60" in c for c in calls)
    assert sorted(c.split("--gres=")[1].split()[0] for c in calls) == [
        "gpu:fake:1",
        "gpu:fake:2",
        "gpu:fake:2",
    ]
    for clip, gpus in zip(clips, (1, 4, 2), strict=True):
        assert f"{gpus} cpu rank" in (project.folder / f"logs/sample/{clip}.log").read_text()


def test_site_that_takes_no_memory(project, rows, site):
    asked = site(REFUSE.replace("{flags}", "--mem*"))
    set_site(project, memory=False, extra="--nice=7")
    project.write_table(*rows, rows[0] | {"clip": "added", "end": "0.3", "steps": "1"})
    assert project.submitted("--retries", "0") == {"added": ["finish", "prepare", "sample"]}
    calls = asked.read_text().splitlines()
    assert len(calls) == 3 and all("--nice=7" in call for call in calls)


def test_type_with_a_hyphen(project, rows):
    set_site(project, gpu_partition="hyphened", gpu_model="fake-sxm4-80gb")
    sample(project, rows, "dance2")
    assert project.samplers_of("dance2")[-1].node == HYPHENED
    assert "2 cpu rank" in (project.folder / "logs/sample/dance2.log").read_text()


def test_sbatch_of_a_busy_slurm_is_tried_again(project, rows, site):
    asked = site(BUSY)
    before = {clip: len(project.samplers_of(clip)) for clip in ("dance", "swap", "auto")}
    sample(project, rows, *before)
    calls = asked.read_text()
    assert calls.count("wildcards_dance") == 4 and calls.count("wildcards_swap") == 1
    after = {clip: project.samplers_of(clip)[number:] for clip, number in before.items()}
    ((dance,), (swap,), (auto,)) = after.values()
    assert {job.state for job in (dance, swap, auto)} == {"COMPLETED"}
    # The others did not wait for it.
    assert max(swap.number, auto.number) < dance.number


def test_a_step_gets_the_cpus_of_its_job(cluster, tmp_path):
    said = tmp_path / "said"
    show = "scontrol show step $SLURM_JOB_ID.$SLURM_STEP_ID"
    step = shlex.join(step_command(1, 1, 2, ["sh", "-c", show]))
    job = ["--partition=main", "--ntasks=1", "--cpus-per-task=2", "--gres=gpu:fake:1"]
    subprocess.run(["sbatch", "--wait", *job, f"--output={said}", f"--wrap={step}"], check=True)
    assert "TresPerTask=cpu:2" in said.read_text()
