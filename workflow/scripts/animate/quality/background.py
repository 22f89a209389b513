"""How well replacement keeps the driving video's background."""

import cv2
import numpy as np

PEAK = 255.0
# Of the structural similarity, Wang et al. 2004 (doi:10.1109/TIP.2003.819861).
WINDOW, SIGMA = (11, 11), 1.5
C1, C2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2
# The VAE's pixels see across the mask's edge: this far from it they are not compared.
MARGIN = 8


def background_quality(
    result: np.ndarray, background: np.ndarray, mask: np.ndarray
) -> tuple[float, float] | None:
    """Return PSNR in dB and SSIM of one frame outside its mask; None where that leaves nothing.

    `result` and `background` are uint8 RGB (h, w, 3), `mask` uint8 0/1 (h, w), 1 where the
    character goes.
    """
    kept = cv2.dilate(mask, np.ones((2 * MARGIN + 1,) * 2, np.uint8)) == 0
    if not kept.any():
        return None
    difference = result[kept].astype(np.float32) - background[kept]
    psnr = 10 * np.log10(PEAK**2 / max(float(np.mean(difference**2)), 1e-4))
    first, second = (
        cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32) for frame in (result, background)
    )
    return float(psnr), float(_similarity(first, second)[kept].mean())


def _similarity(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    def blurred(image: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(image, WINDOW, SIGMA)

    mean_x, mean_y = blurred(x), blurred(y)
    variance_x = blurred(x * x) - mean_x**2
    variance_y = blurred(y * y) - mean_y**2
    covariance = blurred(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    return luminance * (2 * covariance + C2) / (variance_x + variance_y + C2)
