"""The keypoints of one person through a clip."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from animate.atomic import atomic_output

# The two COCO-WholeBody points whose mean is each body point: the neck is between the shoulders,
# a toe between the big and the small one; the others are the point itself.
BODY_FROM_WHOLEBODY = (
    (0, 0), (5, 6), (6, 6), (8, 8), (10, 10), (5, 5), (7, 7), (9, 9), (12, 12), (14, 14),
    (16, 16), (11, 11), (13, 13), (15, 15), (2, 2), (1, 1), (4, 4), (3, 3), (17, 18), (20, 21),
)  # fmt: skip
FACE_WHOLEBODY = slice(22, 91)
LEFT_HAND_WHOLEBODY = slice(91, 112)
RIGHT_HAND_WHOLEBODY = slice(112, 133)

# The body point that each hand belongs to.
HAND_WRISTS = {"left_hand": 7, "right_hand": 4}
# Networks score a face that is turned away low, but above 0.
FACE_SCORE = 0.3
# Body, left hand, right hand and face of one frame.
Parts = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
EMPTY: Parts = tuple(np.zeros((points, 3)) for points in (20, 21, 21, 69))


@dataclass(frozen=True)
class Keypoints:
    """Points of N frames, float32: x and y in 0..1 of the upright source frame, score in 0..1.

    `body` (N, 20, 3): nose, neck, right shoulder, elbow, wrist, left shoulder, elbow, wrist, right
    hip, knee, ankle, left hip, knee, ankle, right eye, left eye, right ear, left ear, left toe,
    right toe. `left_hand`, `right_hand` (N, 21, 3): wrist, then four joints of each finger from
    the thumb. `face` (N, 69, 3): one point that is not of the face, then the 68 of iBUG. Right and
    left are the person's own; what was not found scores 0. `people` (N,) int32: persons in sight.

    A frame is one of three, by `found` and `bridged`, both (N,) bool and never both true:
    observed (`found`): the person was seen in it; bridged: the person was not seen, but shortly
    before and after it in the same shot, so that body and hands are interpolated; absent (neither):
    nothing is known, all scores are 0, and there is to be neither pose nor mask. In frames that are
    `doubted` (N,) bool, what was found does not hold as a body and was left out.
    """

    body: np.ndarray
    left_hand: np.ndarray
    right_hand: np.ndarray
    face: np.ndarray
    found: np.ndarray
    people: np.ndarray
    bridged: np.ndarray
    doubted: np.ndarray

    def __len__(self) -> int:
        return len(self.body)

    @property
    def shown(self) -> np.ndarray:
        """Whether the frame has a pose, observed or bridged, (N,) bool."""
        return self.found | self.bridged

    @property
    def face_found(self) -> np.ndarray:
        """Whether the face was found, (N,) bool."""
        return faces_seen(self.face)

    def save(self, path: Path) -> None:
        """Write a compressed npz whose bytes depend on the values alone."""
        with atomic_output(path) as temporary:
            np.savez_compressed(temporary, **vars(self))

    @classmethod
    def load(cls, path: Path) -> "Keypoints":
        """Read what `save` wrote."""
        with np.load(path) as arrays:
            return cls(**{field.name: arrays[field.name] for field in fields(cls)})


def faces_seen(faces: np.ndarray) -> np.ndarray:
    """Return whether each face of (N, 69, 3) points is in sight, (N,) bool: most points score."""
    return np.median(faces[:, 1:, 2], axis=1) >= FACE_SCORE


def from_wholebody(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Split COCO-WholeBody points (..., 133, 3) into body (..., 20, 3), left hand, right hand
    (..., 21, 3) and face (..., 69, 3), in the same units."""
    first, second = np.transpose(BODY_FROM_WHOLEBODY)
    body = (points[..., first, :] + points[..., second, :]) / 2
    parts = (LEFT_HAND_WHOLEBODY, RIGHT_HAND_WHOLEBODY, FACE_WHOLEBODY)
    return body, *(points[..., part, :].copy() for part in parts)


def stack(persons: Iterable[Parts | None], people: Iterable[int]) -> Keypoints:
    """Make a clip of frames: the parts of the person (None: not found) and the people in sight."""
    persons = list(persons)
    frames = [EMPTY if person is None else person for person in persons]
    body, left, right, face = (np.array(part, np.float32) for part in zip(*frames, strict=True))
    found = np.array([person is not None for person in persons])
    nowhere = np.zeros_like(found)
    people = np.array(people, np.int32)
    return Keypoints(body, left, right, face, found, people, bridged=nowhere, doubted=nowhere)


def at_frame(keypoints: Keypoints, frame: int) -> Keypoints:
    """Return one frame of a clip, as a clip."""
    return Keypoints(
        **{name: values[frame : frame + 1] for name, values in vars(keypoints).items()}
    )


def joined(clips: Sequence[Keypoints]) -> Keypoints:
    """Return the frames of several clips as one clip."""
    parts = [vars(clip) for clip in clips]
    return Keypoints(**{name: np.concatenate([p[name] for p in parts]) for name in parts[0]})


def in_sight(keypoints: Keypoints) -> Keypoints:
    """Return the clip without the body where it is not observed: it may be somebody else's."""
    body = keypoints.body.copy()
    body[~keypoints.found, :, 2] = 0
    return replace(keypoints, body=body)


def shot_slices(shots: Sequence[int], frames: int) -> list[slice]:
    """Return the frames of each shot of a clip of so many frames; `shots` are their first ones."""
    return [slice(start, stop) for start, stop in pairwise([*shots, frames])]


def shot_of(frame: int, shots: Sequence[int]) -> int:
    """Return the first frame of the shot that a frame is in; `shots` are those of all shots."""
    return shots[bisect_right(shots, frame) - 1]
