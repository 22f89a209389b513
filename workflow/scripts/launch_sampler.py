"""Lease GPUs and sample a clip on them: launch_sampler.py --gpus N SETTINGS.json

Jobs on one machine never share a GPU: each holds file locks on its devices, and a job that finds
too few free waits. The command is replaced by torchrun, so the locks last as long as it does. With
--warm-seconds the ranks and their locks outlive it, and take the next clip like this one: see
`animate.serving`.
In a job that SLURM gave its GPUs, --nodes says over how many nodes srun spreads them instead. In a
container that has no srun, a clip on one node is started without. With --warm-seconds, too, the job
samples several clips on one node, each told to stop --stop-before seconds before the job's end.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Set
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

from animate.cluster.launch import ranks_command, seconds_left, step_command
from animate.devices.idle import end_idle, end_idle_while, waiting
from animate.devices.leases import Meanwhile, lease, lease_folder, visible_devices
from animate.errors import ClipError
from animate.failure_note import (
    FailureNote,
    add_note,
    log_of_sampler,
    note_of,
    remove_note,
    write_note,
)
from animate.sampling.progress import Progress
from animate.serving.jobs import ServerWaits, sample_by_server, start_keeper
from animate.serving.loaded import loaded_key
from animate.serving.outlets import Outlet
from animate.serving.servers import Run, end_others, server_names
from animate.weights.storage.staging import stage_job
from animate.weights.storage.warming import is_short

HERE = Path(__file__).parent
SAY_SECONDS = 5
# What is mounted for a container's job may vanish with it.
IN_CONTAINER = {"APPTAINER_CONTAINER", "SINGULARITY_CONTAINER"}


def rank_environment(environment: dict[str, str], ranks: int, settings: Path) -> dict[str, str]:
    """Return the variables to set for `ranks` processes that share this job's CPU threads.

    Compiled code is kept beside the models, for the jobs to come, unless that folder cannot be
    written. What is set already stays as it is.
    """
    threads = int(environment.get("OMP_NUM_THREADS") or os.cpu_count())
    # Without it, memory that was freed in pieces stays unusable for larger tensors.
    found = {"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True"}
    # The sampler reports wrong settings itself.
    with suppress(OSError, ValueError, KeyError):
        models = Path(json.loads(settings.read_text(encoding="utf-8"))["model"]).resolve().parent
        if os.access(models, os.W_OK):
            found["TORCHINDUCTOR_CACHE_DIR"] = str(models / ".compiled")
            # FlashAttention-4 compiles in each process, otherwise; its locks are for one user.
            own = models / f".compiled/flash_attention_{os.getuid()}"
            found["FLASH_ATTENTION_CUTE_DSL_CACHE_ENABLED"] = "1"
            found["FLASH_ATTENTION_CUTE_DSL_CACHE_DIR"] = str(own)
    found = {name: value for name, value in found.items() if name not in environment}
    return found | {"OMP_NUM_THREADS": str(max(1, threads // ranks))}


def main(arguments: argparse.Namespace) -> None:
    """Hold the devices and become torchrun, or srun; without any GPU, the ranks decide."""
    environment = dict(os.environ)
    ranks = arguments.gpus // (arguments.nodes or 1)
    os.environ |= rank_environment(environment, ranks, arguments.settings)
    if arguments.nodes and not arguments.warm_seconds:
        announce(arguments.settings, f"on {arguments.gpus} GPUs of {arguments.nodes} nodes")
        _become(_task_on_nodes(arguments))
    # SLURM's GPUs are nobody else's.
    leased = arguments.device != "cpu" and not arguments.nodes
    devices = visible_devices(environment) if leased else []
    if arguments.nodes:
        _stop_in_time(arguments)
        _stage(arguments)
    if arguments.warm_seconds and not IN_CONTAINER & environment.keys():
        served = _ranks(arguments, ranks, "--serve")
        if key := loaded_key(arguments.settings, served):
            run = Run.of(arguments.run)
            names = server_names(lease_folder(environment), run, key)
            if arguments.nodes:
                end_others(lease_folder(environment), run, names)
            sys.exit(_sample_by_server(arguments, devices, names, served))
    with ExitStack() as stack:
        _take_gpus(arguments, devices, stack)
        _become([*_ranks(arguments, ranks), str(arguments.settings)])


def _ranks(arguments: argparse.Namespace, ranks: int, *more: str) -> list[str]:
    """Return the command of a sampler's ranks, less its settings file."""
    return ranks_command(1, ranks, [str(HERE / "sample.py"), *_sampler_options(arguments), *more])


def _stop_in_time(arguments: argparse.Namespace) -> None:
    """Warn this process before the job's end, as SLURM warns a job of one clip.

    With control groups, SLURM's own warning reaches no more than the Snakemake around it.
    """
    left = seconds_left(os.environ)
    if left is None:
        return
    left -= arguments.stop_before
    if left <= 0:
        print(f"clip {arguments.settings.parent.name}: is left to another job: no time in this one")
        sys.exit(1)
    warning = threading.Timer(left, os.kill, (os.getpid(), signal.SIGUSR1))
    warning.daemon = True
    warning.start()


def _stage(arguments: argparse.Namespace) -> None:
    """Find the model on this node's own disk, where it is copied once."""
    # The sampler reports wrong settings itself.
    with suppress(OSError, ValueError, KeyError):
        if arguments.scratch:
            say = partial(print, file=sys.stderr, flush=True)
            where = arguments.settings, arguments.scratch, os.environ
            arguments.staged = stage_job(*where, say)


def _take_gpus(
    arguments: argparse.Namespace,
    devices: list[str],
    stack: ExitStack,
    meanwhile: Meanwhile = end_idle,
) -> None:
    """Have the processes that this one starts see the clip's GPUs, which they hold.

    On a CPU, others' models make room when the memory is too small for one more.
    """
    where = f"on {arguments.gpus} GPUs of its job" if arguments.nodes else "without GPUs of its own"
    folder = lease_folder(os.environ)
    if not devices and not arguments.nodes:
        end_idle_while(folder, partial(is_short, arguments.settings))
    if devices:
        held = stack.enter_context(lease(devices, arguments.gpus, folder, meanwhile=meanwhile))
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(held)
        where = f"on GPU {', '.join(held)}"
    announce(arguments.settings, where)


def _sample_by_server(
    arguments: argparse.Namespace, devices: list[str], names: str, command: list[str]
) -> int:
    """Have the clip sampled by ranks that outlive this job, and return its exit status."""

    def look(leases: Path, wanted: Set[str], count: int) -> None:
        if waiting(names):
            raise ServerWaits
        end_idle(leases, wanted, count)

    def start() -> socket.socket:
        with ExitStack() as stack:
            _take_gpus(arguments, devices, stack, look)
            return start_keeper([*keeper, "--", *command])

    keeper = [sys.executable, str(HERE / "keep_sampler.py"), f"--name={names}"]
    keeper += [f"--run={arguments.run}", f"--warm-seconds={arguments.warm_seconds}"]
    answer = sample_by_server(arguments.settings, names, start, _say)
    if "failed" in answer:
        add_note(log_of_sampler(arguments.settings), FailureNote(answer["failed"], final=False))
        _say(f"clip {arguments.settings.parent.name}: error: {answer['failed']}")
    return answer.get("status", 1)


def _say(line: str) -> None:
    """Print a line, which may be lost when nobody reads: the run may have been killed."""
    outlet = Outlet(os.dup(sys.stdout.fileno()))
    outlet.put(f"{line}\n".encode())
    outlet.end(SAY_SECONDS)


def announce(settings: Path, where: str) -> None:
    """Say at once that a clip starts, where, and what is loaded: the ranks need seconds to speak.

    What is wrong with the settings is the sampler's to say.
    """
    with suppress(OSError, ValueError, KeyError, TypeError):
        job = json.loads(settings.read_text(encoding="utf-8"))
        progress = Progress(job["clip"], Path(job["progress"]))
        progress.say(f"starting {where}, to load {Path(job['model']).name}")


def _task_on_nodes(arguments: argparse.Namespace) -> list[str]:
    nodes, gpus = arguments.nodes, arguments.gpus
    task = [sys.executable, str(HERE / "sample_on_node.py"), f"--nodes={nodes}"]
    task += [f"--ranks={gpus // nodes}"]
    task += ["--scratch", arguments.scratch] if arguments.scratch else []
    task += _sampler_options(arguments)
    task += [str(arguments.settings)]
    if shutil.which("srun"):
        return step_command(nodes, gpus, arguments.cpus, task)
    if nodes > 1:
        raise ClipError(
            f"{gpus} GPUs are {nodes} nodes, and srun, which starts the clip on all of them, is not"
            f" here: set gpus to at most {gpus // nodes}, or run without --sdm apptainer"
        )
    return task


def _sampler_options(arguments: argparse.Namespace) -> list[str]:
    options = [f"--device={arguments.device}", f"--compile={arguments.compile}"]
    return [*options, *([f"--staged={arguments.staged}"] if arguments.staged else [])]


def _become(command: list[str]) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os.execvp(command[0], command)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gpus", type=int, required=True)
    parser.add_argument("--nodes", type=int, help="nodes of a SLURM job")
    parser.add_argument("--cpus", type=int, default=1, help="CPUs of each of its nodes")
    parser.add_argument("--scratch", help="folder on each node's own disk to copy the model to")
    parser.add_argument("--device", default="auto", help="auto, cuda or cpu")
    parser.add_argument("--compile", default="auto", help="auto, on or off")
    parser.add_argument("--warm-seconds", type=float, default=0, help="ranks wait for more clips")
    parser.add_argument("--run", type=int, help="process number of the Snakemake they end with")
    parser.add_argument("--stop-before", type=float, default=0, help="seconds before a job's end")
    parser.add_argument("settings", type=Path)
    arguments = parser.parse_args(namespace=argparse.Namespace(staged=None))
    log = log_of_sampler(arguments.settings)
    remove_note(log)
    try:
        main(arguments)
    except ClipError as error:
        write_note(log, note_of(error))
        # On the console: the rule keeps standard error, and torchrun's tracebacks, for the log.
        print(f"clip {arguments.settings.parent.name}: error: {error}")
        sys.exit(1)
