"""Files worked on together end together, and no lock is waited for in vain."""

import threading
import time

import pytest

from animate.hub import transfer
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


def test_lock_that_is_never_given_back_is_not_waited_for_in_vain(tmp_path, monkeypatch):
    """As that of a process which was killed, on a file system without locks of its own."""
    monkeypatch.setattr(transfer, "SILENT_SECONDS", 1)
    lock = tmp_path / "x.lock"
    began = time.monotonic()
    with transfer.one_at_a_time(lock), transfer.one_at_a_time(lock):
        assert 1 <= time.monotonic() - began < 10


def test_lock_keeps_another_process_waiting(tmp_path):
    lock = tmp_path / "x.lock"
    order = []

    def second() -> None:
        with transfer.one_at_a_time(lock):
            order.append("second")

    with transfer.one_at_a_time(lock):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.5)
        order.append("first")
    thread.join(timeout=30)
    assert order == ["first", "second"]
