"""Jobs on one machine never share a device, and a dead holder's devices are free."""

import multiprocessing
import time

import pytest

from animate.errors import ClipError
from animate.parallel.leases import lease

DEVICES = ["0", "1", "2", "3"]
PROCESSES = multiprocessing.get_context("fork")
TIMEOUT = 30


def hold(folder, count, events, seconds):
    """Hold devices for a while and report when they were got and let go."""
    with lease(DEVICES, count, folder, lambda line: None) as held:
        events.put(("got", held))
        time.sleep(seconds)
        events.put(("left", held))


def test_clips_of_one_two_and_four_never_share(tmp_path):
    events = PROCESSES.Queue()
    counts = (1, 2, 4, 2, 1, 4, 1)
    jobs = [PROCESSES.Process(target=hold, args=(tmp_path, n, events, 0.05)) for n in counts]
    for job in jobs:
        job.start()
    in_use, sizes = set(), []
    for _ in range(2 * len(counts)):
        kind, held = events.get(timeout=TIMEOUT)
        if kind == "got":
            assert not in_use & set(held)
            in_use |= set(held)
            sizes.append(len(held))
        else:
            in_use -= set(held)
    assert sorted(sizes) == sorted(counts)


def test_killed_holder_frees_its_devices(tmp_path):
    events = PROCESSES.Queue()
    job = PROCESSES.Process(target=hold, args=(tmp_path, 4, events, 600))
    job.start()
    events.get(timeout=TIMEOUT)
    job.kill()
    job.join(TIMEOUT)
    with lease(DEVICES, 4, tmp_path) as held:
        assert held == DEVICES


def test_more_than_there_are(tmp_path):
    with pytest.raises(ClipError, match="gpus is 5, but this machine has 4"):
        lease(DEVICES, 5, tmp_path).__enter__()
