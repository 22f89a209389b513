"""torchrun that passes SLURM's warning on and names the rank that ended the others.

run_ranks.py TORCHRUN-ARGUMENTS
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.run import main

# A rank that ends with this has said why: it met a `ClipError`.
EXPLAINED = 1


def culprit(failures: dict[int, ProcessFailure]) -> int:
    """Return the rank that failed first: a killed one, as others fail when it leaves them.

    SIGTERM is what torchrun ends the others with.
    """

    def order(rank: int) -> tuple[int, int]:
        code = failures[rank].exitcode
        return (2 if code == -signal.SIGTERM else int(code > 0)), failures[rank].timestamp

    return min(failures, key=order)


def explain(failures: dict[int, ProcessFailure]) -> str | None:
    """Return what happened to the first failed rank, None when it said so itself."""
    rank = culprit(failures)
    code = failures[rank].exitcode
    if code == EXPLAINED:
        return None
    if code < 0:
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
    """Send a signal to the ranks: with control groups, SLURM signals torchrun alone."""
    for rank in listening_ranks():
        with suppress(ProcessLookupError):
            os.kill(rank, number)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, pass_on)
    try:
        main(sys.argv[1:])
    except ChildFailedError as error:
        line = explain(error.failures)
        if line is not None:
            print(f"clip {Path(sys.argv[-1]).parent.name}: error: {line}", flush=True)
        sys.exit(1)
