"""Start a clip's ranks, pass SLURM's warning on to them, and name the one that ended the others.

run_ranks.py TORCHRUN-ARGUMENTS

With --serve, the process that started this one gives the ranks clips: see `animate.serving`.
Several ranks are torchrun's. One alone needs none of it: it is started as torchrun would start it,
without the seconds that its libraries take to import.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from animate.devices.parent import LAUNCHER, die_with_parent
from animate.failure_note import FailureNote, add_note, log_of_sampler
from animate.serving.messages import send, take_standard_input
from animate.weights.storage.warming import warm

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

# A rank that ends with this has said why: it met a `ClipError`.
EXPLAINED = 1
ALONE = ["--standalone", "--nproc-per-node=1"]
STAGED, SERVE = "--staged=", "--serve"


def culprit(failures: "dict[int, ProcessFailure]") -> int:
    """Return the rank that failed first: a killed one, as others fail when it leaves them.

    SIGTERM is what torchrun ends the others with.
    """

    def order(rank: int) -> tuple[int, int]:
        code = failures[rank].exitcode
        return (2 if code == -signal.SIGTERM else int(code > 0)), failures[rank].timestamp

    return min(failures, key=order)


def explain(rank: int, code: int, told: int | None = None) -> str | None:
    """Return what happened to a failed rank, None when it said so itself.

    `told` is the signal that this process was told to end with.
    """
    if code == EXPLAINED:
        return None
    if told is not None:
        how = f"was ended by {signal.Signals(told).name}:"
    elif code < 0:
        how = f"was killed by {signal.Signals(-code).name}: see whether the memory ran out, and"
    else:
        how = f"failed with exit code {code}: see the log, and"
    return f"rank {rank} {how} run again to go on after the last whole segment"


def listening_ranks() -> Iterator[int]:
    """Yield this process's children that handle SIGUSR1; it would kill the others."""
    for path in Path("/proc").glob("[0-9]*/status"):
        # It may end meanwhile.
        with suppress(OSError):
            status = dict(line.split(":\t", 1) for line in path.read_text().splitlines())
            mine = int(status["PPid"]) == os.getpid()
            if mine and int(status["SigCgt"], 16) >> (signal.SIGUSR1 - 1) & 1:
                yield int(status["Pid"])


def pass_on(number: int, frame: object) -> None:
    """Send a signal to the ranks: with control groups, SLURM signals this process alone."""
    for rank in listening_ranks():
        with suppress(ProcessLookupError):
            os.kill(rank, number)


def run_alone(program: list[str]) -> tuple[int, int | None]:
    """Run one rank, which ends as this process is told to.

    Returns its exit code and the signal that this process was told to end with, if any.
    """
    environment = os.environ | {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}
    told: list[int] = []
    started: list[subprocess.Popen] = []

    def end(number: int, frame: object) -> None:
        told.append(number)
        # Ctrl-C reaches the rank from the terminal.
        for rank in started if number == signal.SIGTERM else ():
            rank.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    with subprocess.Popen([sys.executable, "-u", *program], env=environment) as rank:
        started.append(rank)
        # What came before there was a rank.
        for number in told[:1]:
            rank.send_signal(number)
        return rank.wait(), told[0] if told else None


def run_many(arguments: list[str]) -> tuple[int, int, int | None]:
    """Have torchrun run the ranks.

    Returns the first that failed and its exit code, or zeros, and the signal that this process was
    told to end with, if any.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main

    try:
        main(arguments)
    except ChildFailedError as error:
        rank = culprit(error.failures)
        return rank, error.failures[rank].exitcode, None
    except SignalException as error:
        return 0, -error.sigval, int(error.sigval)
    return 0, 0, None


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, pass_on)
    served = SERVE in sys.argv
    if served:
        die_with_parent()
    os.environ[LAUNCHER] = str(os.getpid())
    staged = next((a.removeprefix(STAGED) for a in sys.argv if a.startswith(STAGED)), None)
    # On several nodes, each would read the whole model from the shared disk.
    if staged or "--standalone" in sys.argv:
        warm(Path(sys.argv[-1]), Path(staged) if staged else None)
    rank = 0
    if sys.argv[1:3] == ALONE:
        code, told = run_alone(sys.argv[3:])
    else:
        rank, code, told = run_many(sys.argv[1:])
    if code:
        line = explain(rank, code, told)
        if line is not None and served:
            send(take_standard_input(), {"failed": line})
        elif line is not None:
            settings = Path(sys.argv[-1])
            add_note(log_of_sampler(settings), FailureNote(line, final=False))
            print(f"clip {settings.parent.name}: error: {line}", flush=True)
        sys.exit(1)
