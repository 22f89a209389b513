"""The One-Euro filter: steady when slow, close to the signal when fast (Casiez et al. 2012)."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from animate.pose.drawing import SCORE_THRESHOLD
from animate.pose.keypoints import Keypoints, shot_slices

DERIVATIVE_CUTOFF = 1.0
# The unit of a keypoint's movement, as a share of the frame: about a hand.
HAND = 0.1


def one_euro(
    values: np.ndarray,
    rate: float,
    *,
    seen: np.ndarray | bool = True,
    min_cutoff: float = 1.0,
    beta: float = 3.0,
) -> np.ndarray:
    """Return `values` (N, ...) of `rate` samples per second, smoothed along the first axis.

    `min_cutoff` (Hz) is the filter's cut-off at rest; `beta` (Hz per unit per second) raises it
    with the speed. It runs forwards and backwards and both are averaged, so it does not lag.
    Values that are not `seen`, of a shape that fits `values`, stay as they are and touch no other.
    """
    values = np.asarray(values, np.float64)
    seen = np.broadcast_to(seen, values.shape)
    forwards = _filter(values, seen, rate, min_cutoff, beta)
    backwards = _filter(values[::-1], seen[::-1], rate, min_cutoff, beta)[::-1]
    return (forwards + backwards) / 2


def smooth_keypoints(keypoints: Keypoints, rate: float, shots: Sequence[int] = (0,)) -> Keypoints:
    """Return the clip with body and hands smoothed, each point from where it appears to where it
    goes, and never across the first frame of one of the `shots`.

    `rate` is in frames per second; scores, hidden points and the face stay as they are.
    """
    smooth = {}
    for part in ("body", "left_hand", "right_hand"):
        smooth[part] = getattr(keypoints, part).copy()
        for shot in shot_slices(shots, len(keypoints)):
            points = smooth[part][shot]
            # What the drawing leaves out is a guess, which would pull on the frames beside it.
            seen = points[..., 2:] >= SCORE_THRESHOLD
            points[..., :2] = HAND * one_euro(points[..., :2] / HAND, rate, seen=seen)
    return replace(keypoints, **smooth)


def _filter(
    values: np.ndarray, seen: np.ndarray, rate: float, min_cutoff: float, beta: float
) -> np.ndarray:
    smooth = values.copy()
    speed = np.zeros_like(values[0])
    for i in range(1, len(values)):
        goes_on = seen[i] & seen[i - 1]
        faster = speed + _weight(DERIVATIVE_CUTOFF, rate) * (
            (values[i] - smooth[i - 1]) * rate - speed
        )
        speed = np.where(goes_on, faster, 0)
        weight = _weight(min_cutoff + beta * np.abs(speed), rate)
        followed = smooth[i - 1] + weight * (values[i] - smooth[i - 1])
        smooth[i] = np.where(goes_on, followed, values[i])
    return smooth


def _weight(cutoff: np.ndarray | float, rate: float) -> np.ndarray | float:
    """Return the share of the new sample in a first-order low pass at `cutoff` Hz."""
    return 1 / (1 + rate / (2 * math.pi * cutoff))
