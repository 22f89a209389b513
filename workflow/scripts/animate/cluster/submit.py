"""sbatch for a SLURM that is busy at times: tried again, and never so that a job is there twice."""

import argparse
import os
import re
import shutil
import subprocess
import time
from collections.abc import MutableMapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from animate.errors import ClipError

# What SLURM's programs and the system say when nothing is wrong with the job itself, but nobody has
# time for it (src/common/slurm_errno.c of SLURM).
BUSY = re.compile(
    r"timed out|unable to (contact|connect)|temporarily un(available|able)|connection re(fused|set)"
    r"|zero bytes were transmitted|standby mode|connect failure|communications error",
    re.IGNORECASE,
)
# Seconds before each further try: ten minutes, as long as a controller may take to start.
PAUSES = (5, 10, 20, 40, 80, 160, 320)
# Holds a program sbatch that calls `submit_patiently`, and stands first in the run's PATH.
PATIENT = Path(__file__).parents[2] / "patient"
# The process number of the run that wants the job.
RUN = "WAN_ANIMATE_RUN"
# Clocks of a login node and of SLURM differ by less.
CLOCKS_APART = timedelta(seconds=60)
ANSWER_SECONDS = 60


def is_busy(said: str) -> bool:
    """Tell whether it is worth a later try, by what a program of SLURM said."""
    return BUSY.search(said) is not None


def use_patient_sbatch(environment: MutableMapping[str, str]) -> None:
    """Have the programs that are started from now on find the patient sbatch.

    Raises:
        ClipError: there is no sbatch.
    """
    if shutil.which("sbatch", path=environment["PATH"]) is None:
        raise ClipError(
            "there is no SLURM on this machine (no program sbatch): run the same command on a login"
            " node of the cluster, after `module load slurm` if the site has that, or run the clips"
            " here with --profile local"
        )
    environment["PATH"] = f"{PATIENT}{os.pathsep}{environment['PATH']}"
    environment[RUN] = str(os.getpid())


def submit_patiently(
    arguments: Sequence[str], script: bytes, pauses: Sequence[float] = PAUSES
) -> subprocess.CompletedProcess[bytes]:
    """Return what sbatch answered to the arguments, and to the script in its standard input.

    While SLURM is busy, it is asked again after each pause, unless the job is in the queue: an
    answer may be lost after the job was accepted. Nobody would wait for a job whose run is dead.
    """
    # The job inherits it.
    environment = dict(os.environ)
    run = int(environment.pop(RUN))
    folders = environment["PATH"].split(os.pathsep)
    environment["PATH"] = os.pathsep.join(name for name in folders if name != str(PATIENT))
    command = [shutil.which("sbatch", path=environment["PATH"]) or "sbatch", *arguments]

    def ask() -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(command, input=script, capture_output=True, env=environment)

    begun = datetime.now() - CLOCKS_APART
    answer = ask()
    for pause in pauses:
        if not answer.returncode or not is_busy(answer.stderr.decode("utf-8", "replace")):
            return answer
        time.sleep(pause)
        os.kill(run, 0)
        queued = _number_in_queue(arguments, begun)
        if queued:
            return subprocess.CompletedProcess(command, 0, f"{queued}\n".encode(), b"")
        if queued is not None:
            answer = ask()
    if answer.returncode:
        minutes = round(sum(pauses) / 60)
        answer.stderr += f"SLURM was asked again and again for {minutes} minutes\n".encode()
    return answer


def _number_in_queue(arguments: Sequence[str], begun: datetime) -> str | None:
    """Return the number of the accepted job, "" if there is none, None without an answer.

    The name that Snakemake's plugin gives to a job says of which run it is, and its comment which.
    One that was submitted before `begun` is an earlier attempt; a short one may have ended already.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--job-name", required=True)
    parser.add_argument("--comment", required=True)
    job, _ = parser.parse_known_args(arguments)
    command = ["squeue", "--me", "--noheader", "--states=all", "--format=%i %V %k"]
    command.append(f"--name={job.job_name}")
    environment = os.environ | {"SLURM_TIME_FORMAT": "standard"}
    options = {"capture_output": True, "text": True, "env": environment}
    try:
        listed = subprocess.run(command, timeout=ANSWER_SECONDS, **options)
    except subprocess.TimeoutExpired:
        return None
    if listed.returncode:
        return None
    rows = [line.split(maxsplit=2) for line in listed.stdout.splitlines()]
    mine = (row for row in rows if row[2:] == [job.comment])
    return next((n for n, asked, _ in mine if datetime.fromisoformat(asked) >= begun), "")
