"""Give the driving poses the reference person's proportions and place.

Every bone keeps the direction it has in the driving frame. Its length is multiplied by the ratio of
the reference's bone to the driver's in one template frame, so that a limb that points at the camera
stays short and a person who walks nearer grows. Bones are laid from the neck outwards.
"""

from dataclasses import dataclass, replace

import numpy as np

from animate.drawing import SCORE_THRESHOLD
from animate.errors import ClipError
from animate.keypoints import Keypoints

NECK = 1
# Child and parent, each parent before its children; the numbers are body points.
BONES = (
    (0, 1), (14, 0), (16, 14), (15, 0), (17, 15), (2, 1), (3, 2), (4, 3), (5, 1), (6, 5),
    (7, 6), (8, 1), (9, 8), (10, 9), (19, 10), (11, 1), (12, 11), (13, 12), (18, 13),
)  # fmt: skip
CHILDREN, PARENTS = (np.array(ends) for ends in zip(*BONES, strict=True))
MIRRORED = {14: 15, 16: 17, 2: 5, 3: 6, 4: 7, 8: 11, 9: 12, 10: 13, 19: 18}
TWINS = np.array(
    [
        list(CHILDREN).index(({b: a for a, b in MIRRORED.items()} | MIRRORED).get(child, child))
        for child in CHILDREN
    ]
)
LEFT_WRIST, RIGHT_WRIST = 7, 4
# A bone's ratio beyond these, relative to the whole body's, comes from foreshortening.
RATIO_LIMITS = (0.4, 2.5)


@dataclass(frozen=True)
class _Proportions:
    """Ratios of reference to driver: of each bone (19,) and of the whole body."""

    bones: np.ndarray
    body: float


def retarget(
    keypoints: Keypoints,
    source_size: tuple[int, int],
    reference: Keypoints,
    reference_size: tuple[int, int],
) -> Keypoints:
    """Return the driver's body and hands moved into the reference picture, in 0..1 of that picture.

    Sizes are (width, height); `reference` is a clip of one frame. In the template frame, the one
    that shows most of the driver, the figure's neck is where the reference's is. A limb that only
    one side shows has the same length on the other; what the reference hides is scaled with the
    body. The face stays in the driving frame's coordinates, since its crop is taken there. Raises
    ClipError when the reference shows no neck.
    """
    target, target_seen = _pixels(reference.body, reference_size)
    if not target_seen[0, NECK]:
        raise ClipError(
            "retarget basic needs a reference that shows the person's shoulders;"
            " take another picture or set retarget to none"
        )
    driver, seen = _pixels(keypoints.body, source_size)
    if not seen[:, NECK].any():
        return keypoints
    template = int(np.argmax(seen.sum(axis=1) * seen[:, NECK]))
    proportions = _proportions(driver, seen, template, target[0], target_seen[0])
    anchor = target[0, NECK], driver[template, NECK]
    moved = _move(driver, seen, proportions, *anchor)
    hands = {
        part: _follow(getattr(keypoints, part), source_size, moved[:, wrist], proportions.body)
        for part, wrist in (("left_hand", LEFT_WRIST), ("right_hand", RIGHT_WRIST))
    }
    arrays = {"body": np.concatenate([moved, keypoints.body[..., 2:]], axis=2)} | hands
    for array in arrays.values():
        array[..., :2] /= reference_size
    return replace(keypoints, **{k: v.astype(np.float32) for k, v in arrays.items()})


def _pixels(points: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    return points[..., :2].astype(np.float64) * size, points[..., 2] >= SCORE_THRESHOLD


def _proportions(
    driver: np.ndarray, seen: np.ndarray, template: int, target: np.ndarray, target_seen: np.ndarray
) -> _Proportions:
    lengths = _template_lengths(driver, seen, template)
    wanted = _symmetric(_lengths(target[None], target_seen[None])[0])
    ratios = wanted / lengths
    known = np.isfinite(ratios)
    body = float(np.median(ratios[known])) if known.any() else 1.0
    low, high = (limit * body for limit in RATIO_LIMITS)
    return _Proportions(np.clip(np.where(known, ratios, body), low, high), body)


def _template_lengths(driver: np.ndarray, seen: np.ndarray, template: int) -> np.ndarray:
    """Return the bones' lengths in the template frame; hidden ones as other frames show them."""
    lengths = _lengths(driver, seen)
    own = _symmetric(lengths[template])
    if np.isnan(own).any():
        zoom = _median(lengths / own, axis=1)
        own = np.where(np.isnan(own), _symmetric(_median(lengths / zoom[:, None], axis=0)), own)
    return own


def _lengths(points: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return the bones' lengths (N, 19), NaN where an end is hidden."""
    lengths = np.linalg.norm(points[:, CHILDREN] - points[:, PARENTS], axis=2)
    return np.where(seen[:, CHILDREN] & seen[:, PARENTS] & (lengths > 0), lengths, np.nan)


def _symmetric(lengths: np.ndarray) -> np.ndarray:
    """Return bone lengths (19,) with each as long as its twin: the shorter is foreshortened."""
    return np.fmax(lengths, lengths[TWINS])


def _median(values: np.ndarray, axis: int) -> np.ndarray:
    """Return the median of what is known, NaN where nothing is."""
    return np.ma.median(np.ma.masked_invalid(values), axis=axis).filled(np.nan)


def _move(
    driver: np.ndarray,
    seen: np.ndarray,
    proportions: _Proportions,
    neck: np.ndarray,
    template_neck: np.ndarray,
) -> np.ndarray:
    """Return the driver's points (N, 20, 2) rebuilt from the neck with the new bone lengths."""
    moved = neck + proportions.body * (driver - template_neck)
    for bone, (child, parent) in enumerate(BONES):
        step = proportions.bones[bone] * (driver[:, child] - driver[:, parent])
        attached = moved[:, parent] + step
        moved[:, child] = np.where(seen[:, parent, None], attached, moved[:, child])
    return moved


def _follow(
    hand: np.ndarray, source_size: tuple[int, int], wrist: np.ndarray, scale: float
) -> np.ndarray:
    """Return a hand (N, 21, 3) with its root on the wrist (N, 2), all in pixels."""
    points = hand[..., :2].astype(np.float64) * source_size
    placed = wrist[:, None] + scale * (points - points[:, :1])
    return np.concatenate([placed, hand[..., 2:]], axis=2)
