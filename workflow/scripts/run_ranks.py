"""torchrun that names the rank that ended the others: run_ranks.py TORCHRUN-ARGUMENTS"""

import signal
import sys
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


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except ChildFailedError as error:
        line = explain(error.failures)
        if line is not None:
            print(f"clip {Path(sys.argv[-1]).parent.name}: error: {line}", flush=True)
        sys.exit(1)
