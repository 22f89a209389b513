"""Files worked on together end together."""

import time

import pytest

from animate.hub.progress import Progress, Stopped, in_parallel


def test_first_error_stops_the_others_whatever_their_order():
    progress = Progress("tested", 0)
    stopped = []

    def work(file: str) -> None:
        if file == "bad":
            raise ValueError(file)
        deadline = time.monotonic() + 10
        try:
            while time.monotonic() < deadline:
                progress.update(0)
                time.sleep(0.01)
        except Stopped:
            stopped.append(file)
            raise

    with pytest.raises(ValueError, match="bad"):
        in_parallel(work, ["slow", "bad"], progress)
    assert stopped == ["slow"]
