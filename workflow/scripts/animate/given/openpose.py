"""OpenPose JSON: one object for each frame, with points of a person as x, y, score in a row."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from animate.pose.keypoints import EMPTY, Parts

BODY, LEFT, RIGHT, FACE = (
    "pose_keypoints_2d",
    "hand_left_keypoints_2d",
    "hand_right_keypoints_2d",
    "face_keypoints_2d",
)
# Of OpenPose's BODY_25, the first 18 of this workflow's body points; its COCO body has just them.
FROM_BODY_25 = [*range(8), *range(9, 19)]
# Big and small toe, left and right.
TOES_25 = ((19, 20), (22, 23))
HIPS_25, MIDDLE_HIP_25 = (9, 12), 8
HAND, FACES = 21, (68, 70)


@dataclass(frozen=True)
class OpenPoseFrame:
    """One frame: the `parts` of the person in pixels, None without one; and `people` in sight.

    `canvas` is the (width, height) of the picture that the pixels are of, None where the file does
    not say. `bridged` and `doubted` are as in `Keypoints`.
    """

    parts: Parts | None
    canvas: tuple[int, int] | None
    people: int
    bridged: bool
    doubted: bool

    @property
    def farthest(self) -> float:
        """The largest x or y of a point, 0 without any."""
        return max((float(part[:, :2].max()) for part in self.parts or ()), default=0.0)


def frame_of(values: dict[str, Any]) -> OpenPoseFrame:
    """Return a frame of OpenPose JSON.

    Raises ValueError, TypeError or AttributeError for what is none, or has several people.
    """
    people = values.get("people") or []
    if len(people) > 1:
        raise ValueError(f"it has {len(people)} people; leave the one who drives the clip")
    size = [values.get(f"canvas_{side}") for side in ("width", "height")]
    canvas = tuple(map(int, size)) if all(size) else None
    parts = person_of(people[0]) if people else None
    if parts is None or not any(part[:, 2].any() for part in parts):
        parts = None
    return OpenPoseFrame(
        parts,
        canvas,
        int(values.get("people_in_sight", len(people))),
        bridged=parts is not None and bool(people[0].get("bridged")),
        doubted=bool(values.get("doubted")),
    )


def person_of(values: dict[str, Any]) -> Parts:
    """Return body (20, 3), hands (21, 3) and face (69, 3) of a person, in the file's units.

    Scores are limited to 0..1, and points that score 0 have no place. Raises ValueError for numbers
    of points that are no OpenPose's.
    """
    body = _points(values, BODY, (18, 25))
    found = [np.zeros_like(part) for part in EMPTY]
    if len(body) == 25:
        found[0][:18] = body[FROM_BODY_25]
        for own, toes in zip((18, 19), TOES_25, strict=True):
            seen = [body[toe] for toe in toes if body[toe, 2] > 0]
            found[0][own] = np.mean(seen, axis=0) if seen else 0
    else:
        found[0][: len(body)] = body
    for part, name in ((found[1], LEFT), (found[2], RIGHT)):
        hand = _points(values, name, (HAND,))
        part[: len(hand)] = hand
    face = _points(values, FACE, FACES)[:68]
    found[3][1 : 1 + len(face)] = face
    return tuple(found)


def person_values(parts: Parts) -> dict[str, Any]:
    """Return a person for OpenPose JSON, its body as BODY_25; heels and pupils are unknown.

    `parts` are as in `person_of`, which returns the same of this.
    """
    own, left, right, face = (np.where(part[..., 2:] > 0, part, 0) for part in parts)
    body = np.zeros((25, 3))
    body[FROM_BODY_25] = own[:18]
    for toe, (big, _) in zip(own[18:], TOES_25, strict=True):
        body[big] = toe
    hips = body[list(HIPS_25)]
    if (hips[:, 2] > 0).all():
        body[MIDDLE_HIP_25] = *hips[:, :2].mean(axis=0), hips[:, 2].min()
    faces = np.concatenate([face[1:], np.zeros((2, 3))])
    points = {BODY: body, FACE: faces, LEFT: left, RIGHT: right}
    return {"person_id": [-1]} | {name: part.ravel().tolist() for name, part in points.items()}


def _points(values: dict[str, Any], name: str, counts: Sequence[int]) -> np.ndarray:
    """Return points (N, 3) of one of the `counts`, or none."""
    numbers = np.array(values.get(name) or [], np.float64)
    allowed = [3 * count for count in counts]
    if not len(numbers):
        return np.zeros((0, 3))
    if numbers.ndim != 1 or len(numbers) not in allowed or not np.isfinite(numbers).all():
        shown = " or ".join(map(str, allowed))
        raise ValueError(f"{name} must be {shown} numbers, and has the shape {numbers.shape}")
    points = numbers.reshape(-1, 3)
    points[:, 2] = points[:, 2].clip(0, 1)
    return np.where(points[:, 2:] > 0, points, 0)
