"""Which frames of a clip each segment samples.

Consecutive segments overlap by the conditioning frames. The last one is filled up by playing the
clip back and forth, and what it samples beyond the clip's end is dropped. Of a clip of several
shots, each shot is planned like a clip: its first segment knows nothing of the scene before.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from animate.config.settings import SegmentSettings

# A shot of fewer frames joins the one before it, the first one the one after it: a whole segment,
# most of it dropped, would cost too much.
SHORTEST_SHOT = 12
SHORTEST_SEGMENT = 21

# The frame shown at a position of a clip of so many frames.
Turn = Callable[[int, int], int]


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
    def end(self) -> int:
        """One past the last frame it samples that belongs to the clip."""
        return self.overlap + self.new_frames

    @property
    def window(self) -> tuple[int, int]:
        """First and one past the last frame that the segment needs; below 0 before the clip."""
        return min(self.sources), max(self.sources) + 1


def bounce(position: int, frame_count: int) -> int:
    """Return the frame shown at `position` when a clip is played back and forth without end."""
    if frame_count == 1:
        return 0
    position %= 2 * (frame_count - 1)
    return min(position, 2 * (frame_count - 1) - position)


def mirror(position: int, frame_count: int) -> int:
    """Return the same where the first and the last frame are shown twice as it turns round."""
    position %= 2 * frame_count
    return min(position, 2 * frame_count - 1 - position)


def plan_segments(
    frame_count: int,
    segment_frames: int,
    conditioning_frames: int,
    shots: Sequence[int] = (0,),
    fit: str = "pad",
    continued: bool = False,
    turn: Turn = bounce,
) -> list[Segment]:
    """Return the segments of a clip of `frame_count` frames, at least one.

    `segment_frames` is 4n + 1; segments after the first of a shot reuse `conditioning_frames`
    (4n + 1). `shots` are the first frames of those that start afresh, see `sampled_shots`. `fit` is
    "pad", as in the official code, or "even", see `fitted_length`. A `continued` clip goes on from
    the last frames of another one, which its first segment reuses; they count as frames -1, -2, ...
    `turn` says how a clip is played back and forth, as the model was trained: `bounce` or `mirror`.
    """
    segments: list[Segment] = []
    for first, stop in _shot_spans(frame_count, conditioning_frames, shots, continued):
        length = fitted_length(stop - first, segment_frames, conditioning_frames, fit)
        for number in range(_count(stop - first, length, conditioning_frames)):
            reuses = number > 0 or first < 0
            place = len(segments), number, first, stop - first
            segments.append(_segment(*place, length, conditioning_frames, reuses, turn))
    return segments


def segment_starts(frame_count: int, shots: Sequence[int], settings: SegmentSettings) -> list[int]:
    """Return the first new frame of each segment of a clip, ascending from 0; at least one.

    `shots` are the first frames of the timeline's shots.
    """
    segments = plan_segments(
        frame_count,
        settings.segment_frames,
        settings.conditioning_frames,
        sampled_shots(shots, frame_count, settings.cuts),
        settings.segment_fit,
        bool(settings.continue_from),
    )
    return [segment.sources[segment.overlap] for segment in segments]


def segment_lengths(
    frame_count: int,
    segment_frames: int,
    conditioning_frames: int,
    shots: Sequence[int] = (0,),
    fit: str = "pad",
    continued: bool = False,
) -> list[int]:
    """Return how many frames each segment of `plan_segments` samples; at least one segment."""
    lengths: list[int] = []
    for first, stop in _shot_spans(frame_count, conditioning_frames, shots, continued):
        length = fitted_length(stop - first, segment_frames, conditioning_frames, fit)
        lengths += [length] * _count(stop - first, length, conditioning_frames)
    return lengths


def fitted_length(frame_count: int, segment_frames: int, conditioning_frames: int, fit: str) -> int:
    """Return the frames of each segment of a shot, 4n + 1 and at most `segment_frames`.

    "pad" always takes `segment_frames`. "even" takes the shortest with which there are no more
    segments, so that little is sampled beyond the shot's end, but none shorter than 21: the model
    was trained on longer ones.
    """
    if fit == "pad":
        return segment_frames
    count = _count(frame_count, segment_frames, conditioning_frames)
    new_frames = -(-(frame_count - conditioning_frames) // count)
    needed = max(SHORTEST_SEGMENT, new_frames + conditioning_frames)
    return min(segment_frames, needed + -(needed - 1) % 4)


def sampled_shots(shots: Sequence[int], frame_count: int, cuts: str) -> tuple[int, ...]:
    """Return the first frames of the shots that start afresh, of those of the clip's timeline.

    `cuts` is the setting: with "ignore" the clip is one shot, with "split" the shortest ones are
    joined to their neighbours.
    """
    ends = pairwise([*shots[1:], frame_count]) if cuts == "split" else ()
    return 0, *(first for first, stop in ends if min(first, stop - first) >= SHORTEST_SHOT)


def _shot_spans(
    frame_count: int, conditioning_frames: int, shots: Sequence[int], continued: bool
) -> Iterator[tuple[int, int]]:
    """Yield the first frame of each shot, and the one after its last."""
    return pairwise([-conditioning_frames if continued else 0, *shots[1:], frame_count])


def _count(frame_count: int, segment_frames: int, conditioning_frames: int) -> int:
    return max(1, -(-(frame_count - conditioning_frames) // (segment_frames - conditioning_frames)))


def _segment(
    index: int,
    number: int,
    first: int,
    frame_count: int,
    length: int,
    conditioning_frames: int,
    reuses: bool,
    turn: Turn,
) -> Segment:
    """Return segment `number` of a shot that begins at frame `first` and has `frame_count`."""
    start = number * (length - conditioning_frames)
    overlap = conditioning_frames if reuses else 0
    return Segment(
        index,
        [first + turn(position, frame_count) for position in range(start, start + length)],
        overlap,
        min(length - overlap, frame_count - start - overlap),
    )
