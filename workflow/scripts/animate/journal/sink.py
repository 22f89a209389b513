"""Where a clip's segments go on rank 0: into the journal at once, from there into the video.

Frames are encoded as they are decoded, while the encoder keeps up. Else, and for what a killed run
left, it takes whole segments from the journal: no more than one is in memory however far it is
behind. A segment is written to the journal as it is decoded, stored while the next one begins, and
as it was sampled: where two are faded into each other, that is done for the video alone.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import torch

from animate.journal.joins import Joiner, Joins
from animate.journal.lock import held
from animate.journal.segments import Journal, NewSegment, full_disk, remove_unfinished
from animate.video.files import VideoInfo, VideoWriter
from animate.video.framed import Part


class Sink:
    """Takes the segments of a clip in order; see `open_sink`."""

    def __init__(
        self,
        journal: Journal,
        lengths: Sequence[int],
        joins: Joins,
        finished: int,
        encoder: "_Encoder",
        thread: ThreadPoolExecutor,
    ):
        self.finished = finished
        self._journal, self._lengths, self._joins = journal, lengths, joins
        self._encoder, self._thread = encoder, thread
        self._made_by: list[dict[str, Any]] = [journal.made_by(i) for i in range(finished)]
        self._coming: NewSegment | None = None
        self._at_once = False
        self._storing: Future | None = None

    @property
    def tail(self) -> torch.Tensor | None:
        """The last frames of the last finished segment, None when there is none."""
        return self._journal.tail(self.finished - 1) if self.finished else None

    @property
    def made_by(self) -> list[dict[str, Any]]:
        """What each finished segment was sampled with and on."""
        return list(self._made_by)

    def add(self, frames: torch.Tensor) -> None:
        """Take the next frames (n, h, w, 3) uint8 of the segment that comes next.

        The first ones are those of the segment before, painted again.
        """
        if self._coming is None:
            # What is not stored yet may still have to be taken from the journal.
            stored = self._storing is None or self._storing.done()
            self._at_once = stored and self._encoder.idle
            expected = self._lengths[self.finished], self._joins.overlaps[self.finished]
            self._coming = self._journal.begin(self.finished, *expected)
        self._thread.submit(self._coming.add, frames)
        if self._at_once:
            self._encoder.take(self.finished, frames)

    def put(self, tail: torch.Tensor, made_by: dict[str, Any]) -> None:
        """Have the segment stored whose frames have come; this returns before it is.

        Raises:
            ClipError: the disk is full; it may be that of the segment before.
        """
        self.settle()
        index = None if self._at_once else self.finished
        self._storing = self._thread.submit(self._store, self._coming, tail, made_by, index)
        self._coming = None
        self._made_by.append(made_by)
        self.finished += 1
        self._encoder.check()

    def settle(self) -> None:
        """Wait until all is stored; raises what went wrong with it."""
        if self._storing:
            self._storing.result()

    def leave(self) -> None:
        """Leave the segment that did not become whole, if there is one."""
        if self._coming:
            self._thread.submit(self._coming.leave)

    def _store(
        self, segment: NewSegment, tail: torch.Tensor, made_by: dict[str, Any], index: int | None
    ) -> None:
        segment.finish(tail, made_by)
        if index is not None:
            self._encoder.take(index)


@contextmanager
def open_sink(
    folder: Path,
    key: str,
    output: Path,
    info: VideoInfo,
    lengths: Sequence[int],
    say: Callable[[str], None],
    joins: Joins | None = None,
    part: Part | None = None,
) -> Iterator[Sink]:
    """Yield a sink that knows which of a clip's segments are finished.

    `lengths` are the new frames of each segment, `joins` what each paints again, nothing if not
    given. The video shows the `part` of the frames, or else all of them.
    When the block ends without an error all segments are in it, and the video is `output`. The
    journal stays for the rule that finishes the clip. While the block runs no other process has
    this journal.

    Raises:
        ClipError: the disk is full, or a finished segment is damaged.
    """
    joins = joins or Joins([0] * len(lengths))
    part = part or Part(0, 0, *info.size)
    with held(folder, say):
        journal = Journal(folder, key)
        finished = journal.count(len(lengths))
        # A segment of an earlier version does not have what it painted again.
        stored = [journal.again_count(index) for index in range(finished)]
        joins = Joins([*stored, *joins.overlaps[finished:]], joins.blend)
        _remove_leftovers(output)
        remove_unfinished(folder)
        try:
            with (
                VideoWriter(output, part.size, info.frame_rate, "result") as video,
                _Encoder(journal, video, joins, part) as encoder,
                ThreadPoolExecutor(1, "journal") as thread,
            ):
                for index in range(finished):
                    encoder.take(index)
                sink = Sink(journal, lengths, joins, finished, encoder, thread)
                try:
                    yield sink
                    sink.settle()
                finally:
                    sink.leave()
        except OSError as error:
            raise full_disk(error, output.parent, journal.count(len(lengths))) from error


class _Encoder:
    """A thread that writes frames into the video, and segments of the journal, as they come."""

    def __init__(self, journal: Journal, video: VideoWriter, joins: Joins, part: Part):
        self._journal, self._video, self._part = journal, video, part
        self._joiner = Joiner(joins)
        self._queue: SimpleQueue[tuple[int, torch.Tensor | None] | None] = SimpleQueue()
        self._taken = self._written = 0
        self._error: BaseException | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="encoder")

    @property
    def idle(self) -> bool:
        """Whether all that it took is written."""
        return self._taken == self._written

    def take(self, segment: int, frames: torch.Tensor | None = None) -> None:
        """Write the next frames (n, h, w, 3) uint8 of a segment when their turn comes.

        Without them, the whole segment is taken from the journal.
        """
        self._taken += 1
        self._queue.put((segment, frames))

    def check(self) -> None:
        """Raise what went wrong, if anything did."""
        if self._error:
            raise self._error

    def __enter__(self) -> "_Encoder":
        self._thread.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        """Finish the video, or leave it at once after an error."""
        if error is not None:
            self._stopped.set()
        self._queue.put(None)
        self._thread.join()
        if error is None:
            self.check()

    def _work(self) -> None:
        try:
            while (part := self._queue.get()) is not None:
                segment, frames = part
                whole = sampled_frames(self._journal, segment) if frames is None else frames.numpy()
                for frame in self._joiner.take(segment, whole):
                    if self._stopped.is_set():
                        return
                    self._video.write(self._part.cut(frame))
                self._written += 1
        except BaseException as error:
            self._error = error


def sampled_frames(journal: Journal, segment: int) -> Iterator[np.ndarray]:
    """Yield all frames of a segment, uint8 (h, w, 3), those first that it paints again."""
    yield from journal.again(segment).numpy()
    yield from journal.frames(segment).numpy()


def _remove_leftovers(output: Path) -> None:
    """Remove the unfinished videos of killed runs on any node: this one holds the lock."""
    for path in output.parent.glob(f".{output.stem}.*.part{output.suffix}"):
        path.unlink(missing_ok=True)
