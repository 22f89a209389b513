"""Work on several files at once that ends for all when it fails for one."""

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

from animate.hub.progress import Progress

T = TypeVar("T")
R = TypeVar("R")


def in_parallel(
    work: Callable[[T], R], files: Iterable[T], threads: int, progress: Progress
) -> list[R]:
    """Return the result for each file, in order; the first error, or Ctrl-C, stops the others."""
    pool = ThreadPoolExecutor(threads)
    try:
        jobs = [pool.submit(work, file) for file in files]
        done = wait(jobs, return_when=FIRST_EXCEPTION).done
        return [job.result() for job in jobs if job in done]
    except BaseException:
        progress.stop()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        progress.close()
