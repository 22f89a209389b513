"""The One-Euro filter: steady when slow, close to the signal when fast (Casiez et al. 2012)."""

import math

import numpy as np

DERIVATIVE_CUTOFF = 1.0


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
