"""Which frames of a clip the sheet shows: its worst moments, and something of each shot."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np

COUNT = 8
# Of those, so many are the worst of the whole clip when the shots take the others.
WORST = 2
# A fault from here on is named at its frame.
NAMED = 0.25
# What a frame far from the others is worth, beside its faults.
FAR = 0.3


def choose_moments(
    count: int,
    shots: Sequence[int] = (0,),
    faults: Mapping[str, np.ndarray] | None = None,
    wanted: Iterable[int] = (),
) -> list[int]:
    """Return ascending frames of a clip of `count` frames.

    They are the first frame, those `wanted`, the worst of every shot (`shots` are their first
    frames), and the worst of the clip until there are eight: with the largest of `faults`, each
    (N,) from 0 to 1, of kinds that are not shown yet, and far from the others. No two of these are
    nearer than a sixteenth of the clip. In a clip without faults they are spread evenly.
    """
    faults = faults or {"": np.zeros(count)}
    worst = np.max(list(faults.values()), axis=0)
    shown = {0, *wanted}
    for first, stop in pairwise([*shots, count]):
        if not any(first <= frame < stop for frame in shown):
            shown.add(first + _worst(worst[first:stop]))
    target = min(max(COUNT, len(shown) + WORST), count)
    weights = dict.fromkeys(faults, 1.0)
    frames, step = np.arange(count), max((count - 1) // (COUNT - 1), 1)
    while len(shown) < target:
        distance = np.abs(frames[:, None] - sorted(shown)).min(axis=1)
        value = np.max([weights[kind] * fault for kind, fault in faults.items()], axis=0)
        value = value + FAR * np.minimum(distance / step, 1)
        value[distance < max(step / 2, 1)] = -1
        frame = int(np.argmax(value))
        if value[frame] < 0:
            break
        shown.add(frame)
        for kind in faults:
            weights[kind] *= 0.5 if faults[kind][frame] >= NAMED else 1
    return sorted(shown)


def named_faults(frame: int, faults: Mapping[str, np.ndarray]) -> list[str]:
    """Return the kinds of fault that a frame has, the worst first."""
    found = [(fault[frame], kind) for kind, fault in faults.items() if fault[frame] >= NAMED]
    return [kind for _, kind in sorted(found, reverse=True)]


def _worst(faults: np.ndarray) -> int:
    """Return the place of the largest fault; of several alike, the one in their middle."""
    places = np.flatnonzero(faults >= faults.max() - 1e-6)
    return int(places[len(places) // 2])
