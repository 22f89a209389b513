"""Make what is needed later while something else goes on."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

Item = TypeVar("Item")


def begin(function: Callable, *arguments: Any) -> Future:
    """Call a function on a thread of its own; its result, or what it raises, is the future's."""
    thread = ThreadPoolExecutor(1)
    called = thread.submit(function, *arguments)
    thread.shutdown(wait=False)
    return called


def prefetch(items: Iterable[Item]) -> Iterator[Item]:
    """Return an iterator of `items`, each made on a thread while the one before is in use.

    The first is begun at once. Two items are in memory at a time; what making one raises is raised
    in its turn.
    """
    iterator, end = iter(items), object()
    thread = ThreadPoolExecutor(1)
    return _handed_on(iterator, end, thread, thread.submit(next, iterator, end))


def _handed_on(
    iterator: Iterator[Item], end: object, thread: ThreadPoolExecutor, coming: Future
) -> Iterator[Item]:
    with thread:
        while (item := coming.result()) is not end:
            coming = thread.submit(next, iterator, end)
            yield item
