"""The figures about a result, put together: what is said of the clip, and where it is worst."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np

from animate.pose.keypoints import Keypoints
from animate.quality.background import background_quality
from animate.quality.faces import in_step, openings
from animate.quality.pose import pose_errors, pose_offsets, shown_share
from animate.quality.steadiness import Steadiness

WORST = 3


def pose_figures(
    drawn: np.ndarray, found: np.ndarray, rate: float
) -> dict[str, float | list[float] | None]:
    """Return mean of `pose_errors`, median `pose_offsets`, worst seconds, and `shown_share`.

    An offset of the whole clip is in most frames: those where the detector lost the person do not
    count.
    """
    errors = pose_errors(drawn, found)
    right, down = pose_offsets(drawn, found).T
    return {
        "pose_error": _mean(errors),
        "pose_offset_x": _median(right),
        "pose_offset_y": _median(down),
        "pose_error_worst_seconds": worst_seconds(errors, rate),
        "pose_shown": _rounded(shown_share(drawn, found)),
    }


def face_figures(
    driver: Keypoints, driver_size: tuple[int, int], result: Keypoints, size: tuple[int, int]
) -> dict[str, float | None]:
    """Return how far eyes and mouth go with the driver's, -1..1; sizes are (width, height)."""
    pairs = zip(openings(driver, driver_size), openings(result, size), strict=True)
    eyes, mouth = (_rounded(in_step(*pair)) for pair in pairs)
    return {"eyes_in_step": eyes, "mouth_in_step": mouth}


def background_figures(
    frames: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]], rate: float
) -> dict[str, float | list[float] | None]:
    """Return the mean PSNR and SSIM outside the mask, and where the PSNR is worst.

    `frames` are result, background and mask of each frame; see `background_quality`.
    """
    found = [background_quality(*frame) or (np.nan, np.nan) for frame in frames]
    psnr, ssim = np.array(found).reshape(-1, 2).T
    return {
        "background_psnr": _mean(psnr),
        "background_ssim": _mean(ssim),
        "background_worst_seconds": worst_seconds(-psnr, rate),
    }


def steadiness_figures(
    frames: Iterable[np.ndarray],
    firsts: Sequence[int],
    rate: float,
    shots: Collection[int] = (0,),
) -> dict[str, float | list[float] | None]:
    """Return seams, drift and flicker of a result whose segments begin at `firsts`, 0 included.

    Those at `shots`, the first frames of the shots that start afresh, have no join to be judged.
    """
    steadiness = Steadiness()
    for frame in frames:
        steadiness.take(frame)
    seams = steadiness.seams(firsts[1:], shots)
    colour, sharpness = steadiness.drift(firsts, shots)
    worst = sorted(seams, key=seams.get, reverse=True)[:WORST]
    return {
        "seams": _rounded(max(seams.values(), default=None)),
        "seams_worst_seconds": [round(first / rate, 2) for first in worst],
        "seams_mean": _rounded(np.mean([*seams.values()])) if seams else None,
        "colour_drift": _rounded(colour),
        "sharpness_kept": _rounded(sharpness),
        "flicker": _rounded(steadiness.flicker()),
    }


def worst_seconds(values: np.ndarray, rate: float) -> list[float]:
    """Return the seconds of the three largest of `values` (N,), at least a second apart."""
    seconds: list[float] = []
    for index in np.argsort(-values):
        if len(seconds) == WORST or not np.isfinite(values[index]):
            break
        if all(abs(index / rate - other) >= 1 for other in seconds):
            seconds.append(round(float(index / rate), 2))
    return seconds


def _mean(values: np.ndarray) -> float | None:
    finite = values[np.isfinite(values)]
    return _rounded(float(finite.mean())) if len(finite) else None


def _median(values: np.ndarray) -> float | None:
    finite = values[np.isfinite(values)]
    return _rounded(np.median(finite)) if len(finite) else None


def _rounded(value: Any) -> float | None:
    return None if value is None else round(float(value), 4)
