"""Give the driving poses the reference person's proportions and place.

Every bone keeps the direction it has in the driving frame. Its length is multiplied by one ratio
for the clip, of the reference's bone to the driver's true one, so that a limb that points at the
camera stays short and a person who walks nearer grows. Bones are laid from the neck outwards.
"""

from dataclasses import dataclass, replace

import numpy as np

from animate.errors import ClipError
from animate.pose.drawing import SCORE_THRESHOLD
from animate.pose.keypoints import HAND_WRISTS, Keypoints

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
# What a person would measure, by a bone's child.
LIMBS = {"shoulders": 2, "upper arms": 3, "forearms": 4, "thighs": 9, "shins": 10}
# The share of a clip's lengths of a bone that are at most its true one: most of the others are
# foreshortened, the few beyond are wrong points.
TRUE_LENGTH = 0.85
# How far the ends of two equal bones may lie apart, as a share of a usual bone.
AGREEMENT = 0.1
# A bone that differs by more from the body comes from one that points at the camera throughout.
RATIO_LIMIT = 10


@dataclass(frozen=True)
class StandardBones:
    """The lengths of the bones (19,) of both people in a standard pose, NaN where they are hidden:
    in pixels, the driver's as large as in the driving frame number `frame`, the reference's as
    large as in the reference picture."""

    frame: int
    driver: np.ndarray
    reference: np.ndarray


@dataclass(frozen=True)
class _Figure:
    """How the driver becomes the reference: the ratio of each bone (19,) and of the whole body,
    and the neck (2,) of both, in pixels, where they stand alike."""

    bones: np.ndarray
    body: float
    driver_neck: np.ndarray
    neck: np.ndarray

    def place(self, points: np.ndarray) -> np.ndarray:
        """Return the driver's points (..., 2) moved and scaled with the whole body, in pixels."""
        return self.neck + self.body * (points - self.driver_neck)


def retarget(
    keypoints: Keypoints,
    source_size: tuple[int, int],
    reference: Keypoints,
    reference_size: tuple[int, int],
    standard: StandardBones | None = None,
) -> Keypoints:
    """Return the driver's body and hands moved into the reference picture, in 0..1 of that picture.

    Sizes are (width, height); `reference` is a clip of one frame. In the frame that fills its
    picture most as the reference does, the figure's neck is where the reference's is and a bone
    that is not foreshortened has the reference's length. A limb that only one side shows has the
    same length on the other; what the reference hides is scaled with the body. The face stays in
    the driving frame's coordinates, since its crop is taken there. With `standard`, the lengths are
    not measured in the clip and the reference, but those. Raises ClipError when the
    reference shows no neck.
    """
    require_neck(reference)
    target, target_seen = _pixels(reference.body, reference_size)
    driver, seen = _pixels(keypoints.body, source_size)
    if not seen[:, NECK].any():
        return keypoints
    frame = _most_alike(keypoints.body, seen, reference.body[0], target_seen[0])
    bones, wanted = _bones(driver, seen), _bones(target, target_seen)[0]
    if standard is None:
        ratios, scale = _ratios(bones, wanted, frame)
    else:
        ratios, scale = _standard_ratios(standard, bones, frame)
    figure = _Figure(ratios, scale, driver[frame, NECK], target[0, NECK])
    body = _move(driver, figure)
    moved = {"body": np.concatenate([body, keypoints.body[..., 2:]], axis=2)}
    for part, wrist in HAND_WRISTS.items():
        hand = getattr(keypoints, part) * np.array([*source_size, 1.0])
        root = _hand_root(hand, driver, body, seen, wrist, figure)
        moved[part] = _follow(hand, root, figure.body)
    for points in moved.values():
        points[..., :2] /= reference_size
    return replace(keypoints, **{k: v.astype(np.float32) for k, v in moved.items()})


def require_neck(reference: Keypoints) -> None:
    """Raise ClipError when the reference, a clip of one frame, shows no neck to stand on."""
    if reference.body[0, NECK, 2] < SCORE_THRESHOLD:
        lacks = "that shows the person's shoulders" if reference.found[0] else "with a person"
        raise ClipError(
            f"retargeting needs a reference {lacks}; take another picture or set retarget to none"
        )


def limb_ratios(
    keypoints: Keypoints,
    source_size: tuple[int, int],
    reference: Keypoints,
    reference_size: tuple[int, int],
) -> dict[str, float]:
    """Return how long each kind of limb of the reference is against the driver's, each measured by
    the rest of its body: 1 where they are alike, or where the driver hides the limb. Those that the
    reference hides are left out. Arguments are those of `retarget`.
    """
    target, target_seen = _pixels(reference.body, reference_size)
    driver, seen = _pixels(keypoints.body, source_size)
    if not target_seen[0, NECK] or not seen[:, NECK].any():
        return {}
    frame = _most_alike(keypoints.body, seen, reference.body[0], target_seen[0])
    wanted = _bones(target, target_seen)[0]
    ratios, body = _ratios(_bones(driver, seen), wanted, frame)
    shown = np.isfinite(_symmetric(_lengths(wanted)))
    return {
        limb: float(ratios[bone] / body)
        for limb, bone in ((name, list(CHILDREN).index(child)) for name, child in LIMBS.items())
        if shown[bone]
    }


def bone_lengths(body: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the lengths (19,) in pixels of the bones of a body (20, 3) in 0..1 of a picture of
    (width, height) `size`, NaN where an end is hidden."""
    points, seen = _pixels(body[None], size)
    return _lengths(_bones(points, seen))[0]


def _pixels(points: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    return points[..., :2].astype(np.float64) * size, points[..., 2] >= SCORE_THRESHOLD


def _most_alike(
    body: np.ndarray, seen: np.ndarray, reference: np.ndarray, reference_seen: np.ndarray
) -> int:
    """Return which frame of `body` (N, 20, 3), in 0..1, that shows the neck lies most as the
    reference (20, 3)."""
    apart = np.linalg.norm(body[..., :2] - reference[:, :2], axis=2)
    # A point that the driver hides is a whole picture away.
    unlike = np.where(seen, apart, 1)[:, reference_seen].sum(axis=1)
    return int(np.argmin(np.where(seen[:, NECK], unlike, np.inf)))


def _ratios(bones: np.ndarray, wanted: np.ndarray, frame: int) -> tuple[np.ndarray, float]:
    """Return the ratios of the reference's bones `wanted` (19, 2) to the driver's (N, 19, 2) as
    large as in `frame`: of each bone (19,) and of the whole body."""
    lengths = _true_lengths(_lengths(bones), frame)
    if _agree(bones[frame], wanted):
        # Alike in pose and proportions, they share the foreshortening too.
        own = _symmetric(_lengths(bones[frame]))
        lengths = np.where(np.isnan(own), lengths, own)
    return _compared(_symmetric(_lengths(wanted)), lengths)


def _standard_ratios(
    standard: StandardBones, bones: np.ndarray, frame: int
) -> tuple[np.ndarray, float]:
    """Return the ratios as `_ratios` does, from the bones in a standard pose; the driver's are as
    large as in `frame` of those bones (N, 19, 2)."""
    lengths = _lengths(bones)
    zoom = _quantile(lengths[standard.frame] / lengths[frame], 0.5)
    driver = _symmetric(standard.driver) / np.where(np.isfinite(zoom), zoom, 1)
    return _compared(_symmetric(standard.reference), driver)


def _compared(wanted: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the ratios of the lengths `wanted` (19,) to others: of each bone, and of the body."""
    ratios = wanted / lengths
    body = float(_quantile(ratios, 0.5)) if np.isfinite(ratios).any() else 1.0
    known = np.abs(np.log(ratios / body)) <= np.log(RATIO_LIMIT)
    return np.where(known, ratios, body), body


def _bones(points: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return the bones (N, 19, 2) from parent to child, NaN where an end is hidden."""
    bones = points[:, CHILDREN] - points[:, PARENTS]
    shown = seen[:, CHILDREN] & seen[:, PARENTS] & bones.any(axis=2)
    return np.where(shown[..., None], bones, np.nan)


def _lengths(bones: np.ndarray) -> np.ndarray:
    return np.linalg.norm(bones, axis=-1)


def _agree(bones: np.ndarray, wanted: np.ndarray) -> bool:
    """Return whether the bones (19, 2) that both show are the same but for their size."""
    lengths = _lengths(wanted)
    zoom = _quantile(lengths / _lengths(bones), 0.5)
    apart = _lengths(wanted - zoom * bones)
    return not (apart > AGREEMENT * _quantile(lengths, 0.5)).any()


def _true_lengths(lengths: np.ndarray, frame: int) -> np.ndarray:
    """Return the bones' lengths (19,) without foreshortening, from those of the clip (N, 19), at
    the size that the person has in `frame`."""
    zoom = _quantile(lengths / lengths[frame], 0.5)
    lengths = lengths / zoom[:, None]
    return _quantile(np.concatenate([lengths, lengths[:, TWINS]]).T, TRUE_LENGTH)


def _symmetric(lengths: np.ndarray) -> np.ndarray:
    """Return bone lengths (19,) with each as long as its twin: the shorter is foreshortened."""
    return np.fmax(lengths, lengths[TWINS])


def _quantile(values: np.ndarray, share: float) -> np.ndarray:
    """Return the value nearest to that quantile of what is known along the last axis, NaN where
    nothing is."""
    last = np.isfinite(values).sum(axis=-1, keepdims=True) - 1
    place = np.rint(share * last).astype(int)
    return np.take_along_axis(np.sort(values, axis=-1), place, axis=-1)[..., 0]


def _move(driver: np.ndarray, figure: _Figure) -> np.ndarray:
    """Return the driver's points (N, 20, 2) rebuilt from the neck with the new bone lengths."""
    moved = figure.place(driver)
    for bone, child in enumerate(CHILDREN):
        moved[:, child] = _attach(driver[:, child], driver, moved, bone, figure)
    return moved


def _attach(
    points: np.ndarray, driver: np.ndarray, moved: np.ndarray, bone: int, figure: _Figure
) -> np.ndarray:
    """Return the driver's `points` (N, 2), each the end of that bone, on the moved body."""
    start = driver[:, PARENTS[bone]]
    attached = moved[:, PARENTS[bone]] + figure.bones[bone] * (points - start)
    # A hidden joint is a good guess as a rule, but at 0, 0 there is none.
    return np.where(start.any(axis=1, keepdims=True), attached, figure.place(points))


def _hand_root(
    hand: np.ndarray,
    driver: np.ndarray,
    body: np.ndarray,
    seen: np.ndarray,
    wrist: int,
    figure: _Figure,
) -> np.ndarray:
    """Return where a hand (N, 21, 3) begins (N, 2): at the moved wrist, or in place of a hidden one
    at the end of the forearm."""
    forearm = list(CHILDREN).index(wrist)
    attached = _attach(hand[:, 0, :2], driver, body, forearm, figure)
    return np.where(seen[:, wrist, None], body[:, wrist], attached)


def _follow(hand: np.ndarray, root: np.ndarray, scale: float) -> np.ndarray:
    """Return a hand (N, 21, 3) scaled about its root, which moves to (N, 2), all in pixels."""
    placed = root[:, None] + scale * (hand[..., :2] - hand[:, :1, :2])
    return np.concatenate([placed, hand[..., 2:]], axis=2)
