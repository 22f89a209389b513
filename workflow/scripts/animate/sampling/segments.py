"""Which frames of a clip each segment samples.

Consecutive segments overlap by the conditioning frames. The last one is filled up by playing the
clip back and forth, and what it samples beyond the clip's end is dropped.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Segment:
    """One segment of a clip.

    `sources` are the clip's frames it is conditioned on; of the frames it samples, those from
    `overlap` on are new, and the first `new_frames` of them belong to the clip.
    """

    index: int
    sources: list[int]
    overlap: int
    new_frames: int

    @property
    def window(self) -> tuple[int, int]:
        """First and one past the last frame of the clip that the segment needs."""
        return min(self.sources), max(self.sources) + 1


def plan_segments(frame_count: int, segment_frames: int, conditioning_frames: int) -> list[Segment]:
    """Return the segments of a clip of `frame_count` frames, at least one.

    `segment_frames` is 4n + 1; segments after the first reuse `conditioning_frames` (1 or 5).
    """
    count = segment_count(frame_count, segment_frames, conditioning_frames)
    return [
        _segment(index, frame_count, segment_frames, conditioning_frames) for index in range(count)
    ]


def segment_count(frame_count: int, segment_frames: int, conditioning_frames: int) -> int:
    """Return how many segments a clip of `frame_count` frames has, at least one."""
    return max(1, -(-(frame_count - conditioning_frames) // (segment_frames - conditioning_frames)))


def bounce(position: int, frame_count: int) -> int:
    """Return the frame shown at `position` when a clip is played back and forth without end."""
    if frame_count == 1:
        return 0
    position %= 2 * (frame_count - 1)
    return min(position, 2 * (frame_count - 1) - position)


def _segment(index: int, frame_count: int, length: int, conditioning_frames: int) -> Segment:
    start = index * (length - conditioning_frames)
    overlap = conditioning_frames if index else 0
    return Segment(
        index,
        [bounce(position, frame_count) for position in range(start, start + length)],
        overlap,
        min(length - overlap, frame_count - start - overlap),
    )
