"""Files worked on together end together."""

import time

import pytest

from animate.hub.parallel import in_parallel
from animate.hub.progress import Progress, Stopped


def test_first_error_stops_the_others_whatever_their_order():
    progress = Progress("tested", 0)
    stopped = []

    def work(file: str) -> None:
        if file == "bad":
            raise ValueError(file)
        deadline = time.monotonic() + 10
        try:
            while time.monotonic() < deadline:
                progress.reach(file, 0)
                time.sleep(0.01)
        except Stopped:
            stopped.append(file)
            raise

    with pytest.raises(ValueError, match="bad"):
        in_parallel(work, ["slow", "bad"], 2, progress)
    assert stopped == ["slow"]
