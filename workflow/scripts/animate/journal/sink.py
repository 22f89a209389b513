"""Where a clip's segments go on rank 0: into the journal at once, from there into the video.

The journal is all that the sampler hands to the encoder: what a killed run left there is encoded
while the model is loaded, and no more than one segment is in memory however far the encoder is
behind.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import torch

from animate.journal.lock import held
from animate.journal.segments import Journal, full_disk
from animate.video.files import VideoInfo, VideoWriter


class Sink:
    """Takes the segments of a clip in order; see `open_sink`."""

    def __init__(self, journal: Journal, finished: int, encoder: "_Encoder"):
        self.finished = finished
        self._journal, self._encoder = journal, encoder
        self._made_by: list[dict[str, Any]] = [journal.made_by(i) for i in range(finished)]

    @property
    def tail(self) -> torch.Tensor | None:
        """The last frames of the last finished segment, None when there is none."""
        return self._journal.tail(self.finished - 1) if self.finished else None

    @property
    def made_by(self) -> list[dict[str, Any]]:
        """What each finished segment was sampled with and on."""
        return list(self._made_by)

    def put(self, frames: torch.Tensor, tail: torch.Tensor, made_by: dict[str, Any]) -> None:
        """Store the next segment's new frames and its tail; it is finished when this returns.

        Raises:
            ClipError: the disk is full.
        """
        self._journal.store(self.finished, frames, tail, made_by)
        self._made_by.append(made_by)
        self._encoder.take(self.finished)
        self.finished += 1


@contextmanager
def open_sink(
    folder: Path, key: str, output: Path, info: VideoInfo, segments: int, say: Callable[[str], None]
) -> Iterator[Sink]:
    """Yield a sink that knows which of a clip's segments are finished.

    When the block ends without an error all `segments` are in it, and the video is `output`. The
    journal stays for the rule that finishes the clip. While the block runs no other process has
    this journal.

    Raises:
        ClipError: the disk is full, or a finished segment is damaged.
    """
    with held(folder, say):
        journal = Journal(folder, key)
        finished = journal.count(segments)
        _remove_leftovers(output)
        try:
            with (
                VideoWriter(output, info.size, info.frame_rate, "result") as video,
                _Encoder(journal, video) as encoder,
            ):
                for index in range(finished):
                    encoder.take(index)
                yield Sink(journal, finished, encoder)
        except OSError as error:
            raise full_disk(error, output.parent, journal.count(segments)) from error


class _Encoder:
    """A thread that writes finished segments into the video, in the order they are named."""

    def __init__(self, journal: Journal, video: VideoWriter):
        self._journal, self._video = journal, video
        self._queue: SimpleQueue[int | None] = SimpleQueue()
        self._error: BaseException | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="encoder")

    def take(self, index: int) -> None:
        """Write a segment of the journal when its turn comes; raises what went wrong before."""
        if self._error:
            raise self._error
        self._queue.put(index)

    def __enter__(self) -> "_Encoder":
        self._thread.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        """Finish the video, or leave it at once after an error."""
        if error is not None:
            self._stopped.set()
        self._queue.put(None)
        self._thread.join()
        if error is None and self._error:
            raise self._error

    def _work(self) -> None:
        try:
            while (index := self._queue.get()) is not None:
                for frame in self._journal.frames(index).numpy():
                    if self._stopped.is_set():
                        return
                    self._video.write(frame)
        except BaseException as error:
            self._error = error


def _remove_leftovers(output: Path) -> None:
    """Remove the unfinished videos of killed runs on any node: this one holds the lock."""
    for path in output.parent.glob(f".{output.stem}.*.part{output.suffix}"):
        path.unlink(missing_ok=True)
