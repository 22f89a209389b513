"""Gaps in a person's track: short ones are bridged, and points do not blink."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from animate.pose.drawing import SCORE_THRESHOLD
from animate.pose.keypoints import HAND_WRISTS, Keypoints, shot_slices

# A point that is shown stays so until it scores less than this.
KEPT_SCORE = 0.3
BRIDGED_SECONDS = 0.5
SHORTEST_RUN = 3


def bridge_gaps(keypoints: Keypoints, frame_rate: float, shots: Sequence[int] = (0,)) -> Keypoints:
    """Return what was observed without its short gaps.

    Body and hands are interpolated over up to half a second between frames that show them, never
    from one shot into another; `shots` are the first frames of the clip's shots. A shown point is
    one that scores 0.5 or scored it and has not scored less than 0.3 since; it then scores at least
    0.5. What is shown for less than three of the person's frames in a row is left out.
    """
    longest = int(frame_rate * BRIDGED_SECONDS)
    bridged = np.zeros_like(keypoints.found)
    parts = {name: getattr(keypoints, name).copy() for name in ("body", *HAND_WRISTS)}
    for shot in shot_slices(shots, len(keypoints)):
        shown = _closed(keypoints.found[shot], longest)
        bridged[shot] = shown & ~keypoints.found[shot]
        for start, stop in _runs(shown):
            run = slice(shot.start + start, shot.start + stop)
            body = parts["body"][run]
            _steady(body, longest, np.full((len(body), 2), np.nan))
            for hand, wrist in HAND_WRISTS.items():
                seen = body[:, wrist, 2:] >= SCORE_THRESHOLD
                _steady(parts[hand][run], longest, np.where(seen, body[:, wrist, :2], np.nan))
    return replace(keypoints, **parts, bridged=bridged)


def _steady(points: np.ndarray, longest: int, carrier: np.ndarray) -> None:
    """Steady `points` (n, K, 3) of frames in a row in place: gaps of up to `longest` are filled.

    They move with the `carrier` (n, 2), unless it is NaN anywhere in the gap.
    """
    for point, kept in zip(points.transpose(1, 0, 2), _kept(points[..., 2]).T, strict=True):
        lasting = _lasting(_closed(kept, min(SHORTEST_RUN - 1, longest)))
        observed = kept & lasting
        point[observed, 2] = np.maximum(point[observed, 2], SCORE_THRESHOLD)
        point[kept & ~lasting, 2] = 0
        for start, stop in _runs(_closed(lasting, longest) & ~observed):
            _interpolate(point, start, stop, carrier)


def _interpolate(point: np.ndarray, start: int, stop: int, carrier: np.ndarray) -> None:
    """Fill frames `start` to `stop` of `point` (n, 3) from the frames on both sides."""
    around = slice(start - 1, stop + 1)
    moved = np.zeros((stop - start + 2, 3))
    if np.isfinite(carrier[around]).all():
        moved[:, :2] = carrier[around]
    first, last = point[start - 1] - moved[0], point[stop] - moved[-1]
    share = np.linspace(0, 1, len(moved))[:, None]
    point[start:stop] = (moved + first + share * (last - first))[1:-1]


def _kept(scores: np.ndarray) -> np.ndarray:
    """Return which of the scores (n, K) are of shown points, with hysteresis."""
    kept = np.zeros(scores.shape, bool)
    before = np.zeros(scores.shape[1], bool)
    for frame, now in enumerate(scores):
        kept[frame] = before = now >= np.where(before, KEPT_SCORE, SCORE_THRESHOLD)
    return kept


def _closed(flags: np.ndarray, longest: int) -> np.ndarray:
    """Return `flags` (n,) with gaps of up to `longest` between true ones filled."""
    closed = flags.copy()
    for start, stop in _runs(~flags):
        if start > 0 and stop < len(flags) and stop - start <= longest:
            closed[start:stop] = True
    return closed


def _lasting(flags: np.ndarray) -> np.ndarray:
    """Return `flags` (n,) without short runs of true ones, unless nothing else is known."""
    lasting = flags.copy()
    for start, stop in _runs(flags):
        if stop - start < min(SHORTEST_RUN, len(flags)):
            lasting[start:stop] = False
    return lasting


def _runs(flags: np.ndarray) -> np.ndarray:
    """Return the first frame of each run of true flags (n,), and the one after it, (M, 2)."""
    edges = np.diff(np.concatenate([[0], flags.astype(np.int8), [0]]))
    return np.flatnonzero(edges).reshape(-1, 2)
