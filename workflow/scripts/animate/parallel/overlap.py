"""Reading and writing beside the GPU's work, each on one thread of its own."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from types import TracebackType


class Background:
    """Runs calls one after the other on a thread, at most one ahead of the caller."""

    def __init__(self):
        self._pool = ThreadPoolExecutor(1)
        self._pending: Future | None = None

    def run(self, function: Callable, *arguments) -> None:
        """Start a call after the one before is done; raises what that one raised."""
        self.wait()
        self._pending = self._pool.submit(function, *arguments)

    def wait(self) -> None:
        """Wait for the last call; raises what it raised."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def __enter__(self) -> "Background":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self.wait()
        finally:
            self._pool.shutdown()


def reading_ahead(read: Callable, keys: Sequence) -> Callable:
    """Return `read` for `keys` taken in order; it reads the next one while one is in use."""
    pool = ThreadPoolExecutor(1)
    pending: deque[Future] = deque()
    coming = iter(keys)

    def start() -> None:
        for key in islice(coming, 1):
            pending.append(pool.submit(read, key))

    def call(key):
        if not pending:
            start()
        value = pending.popleft().result()
        start()
        return value

    return call
