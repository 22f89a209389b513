"""The process that keeps ranks alive between clips, takes clips for them, and holds their GPUs."""

import os
import selectors
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from animate.devices.idle import wait_as
from animate.serving.messages import TAKEN, Message, is_own, receive, send
from animate.serving.ranks import GRACE_SECONDS, Ranks
from animate.serving.servers import Run

POLL_SECONDS = 0.5
# For a job that has connected to say what it wants.
GREETING_SECONDS = 5
EXPLAINED = 1
KILLED = "the ranks were killed: see whether the memory ran out, and run again to go on after the"
KILLED += " last whole segment"


@dataclass(frozen=True)
class _Clip:
    """A job that waits for its clip: its standard output and error, and what it asked for."""

    job: socket.socket
    files: list[int]
    order: Message

    def end(self, answer: Message) -> None:
        """Answer the job."""
        send(self.job, answer)
        self.close()

    def close(self) -> None:
        """Leave the job without an answer."""
        self.job.close()
        for file in self.files:
            os.close(file)


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
        if clip is None:
            return
        ranks = Ranks([*command, clip.order["settings"]])
        try:
            while clip and (answer := self._sample(clip, ranks)):
                # The next job may come as soon as this one has its answer.
                with wait_as(f"{self._name}{os.getpid()}") as listener:
                    clip.end(answer)
                    clip = self._next(listener, ranks)
                if clip:
                    ranks.give(clip.order)
        finally:
            ranks.end()

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
        # What was printed before the answer stands before the job's end.
        for stream, target in zip(ranks.streams, clip.files, strict=True):
            ranks.forward(stream, target)
        if answer and "status" in answer:
            return answer
        if answer is None:
            # A rank that ended so, or torchrun for it, has said why.
            answer = {"status": 1} if ranks.end() == EXPLAINED else {"failed": KILLED}
        clip.end(answer)
        return None

    def _answer(self, clip: _Clip, ranks: Ranks) -> Message | None:
        """Return what the ranks say of a clip at its end, None when they ended without."""
        deadline = None
        for source in _events(clip.job, ranks, clip.files):
            if source is ranks.connection:
                return ranks.message()
            if source is clip.job:
                message, _ = receive(clip.job)
                if message:
                    ranks.signal(message["signal"])
                else:
                    clip.job.close()
            gone = clip.job.fileno() < 0
            if deadline is None and (gone or self._over):
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
                if clip:
                    return clip if "settings" in clip.order else clip.close()
            if source is ranks.connection or self._over or time.monotonic() > until:
                break
        return None


def _greet(job: socket.socket) -> _Clip | None:
    """Return what a process that has connected asks for, None when it says nothing of use.

    Any user may have the GPUs given back; clips are taken of this one alone.
    """
    job.settimeout(GREETING_SECONDS)
    order, files = receive(job)
    clip = _Clip(job, files, order or {})
    job.settimeout(None)
    if "end" in clip.order or (clip.order and is_own(job) and send(job, TAKEN)):
        return clip
    return clip.close()


def _events(
    other: socket.socket, ranks: Ranks, targets: Sequence[int | None]
) -> Iterator[socket.socket | None]:
    """Yield which of a socket and the ranks' connection can be read, and None at times.

    What the ranks print goes to `targets`, as `Ranks.forward` has it. Ends when they have ended.
    """
    files = dict(zip(ranks.streams, targets, strict=True))
    with selectors.DefaultSelector() as selector:
        for source in (other, ranks.connection, *files):
            selector.register(source, selectors.EVENT_READ)
        while True:
            ready = [key.fileobj for key, _ in selector.select(POLL_SECONDS)]
            for source in ready:
                if source in files:
                    if not ranks.forward(source, files[source]):
                        selector.unregister(source)
                    continue
                yield source
                if source.fileno() < 0:
                    selector.unregister(source)
            if not ready and ranks.ended:
                return
            yield None
