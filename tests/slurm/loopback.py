"""A real SLURM on this machine: loopback.py start | stop

A controller and three nodes of two CPUs and two GPUs each, which share this machine; the GPUs are
device files that do nothing. Those of the third, in a partition of its own, have another type. It
needs root, because SLURM's tools look for their configuration in /etc/slurm only, and Debian's
packages slurm-wlm and munge, which `install` fetches.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

BASE = Path("/var/tmp/wan-animate-slurm")
CONFIGURATION = Path("/etc/slurm")
NODES = ("n1", "n2")
HYPHENED = "n3"
TYPES = dict.fromkeys(NODES, "fake") | {HYPHENED: "fake-sxm4-80gb"}
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol")
PACKAGES = ("slurm-wlm", "munge")
FILES = "slurm.conf", "gres.conf", "cgroup.conf"
GPUS, CPUS, MEMORY_MB = 2, 2, 16_000
# As on most clusters, a job's processes are a control group's; else those of a node that went down
# may run on.
FREEZER = Path("/sys/fs/cgroup/freezer")
CONTROL_GROUPS = os.access(FREEZER, os.W_OK)
CONTROLLER_PORT = 26817
LIMITS = "EnforcePartLimits"
WAIT = 90

NAME = "ClusterName=loopback\n"
# Accounting needs a database; a job's record is kept for a day instead. A job that is requeued
# waits for the end of its credentials, which is two minutes unless set.
CONTROLLER = f"""
SlurmctldHost={{host}}(127.0.0.1)
SlurmctldPort={CONTROLLER_PORT}
SlurmUser=root
SlurmdUser=root
StateSaveLocation={BASE}/state
SlurmdSpoolDir={BASE}/%n
SlurmctldPidFile={BASE}/slurmctld.pid
SlurmdPidFile={BASE}/%n.pid
SlurmctldLogFile={BASE}/slurmctld.log
SlurmdLogFile={BASE}/%n.log
MinJobAge=86400
ProctrackType=proctrack/{"cgroup" if CONTROL_GROUPS else "linuxproc"}
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,bf_interval=3
GresTypes=gpu
ReturnToService=2
KillWait=10
AuthInfo=cred_expire=20
JobRequeue=1
AccountingStorageType=accounting_storage/none
{LIMITS}=ALL
PreemptType=preempt/partition_prio
PreemptMode=CANCEL
PartitionName=main Nodes={",".join(NODES)} Default=YES MaxTime=120 PriorityTier=1 State=UP
PartitionName=urgent Nodes={",".join(NODES)} MaxTime=120 PriorityTier=2 PreemptMode=OFF State=UP
PartitionName=hyphened Nodes={HYPHENED} MaxTime=120 State=UP
"""


def missing_programs() -> list[str]:
    """Return the SLURM programs that this machine lacks."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


def install() -> None:
    """Install the packages without starting their services."""
    policy = Path("/usr/sbin/policy-rc.d")
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *PACKAGES]
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    finally:
        policy.unlink()


def start() -> None:
    """Start an empty cluster; one that runs already is ended first."""
    configuration = CONFIGURATION / "slurm.conf"
    if configuration.exists() and not configuration.read_text().startswith(NAME):
        sys.exit(f"{configuration} is that of another cluster: run this on another machine")
    stop()
    shutil.rmtree(BASE, ignore_errors=True)
    (BASE / "state").mkdir(parents=True)
    _configure()
    _start_munge()
    start_controller()
    for node in TYPES:
        (BASE / node).mkdir()
        subprocess.run(["slurmd", "-N", node], check=True)
    _wait_for(lambda: node_states() == ["idle"] * len(NODES), "nodes that are idle")


def stop() -> None:
    """End the daemons that `start` started.

    Their configuration goes too: with it, each start of Snakemake waits ten seconds for an answer.
    """
    for name in ("slurmctld", *TYPES, "munged"):
        _end(BASE / f"{name}.pid")
    configuration = CONFIGURATION / "slurm.conf"
    if configuration.exists() and configuration.read_text().startswith(NAME):
        for name in FILES:
            (CONFIGURATION / name).unlink(missing_ok=True)


def start_controller() -> None:
    """Start the controller, from its saved state if there is one."""
    subprocess.run(["slurmctld"], check=True)


def stop_controller() -> None:
    """End the controller alone; jobs run on."""
    _end(BASE / "slurmctld.pid")


def enforce_limits(enforced: bool) -> None:
    """Have jobs that exceed their partition's limits refused, or else kept in the queue."""
    path = CONFIGURATION / "slurm.conf"
    others = [line for line in path.read_text().splitlines() if not line.startswith(LIMITS)]
    path.write_text("\n".join([*others, f"{LIMITS}={'ALL' if enforced else 'NO'}"]) + "\n")
    subprocess.run(["scontrol", "reconfigure"], check=True)


def node_states() -> list[str]:
    """Return the state of each node, or nothing while the controller does not answer."""
    command = ["sinfo", "-hN", "-p", "main", "-o", "%t"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.split()


def _configure() -> None:
    host = socket.gethostname().split(".")[0]
    nodes = "".join(
        f"NodeName={node} NodeAddr=127.0.0.1 NodeHostname={host} Port={CONTROLLER_PORT + index}"
        f" CPUs={CPUS} RealMemory={MEMORY_MB} Gres=gpu:{kind}:{GPUS}\n"
        for index, (node, kind) in enumerate(TYPES.items(), start=1)
    )
    for index in range(GPUS):
        with suppress(PermissionError):
            os.mknod(BASE / f"gpu{index}", 0o20666, os.makedev(1, 3))
        (BASE / f"gpu{index}").touch()
    CONFIGURATION.mkdir(exist_ok=True)
    slurm = NAME + CONTROLLER.format(host=host).strip() + "\n" + nodes
    gres = "".join(
        f"NodeName={node} Name=gpu Type={kind} File={BASE}/gpu[0-{GPUS - 1}]\n"
        for node, kind in TYPES.items()
    )
    for name, text in zip(FILES, (slurm, gres, "CgroupPlugin=cgroup/v1\n"), strict=True):
        (CONFIGURATION / name).write_text(text)


def _start_munge() -> None:
    key = Path("/etc/munge/munge.key")
    if not key.exists():
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        shutil.chown(key, "munge", "munge")
    socket_folder = Path("/run/munge")
    socket_folder.mkdir(exist_ok=True)
    shutil.chown(socket_folder, "munge", "munge")
    files = [f"--{name}-file={BASE}/munged.{name}" for name in ("pid", "log", "seed")]
    subprocess.run(["munged", "--force", *files], check=True, stderr=subprocess.DEVNULL)


def _end(pid_file: Path) -> None:
    """End the process of a pid file and wait until it is gone."""
    with suppress(OSError, ValueError):
        pid = int(pid_file.read_text())
        os.kill(pid, signal.SIGTERM)
        _wait_for(lambda: not Path(f"/proc/{pid}").exists(), f"the end of {pid_file.stem}")


def _wait_for(condition, what: str) -> None:
    deadline = time.monotonic() + WAIT
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"waited {WAIT} s in vain for {what}: see the logs in {BASE}")
        time.sleep(0.1)


if __name__ == "__main__":
    actions = {"start": start, "stop": stop, "install": install}
    if len(sys.argv) != 2 or sys.argv[1] not in actions:
        sys.exit(__doc__)
    actions[sys.argv[1]]()
