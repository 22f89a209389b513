"""The One-Euro filter: steady when slow, close to the signal when fast (Casiez et al. 2012)."""

import math
from dataclasses import replace

import numpy as np

from animate.keypoints import Keypoints

DERIVATIVE_CUTOFF = 1.0
# The unit of a keypoint's movement, as a share of the frame: about a hand.
HAND = 0.1


def one_euro(
    values: np.ndarray, rate: float, *, min_cutoff: float = 1.0, beta: float = 3.0
) -> np.ndarray:
    """Return `values` (N, ...) of `rate` samples per second, smoothed along the first axis.

    `min_cutoff` (Hz) is the filter's cut-off at rest; `beta` (Hz per unit per second) raises it
    with the speed. It runs forwards and backwards and both are averaged, so it does not lag.
    """
    values = np.asarray(values, np.float64)
    forwards = _filter(values, rate, min_cutoff, beta)
    backwards = _filter(values[::-1], rate, min_cutoff, beta)[::-1]
    return (forwards + backwards) / 2


def smooth_keypoints(keypoints: Keypoints, rate: float) -> Keypoints:
    """Return the clip with body and hands smoothed, each from where it appears to where it goes.

    `rate` is in frames per second; scores and the face stay as they are.
    """
    smooth = {}
    for part in ("body", "left_hand", "right_hand"):
        points = getattr(keypoints, part).copy()
        for run in _runs(points[..., 2].any(axis=1)):
            points[run, :, :2] = HAND * one_euro(points[run, :, :2] / HAND, rate)
        smooth[part] = points
    return replace(keypoints, **smooth)


def _runs(seen: np.ndarray) -> list[np.ndarray]:
    """Return the numbers of consecutive frames that are `seen`, run by run."""
    frames = np.flatnonzero(seen)
    runs = np.split(frames, np.flatnonzero(np.diff(frames) > 1) + 1)
    return [run for run in runs if len(run)]


def _filter(values: np.ndarray, rate: float, min_cutoff: float, beta: float) -> np.ndarray:
    smooth = values.copy()
    speed = np.zeros_like(values[0])
    for i in range(1, len(values)):
        speed = speed + _weight(DERIVATIVE_CUTOFF, rate) * (
            (values[i] - smooth[i - 1]) * rate - speed
        )
        weight = _weight(min_cutoff + beta * np.abs(speed), rate)
        smooth[i] = smooth[i - 1] + weight * (values[i] - smooth[i - 1])
    return smooth


def _weight(cutoff: np.ndarray | float, rate: float) -> np.ndarray | float:
    """Return the share of the new sample in a first-order low pass at `cutoff` Hz."""
    return 1 / (1 + rate / (2 * math.pi * cutoff))
