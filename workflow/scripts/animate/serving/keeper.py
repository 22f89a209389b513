"""The process that keeps ranks alive between clips, takes clips for them, and holds their GPUs."""

import os
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from animate.devices.idle import HOLDS, held_locks, wait_as
from animate.devices.leases import lease_folder
from animate.serving.messages import TAKEN, Message, has_gone, is_own, receive, send
from animate.serving.outlets import Outlet
from animate.serving.ranks import GRACE_SECONDS, Ranks
from animate.serving.servers import Run

POLL_SECONDS = 0.5
# For a job that has connected to say what it wants.
GREETING_SECONDS = 5
EXPLAINED = 1
AGAIN = "run again to go on after the last whole segment"


@dataclass(frozen=True)
class _Clip:
    """A job that waits for its clip: its standard output and error, and what it asked for."""

    job: socket.socket
    outlets: list[Outlet]
    order: Message

    @property
    def gone(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self.job.fileno() < 0 or has_gone(self.job)

    def end(self, answer: Message) -> None:
        """Answer the job."""
        send(self.job, answer)
        self.close()

    def close(self) -> None:
        """Leave the job without an answer."""
        self.job.close()
        for outlet in self.outlets:
            outlet.end()


class Keeper:
    """Has clip after clip sampled by ranks; see `keep`."""

    def __init__(self, name: str, run: Run, warm_seconds: float):
        """`name` is the beginning of the name that jobs look for, `run` what this ends with."""
        self._name, self._run, self._warm_seconds = name, run, warm_seconds
        self._told = False

    def keep(self, first: socket.socket, command: list[str]) -> None:
        """Start ranks for the clip of a job, and have them sample those of later jobs.

        Ends when no job comes in time, on SIGTERM, with the run, when another process wants the
        GPUs between two clips, and when the ranks end. `command` starts them, less the settings
        file of their first clip.
        """
        signal.signal(signal.SIGTERM, self._end)
        clip = _greet(first)
        # Until here it was the job's.
        with Path(os.devnull).open("wb") as nothing:
            os.dup2(nothing.fileno(), sys.stderr.fileno())
        with ExitStack() as stack:
            ranks = None
            while clip:
                try:
                    if ranks:
                        ranks.give(clip.order)
                    else:
                        ranks = Ranks([*command, clip.order["settings"]])
                        stack.callback(ranks.end)
                    answer = self._sample(clip, ranks)
                except Exception as error:
                    self._tell(clip, error)
                    raise
                clip = answer and self._change(clip, answer, ranks)

    def _tell(self, clip: _Clip, error: Exception) -> None:
        """Answer the job of a clip that a defect of this process ends."""
        clip.outlets[1].put("".join(traceback.format_exception(error)).encode())
        self._is_written(clip)
        clip.end({"failed": f"the sampler's keeper failed ({error!r}): see the log, and run again"})

    def _change(self, clip: _Clip, answer: Message, ranks: Ranks) -> _Clip | None:
        """Answer a job and return the next one."""
        with ExitStack() as stack:
            listener = None
            # In a container, another process may have this number, and so the name.
            with suppress(OSError):
                # The next job may come as soon as this one has its answer.
                listener = stack.enter_context(wait_as(f"{self._name}{os.getpid()}"))
            clip.end(answer)
            return listener and self._next(listener, ranks)

    def _end(self, number: int, frame: object) -> None:
        self._told = True

    @property
    def _over(self) -> bool:
        return self._told or not self._run.alive

    def _sample(self, clip: _Clip, ranks: Ranks) -> Message | None:
        """Bring a clip to its end and return the answer to its job.

        None when the job has got it, because the ranks cannot go on.
        """
        answer = self._answer(clip, ranks)
        warm = answer is not None and "status" in answer
        if answer is None:
            # A rank that ended so, or torchrun for it, has said why.
            code = ranks.end()
            answer = {"status": 1} if code == EXPLAINED else {"failed": _how_ended(code)}
        # What was printed before the answer stands before the job's end.
        for stream, outlet in zip(ranks.streams, clip.outlets, strict=True):
            while text := ranks.printed(stream):
                outlet.put(text)
        if self._is_written(clip) and warm:
            return answer
        clip.end(answer)
        return None

    def _is_written(self, clip: _Clip) -> bool:
        """Wait until all is written that was printed; False when nobody waits for it any more."""
        for outlet in clip.outlets:
            while not outlet.end(POLL_SECONDS):
                if clip.gone or self._over:
                    return False
        return True

    def _answer(self, clip: _Clip, ranks: Ranks) -> Message | None:
        """Return what the ranks say of a clip at its end, None when they ended without."""
        deadline = None
        for source in _events(clip.job, ranks, clip.outlets):
            if source is ranks.connection:
                return ranks.message()
            if source is clip.job:
                message, _ = receive(clip.job)
                if message:
                    ranks.signal(message["signal"])
                else:
                    clip.job.close()
            if deadline is None and (clip.gone or self._over):
                for outlet in clip.outlets:
                    outlet.hurry()
                ranks.signal(signal.SIGTERM)
                deadline = time.monotonic() + GRACE_SECONDS
            if deadline and time.monotonic() > deadline:
                ranks.kill()
        return None

    def _next(self, listener: socket.socket, ranks: Ranks) -> _Clip | None:
        """Return the next job, None when there is a reason to end."""
        until = time.monotonic() + self._warm_seconds
        for source in _events(listener, ranks, [None, None]):
            if source is listener:
                clip = _greet(listener.accept()[0])
                if clip and "settings" in clip.order:
                    return clip
                if clip and HOLDS in clip.order:
                    clip.end({HOLDS: held_locks(lease_folder(os.environ))})
                elif clip:
                    # It stays open until this process has ended, which the other end waits for.
                    clip.job.detach()
                    break
            if source is ranks.connection or self._over or time.monotonic() > until:
                break
        return None


def _how_ended(code: int) -> str:
    """Return what happened to ranks whose command ended with an exit code and said nothing."""
    if -code in (signal.SIGTERM, signal.SIGINT):
        return f"the ranks were ended by {signal.Signals(-code).name}: {AGAIN}"
    return f"the ranks were killed: see whether the memory ran out, and {AGAIN}"


def _greet(job: socket.socket) -> _Clip | None:
    """Return what a process that has connected asks for, None when it says nothing of use.

    Any user may ask for the GPUs and have them given back; clips are taken of this one alone.
    """
    job.settimeout(GREETING_SECONDS)
    order, files = receive(job)
    clip = _Clip(job, [Outlet(file) for file in files], order or {})
    job.settimeout(None)
    given_back = "end" in clip.order or HOLDS in clip.order
    if given_back or (clip.order and is_own(job) and send(job, TAKEN)):
        return clip
    return clip.close()


def _events(
    other: socket.socket, ranks: Ranks, outlets: Sequence[Outlet | None]
) -> Iterator[socket.socket | None]:
    """Yield which of a socket and the ranks' connection can be read, and None at times.

    What the ranks print is put to `outlets`, or nowhere. Ends when they have ended.
    """
    files = dict(zip(ranks.streams, outlets, strict=True))
    with selectors.DefaultSelector() as selector:
        for source in (other, ranks.connection, *files):
            selector.register(source, selectors.EVENT_READ)
        while True:
            ready = [key.fileobj for key, _ in selector.select(POLL_SECONDS)]
            for source in ready:
                if source in files:
                    outlet = files[source]
                    # It stays where it is until there is room.
                    text = None if outlet and outlet.full else ranks.printed(source)
                    if text == b"":
                        selector.unregister(source)
                    elif text and outlet:
                        outlet.put(text)
                    continue
                yield source
                if source.fileno() < 0:
                    selector.unregister(source)
            if not ready and ranks.ended:
                return
            yield None
