"""Jobs on one machine never share a device, and a dead holder's devices are free."""

import json
import multiprocessing
import os
import shutil
import stat
import tempfile
import time
from pathlib import Path

import pytest

from animate.devices.idle import ASK, END, HOLDS, held_locks, idle_names, wait_as
from animate.devices.leases import lease, lease_folder, visible_devices
from animate.errors import ClipError

DEVICES = ["0", "1", "2", "3"]
FIRST, SECOND = "GPU-aa11-22", "GPU-aa33-44"
SLICES = ["MIG-55", "MIG-66"]
# What `nvidia-smi -L` prints of two cards, the second cut into two slices.
LISTED = f"""\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: {FIRST})
GPU 1: NVIDIA A100-SXM4-40GB (UUID: {SECOND})
  MIG 3g.20gb     Device  0: (UUID: {SLICES[0]})
  MIG 3g.20gb     Device  1: (UUID: {SLICES[1]})
"""
PROCESSES = multiprocessing.get_context("fork")
TIMEOUT = 30


class Waits(Exception):
    """A lease would have to wait."""


def hold_one(device, folder, events):
    with lease([device], 1, folder) as held:
        events.put(held)


def hold(folder, count, events, seconds):
    """Hold devices for a while and report when they were taken and released."""
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


def test_who_waits_for_one_device_holds_up_nobody_on_another(tmp_path):
    events = PROCESSES.Queue()
    free = PROCESSES.Process(target=hold_one, args=("1", tmp_path, events), daemon=True)

    def see_another_go_on(line):
        free.start()
        assert events.get(timeout=TIMEOUT) == ["1"]
        raise Waits

    with lease(["0"], 1, tmp_path), pytest.raises(Waits):
        lease(["0", "2"], 2, tmp_path, see_another_go_on).__enter__()
    with lease(["2"], 1, tmp_path) as held:
        assert held == ["2"]


def test_killed_holder_frees_its_devices(tmp_path):
    events = PROCESSES.Queue()
    job = PROCESSES.Process(target=hold, args=(tmp_path, 4, events, 600))
    job.start()
    events.get(timeout=TIMEOUT)
    job.kill()
    job.join(TIMEOUT)
    with lease(DEVICES, 4, tmp_path) as held:
        assert held == DEVICES


def hold_while_idle(devices, folder, events):
    """Hold devices until somebody asks for them, as a sampler does between two clips."""
    name = f"{idle_names(folder)}{os.getpid()}"
    with lease(devices, len(devices), folder), wait_as(name) as listener:
        events.put("waits")
        while True:
            asking, _ = listener.accept()
            asked = asking.recv(100)
            if asked == END:
                break
            assert asked == ASK
            asking.send(json.dumps({HOLDS: held_locks(folder)}).encode())
            asking.close()


@pytest.fixture
def idle():
    """A function that has processes hold devices, by the locks of a folder, without work."""
    events, started = PROCESSES.Queue(), []

    def start(folder, *held):
        for devices in held:
            arguments = (devices, folder, events)
            started.append(PROCESSES.Process(target=hold_while_idle, args=arguments))
            started[-1].start()
            assert events.get(timeout=TIMEOUT) == "waits"

    def ended():
        """Return who has ended, of those that were asked to a moment ago."""
        time.sleep(0.2)
        return [process.exitcode == 0 for process in started]

    start.ended = ended
    yield start
    for process in started:
        process.kill()


def test_the_fewest_who_hold_devices_without_work_are_asked_to_end(idle, tmp_path):
    idle(tmp_path, ["0"], ["1", "2"], ["3"], ["4", "5", "6"])
    idle(tmp_path / "other", ["1"])
    with lease(["0", "1", "2", "3"], 2, tmp_path) as held:
        assert held == ["1", "2"]
    assert idle.ended() == [False, True, False, False, False]
    with lease(["0", "3", "7"], 1, tmp_path) as held:
        assert held == ["7"]
    with lease(["0", "3", "7"], 3, tmp_path) as held:
        assert held == ["0", "3", "7"]
    assert idle.ended() == [True, True, True, False, False]


def test_more_than_there_are(tmp_path):
    with pytest.raises(ClipError, match="gpus is 5, but this machine has 4"):
        lease(DEVICES, 5, tmp_path).__enter__()


@pytest.fixture
def common():
    """A folder of which every user can make use; those of pytest are this user's alone."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o1777)
    yield folder
    shutil.rmtree(folder)


def lease_as(user, folder, answers):
    """Hold a device as another user with a strict umask; report it, or what went wrong."""
    os.umask(0o077)
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
    try:
        with lease(["0"], 1, folder) as held:
            answers.put(held)
    except Exception as error:
        answers.put(repr(error))


def as_user(user, folder):
    answers = PROCESSES.Queue()
    job = PROCESSES.Process(target=lease_as, args=(user, folder, answers))
    job.start()
    answer = answers.get(timeout=TIMEOUT)
    job.join(TIMEOUT)
    return answer


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_users_of_one_machine_take_turns(common):
    folder = common / "leases"
    assert as_user(1001, folder) == ["0"]
    assert as_user(1002, folder) == ["0"]
    with lease(["0", "1"], 1, folder) as held:
        assert held == ["0"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_folder_of_another_user_alone_is_named(common):
    (common / "leases").mkdir(mode=0o755)
    answer = as_user(1001, common / "leases")
    assert answer.startswith("MachineError") and "Permission denied" in answer
    assert f"{common}/leases cannot be used" in answer and "set WAN_ANIMATE_LEASES" in answer


def test_locks_are_readable_for_all_and_their_folder_writable(tmp_path):
    before = os.umask(0o077)
    try:
        with lease(["0"], 1, tmp_path / "leases"):
            assert os.umask(0o077) == 0o077
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "leases").stat().st_mode) == 0o1777
    rights = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "leases").iterdir()}
    assert rights == {0o444}


@pytest.mark.parametrize("lock", [False, True])
def test_a_link_in_place_of_folder_or_lock_is_not_followed(tmp_path, lock):
    target = tmp_path / "target"
    target.mkdir()
    folder = tmp_path / "leases"
    if lock:
        folder.mkdir()
        (folder / "_0.lock").symlink_to(target / "new")
    else:
        folder.symlink_to(target)
    with pytest.raises(ClipError, match="leases cannot be used"):
        lease(["0"], 1, folder).__enter__()
    assert not list(target.iterdir())


def test_a_machine_has_one_folder_of_locks(monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    assert (
        lease_folder({}) == lease_folder({"SLURM_JOB_ID": "7"}) == Path("/tmp/wan-animate-leases")
    )
    assert lease_folder({"WAN_ANIMATE_LEASES": "/x"}) == Path("/x")


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """A function that puts an `nvidia-smi` on the path, which prints a text."""

    def install(text):
        program = tmp_path / "bin" / "nvidia-smi"
        program.parent.mkdir(exist_ok=True)
        (tmp_path / "listed").write_text(text)
        program.write_text(f'#!/bin/sh\ntest "$*" = -L && cat {tmp_path}/listed\n')
        program.chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    return install


def is_free(device, folder):
    def give_up(line):
        raise Waits

    try:
        with lease([device], 1, folder, give_up):
            return True
    except Waits:
        return False


def test_a_card_is_leased_once_under_all_its_names(nvidia_smi, tmp_path):
    nvidia_smi(LISTED)
    names = ("0", FIRST, "GPU-aa1")
    for name in names:
        with lease([name], 1, tmp_path) as held:
            assert held == [name]
            assert not any(is_free(other, tmp_path) for other in names)
            assert is_free("1", tmp_path)


def test_slices_of_a_card_are_leased_apart_and_its_number_is_the_first(nvidia_smi, tmp_path):
    nvidia_smi(LISTED)
    with lease(["1"], 1, tmp_path) as held:
        assert held == ["1"]
        assert not is_free(SECOND, tmp_path) and not is_free(SLICES[0], tmp_path)
        assert is_free(SLICES[1], tmp_path)


def test_slurm_jobs_and_others_count_the_same_card_differently(nvidia_smi, tmp_path, monkeypatch):
    nvidia_smi(LISTED)
    with lease(["0"], 1, tmp_path):
        monkeypatch.setenv("SLURM_JOB_ID", "7")
        nvidia_smi(LISTED.replace("GPU 1", "GPU 9").replace("GPU 0", "GPU 1"))
        assert not is_free("1", tmp_path) and is_free("9", tmp_path)


def test_two_names_of_one_card_are_one_device(nvidia_smi, tmp_path):
    nvidia_smi(LISTED)
    with pytest.raises(ClipError, match="gpus is 2, but this machine has 1"):
        lease(["0", FIRST], 2, tmp_path).__enter__()


def test_all_devices_of_a_machine_go_by_their_uuids(nvidia_smi, tmp_path):
    nvidia_smi(LISTED)
    assert visible_devices({}) == [FIRST, *SLICES]
    assert visible_devices({"CUDA_VISIBLE_DEVICES": "1, 0"}) == ["1", "0"]


def test_without_nvidia_smi_names_are_taken_as_they_are(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert visible_devices({}) == []
    old_slice = f"MIG-{FIRST}/1/0"
    with lease(["0", old_slice], 2, tmp_path) as held:
        assert held == ["0", old_slice]
        assert not is_free("0", tmp_path) and not is_free(old_slice, tmp_path)
        # Each SLURM job counts its own devices from 0.
        monkeypatch.setenv("SLURM_JOB_ID", "7")
        assert is_free("0", tmp_path)
    assert capfd.readouterr() == ("", "")


def test_no_device_needs_no_folder():
    with lease([], 0, Path("/proc/none")) as held:
        assert held == []
