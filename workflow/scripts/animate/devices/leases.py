"""GPUs that a process holds for itself: one lock file per device, released when the process dies.

A lock is named after the device's UUID: one card may be called `0`, `GPU-...` or, by a SLURM job
that counts its own from 0, another number. Containers see each other's locks only when they share
the folder.
"""

import fcntl
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import ExitStack, contextmanager, suppress
from hashlib import sha256
from pathlib import Path

from animate.devices.idle import end_idle
from animate.errors import ClipError, MachineError

Meanwhile = Callable[[Path, Set[str], int], None]

POLL_SECONDS = 0.5
# What CUDA_VISIBLE_DEVICES holds where a manager gives a job no GPU.
NO_GPU = ("", "-1", "NoDevFiles")
# Not TMPDIR's: all users of a machine have to meet there.
FOLDER = "/tmp/wan-animate-leases"
CARD = re.compile(r"GPU (\d+): .*\(UUID: (GPU-[^)]+)\)")
SLICE = re.compile(r"\s+MIG .*\(UUID: (MIG-[^)]+)\)")


def visible_devices(environment: Mapping[str, str]) -> list[str]:
    """Return the devices this job may use, by the names it was given, or all of the machine's."""
    given = environment.get("CUDA_VISIBLE_DEVICES")
    if given in NO_GPU:
        return []
    if given is not None:
        return [device.strip() for device in given.split(",") if device.strip()]
    # By UUID: CUDA and nvidia-smi may count unlike cards in different orders.
    return list(dict.fromkeys(_uuids().values()))


def lease_folder(environment: Mapping[str, str]) -> Path:
    """Return the folder of the locks, the same for all users and jobs of a machine."""
    return Path(environment.get("WAN_ANIMATE_LEASES", FOLDER))


@contextmanager
def lease(
    devices: list[str],
    count: int,
    folder: Path,
    say: Callable[[str], None] = print,
    meanwhile: Meanwhile = end_idle,
) -> Iterator[list[str]]:
    """Hold `count` of `devices` while the context lasts; wait until that many are free.

    Yields the names as they are in `devices`, numbers counted as nvidia-smi does. The locks are
    `flock`s on files of `folder`, inherited by a program that replaces this one, so however the
    holder ends, its devices are free. Of those who choose among the same devices, one at a time
    collects them, so that many small jobs never starve a large one. While it waits it calls
    `meanwhile` again and again with the folder, the locks that others hold, and how many of those
    are missing: by default, holders without work are asked to end.

    Raises:
        ClipError: there are fewer than `count` devices, or the folder cannot be used.
    """
    locks = _locks(devices)
    if count > len(locks):
        raise ClipError(f"gpus is {count}, but this machine has {len(locks)}: set gpus lower")
    with ExitStack() as handles:
        try:
            held = _collect(locks, count, folder, say, meanwhile, handles) if count else []
        except OSError as error:
            raise MachineError(
                f"the locks of GPUs in {folder} cannot be used ({error.strerror}): remove it, or"
                " set WAN_ANIMATE_LEASES to a folder where every user of this machine can write"
            ) from error
        yield held


def _uuids() -> dict[str, str]:
    """Return the UUID of each name of the machine's devices, none when nvidia-smi cannot tell.

    To CUDA, a card that is cut into slices is the first of them.
    """
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return {}
    found: dict[str, str] = {}
    card: tuple[str, str] = ("", "")
    for line in listed.stdout.splitlines():
        if match := CARD.match(line):
            card = match[1], match[2]
            found |= dict.fromkeys(card, match[2])
        elif match := SLICE.match(line):
            if found.get(card[0]) == card[1]:
                found |= dict.fromkeys(card, match[1])
            found[match[1]] = match[1]
    return found


def _locks(devices: list[str]) -> dict[str, str]:
    """Return the devices by the name of their lock, one for each device."""
    uuids = _uuids()
    # Names whose card is unknown: in a SLURM job they may mean others than outside.
    job = os.environ.get("SLURM_JOB_ID", "")
    found: dict[str, str] = {}
    for device in devices:
        whole = uuids.get(device)
        if device.startswith(("GPU-", "MIG-")):
            # CUDA takes the beginning of a UUID, too.
            whole = next((uuids[name] for name in uuids if name.startswith(device)), None)
        lock = whole or f"{job}_{device}"
        found.setdefault(f"{lock.replace('/', '_')}.lock", device)
    return found


def _collect(
    locks: dict[str, str],
    count: int,
    folder: Path,
    say: Callable[[str], None],
    meanwhile: Meanwhile,
    handles: ExitStack,
) -> list[str]:
    """Return `count` devices, whose locks `handles` will close."""
    place = _open_folder(folder)
    handles.callback(os.close, place)
    turn = _open(_turn(locks), place)
    try:
        fcntl.flock(turn, fcntl.LOCK_EX)
        waiting = False
        while True:
            # Those with other choices must not wait for what is held here until there is enough.
            with ExitStack() as tried:
                held: dict[str, str] = {}
                for lock, device in locks.items():
                    if len(held) < count and _try(lock, place, tried):
                        held[lock] = device
                if len(held) == count:
                    handles.push(tried.pop_all())
                    return list(held.values())
            if not waiting:
                say(f"waiting for {count - len(held)} more of {len(locks)} GPUs")
            waiting = True
            meanwhile(folder, locks.keys() - held.keys(), count - len(held))
            time.sleep(POLL_SECONDS)
    finally:
        os.close(turn)


def _turn(locks: dict[str, str]) -> str:
    """Return the lock of those who choose among the same devices: the first comes first."""
    return f"turn-{sha256(' '.join(sorted(locks)).encode()).hexdigest()[:16]}.lock"


def _try(lock: str, place: int, handles: ExitStack) -> bool:
    """Return whether the lock is held now, until `handles` close it or the process ends."""
    handle = _open(lock, place)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return False
    os.set_inheritable(handle, True)
    handles.callback(os.close, handle)
    return True


def _open_folder(folder: Path) -> int:
    """Return a handle of the folder; a new one is writable for all, as /tmp is."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _every_user():
        folder.mkdir(0o1777, exist_ok=True)
    # Whoever may write beside it can put a link there.
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)


def _open(lock: str, place: int) -> int:
    """Return a handle for reading, enough for `flock`: writing is another user's right."""
    with _every_user(), suppress(FileExistsError):
        os.close(os.open(lock, os.O_CREAT | os.O_EXCL, 0o444, dir_fd=place))
    return os.open(lock, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=place)


@contextmanager
def _every_user() -> Iterator[None]:
    """Create files with just the rights asked for, whatever this user's umask."""
    before = os.umask(0)
    try:
        yield
    finally:
        os.umask(before)
