"""What is known of each frame of a clip, and what is wrong with it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from animate.pose.drawing import SCORE_THRESHOLD
from animate.pose.keypoints import Keypoints
from animate.pose.plausibility import MOST_CHANGE, unrest

# States of a frame, the worst first.
LOST, DOUBTFUL, HIDDEN, GOOD = range(4)
# A body point this near to the mask, as a share of the frame's longer side, lies on it.
NEAR = 0.02
# The mask may reach beyond the skeleton's box by this share of its longer side.
BEYOND = 0.5
# Below this fit the mask is in doubt, see `MaskFit`.
FITTING = 0.8


@dataclass
class MaskFit:
    """How well masks lie on a skeleton, collected while somebody else goes through the masks.

    `body` (N, 20, 3) are points in pixels of the masks. `fits` has for each frame that went by a
    number from 0 to 1: the share of the drawn points that lie on the mask, times the share of the
    mask that is near the skeleton; 0 without a mask, 1 with a mask and no points. `areas` are the
    masked shares of the frames.
    """

    body: np.ndarray
    fits: list[float] = field(default_factory=list)
    areas: list[float] = field(default_factory=list)

    def watch(self, masks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield the masks, uint8 0/1 (h, w), as they are."""
        for points, mask in zip(self.body, masks, strict=False):
            self.areas.append(float(mask.mean()))
            self.fits.append(_fit(mask, points) if self.areas[-1] else 0.0)
            yield mask


def _fit(mask: np.ndarray, points: np.ndarray) -> float:
    size = np.array(mask.shape[::-1])
    drawn = points[points[:, 2] >= SCORE_THRESHOLD, :2]
    drawn = drawn[((drawn >= 0) & (drawn < size)).all(axis=1)]
    if not len(drawn):
        return 1.0
    reach = max(int(NEAR * size.max()), 1)
    low, high = np.maximum(drawn - reach, 0).astype(int), (drawn + reach + 1).astype(int)
    on = [mask[y:b, x:r].any() for (x, y), (r, b) in zip(low, high, strict=True)]
    low, high = drawn.min(axis=0), drawn.max(axis=0)
    margin = BEYOND * (high - low).max() + reach
    (x, y), (right, bottom) = np.maximum(low - margin, 0).astype(int), (high + margin).astype(int)
    near = np.count_nonzero(mask[y:bottom, x:right]) / np.count_nonzero(mask)
    return float(np.mean(on)) * near


def states(keypoints: Keypoints | None, mask: MaskFit | None) -> dict[str, np.ndarray]:
    """Return for body, hands, face and mask the state of each frame, uint8 (N,), as far as known.

    A body is doubtful where it was interpolated or left out as implausible, a mask where it lies
    off the skeleton.
    """
    lines = {}
    if keypoints is not None:
        body = np.where(keypoints.found, GOOD, LOST)
        body[keypoints.bridged | keypoints.doubted] = DOUBTFUL
        lines["body"] = body
        for name in ("left_hand", "right_hand"):
            seen = (getattr(keypoints, name)[..., 2] >= SCORE_THRESHOLD).any(axis=1)
            lines[name.replace("_", " ")] = np.where(seen, GOOD, HIDDEN)
        lines["face"] = np.where(keypoints.face_found, GOOD, DOUBTFUL)
    if mask is not None:
        fits, areas = np.array(mask.fits), np.array(mask.areas)
        lines["mask"] = np.select([areas == 0, fits < FITTING], [LOST, DOUBTFUL], GOOD)
    return {name: line.astype(np.uint8) for name, line in lines.items()}


def faults(
    keypoints: Keypoints | None,
    mask: MaskFit | None,
    frame_size: tuple[int, int],
    frame_rate: float,
    shots: Sequence[int] = (0,),
) -> dict[str, np.ndarray]:
    """Return for each kind of fault how bad every frame is, float (N,) from 0 to 1.

    `frame_size` is (width, height) of the upright source, `frame_rate` in frames per second.
    """
    found = {}
    if keypoints is not None:
        absent = ~keypoints.shown & ~keypoints.doubted
        restless = np.nan_to_num(unrest(keypoints, frame_size, frame_rate, shots)) / MOST_CHANGE
        found = {
            "nobody found": absent.astype(float),
            "implausible body": np.maximum(keypoints.doubted, 0.4 * np.minimum(restless, 1)),
            "body interpolated": 0.6 * keypoints.bridged,
            "no face": 0.6 * (keypoints.shown & ~keypoints.face_found),
        }
    if mask is not None:
        fits, areas = np.array(mask.fits), np.array(mask.areas)
        expected = np.ones(len(areas), bool) if keypoints is None else keypoints.shown
        found["no mask"] = (expected & (areas == 0)).astype(float)
        found["mask off skeleton"] = np.where(areas > 0, 1 - fits, 0)
    return found
