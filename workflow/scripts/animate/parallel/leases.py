"""GPUs that a process holds for itself: one lock file per device, let go when the process dies."""

import fcntl
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from animate.errors import ClipError

POLL_SECONDS = 0.5


def visible_devices(environment: Mapping[str, str]) -> list[str]:
    """Return the devices this job may use: those it was given, or all of the machine's."""
    given = environment.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [device for device in given.split(",") if device]
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return []
    return listed.stdout.split()


def lease_folder(environment: Mapping[str, str]) -> Path:
    """Return the folder of the locks; SLURM counts the devices of each of its jobs from 0."""
    job = environment.get("SLURM_JOB_ID", "")
    folder = Path(tempfile.gettempdir(), f"wan-animate-gpus{job and '-' + job}")
    return Path(environment.get("WAN_ANIMATE_LEASES", folder))


@contextmanager
def lease(
    devices: list[str], count: int, folder: Path, say: Callable[[str], None] = print
) -> Iterator[list[str]]:
    """Hold `count` of `devices` while the context lasts; wait until that many are free.

    The locks are `flock`s on files of `folder`, inherited by a program that replaces this one, so
    however the holder ends, its devices are free. Only one process at a time collects devices: two
    that each hold half of what both need never wait for each other.

    Raises:
        ClipError: there are fewer than `count` devices.
    """
    if count > len(devices):
        raise ClipError(f"gpus is {count}, but this machine has {len(devices)}: set gpus lower")
    folder.mkdir(parents=True, exist_ok=True)
    held: dict[str, int] = {}
    waiting = False
    try:
        turn = _open(folder / "turn.lock")
        fcntl.flock(turn, fcntl.LOCK_EX)
        try:
            while len(held) < count:
                for device in devices:
                    if device not in held and len(held) < count:
                        held |= _try(folder, device)
                if len(held) < count:
                    if not waiting:
                        say(f"waiting for {count - len(held)} more of {len(devices)} GPUs")
                    waiting = True
                    time.sleep(POLL_SECONDS)
        finally:
            os.close(turn)
        yield list(held)
    finally:
        for handle in held.values():
            os.close(handle)


def _try(folder: Path, device: str) -> dict[str, int]:
    """Return the device and the handle that holds it, or nothing when another process does."""
    handle = _open(folder / f"gpu_{device}.lock")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return {}
    os.set_inheritable(handle, True)
    return {device: handle}


def _open(path: Path) -> int:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    return handle
