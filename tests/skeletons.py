"""Standing figures as keypoints, with bones of known lengths and directions."""

from collections.abc import Iterable

import numpy as np

from animate.pose.keypoints import Keypoints
from animate.pose.retarget import BONES, MIRRORED

SIZE, REFERENCE_SIZE = (1280, 720), (720, 1280)
ROOT = np.array([0.5, 0.25])
# Directions in degrees, 0 to the right and 90 down, and lengths in pixels of a standing figure.
ANGLES = {
    0: -90, 14: -150, 16: 170, 15: -30, 17: 10, 2: 180, 3: 100, 4: 95, 5: 0, 6: 80, 7: 85,
    8: 100, 9: 92, 10: 90, 19: 150, 11: 80, 12: 88, 13: 90, 18: 30,
}  # fmt: skip
LENGTHS = {
    0: 45, 14: 12, 16: 14, 15: 12, 17: 14, 2: 45, 3: 60, 4: 55, 5: 45, 6: 60, 7: 55,
    8: 110, 9: 90, 10: 85, 19: 25, 11: 110, 12: 90, 13: 85, 18: 25,
}  # fmt: skip
LEGS = (9, 10, 19, 12, 13, 18)
ENDS = [child for child, _ in BONES]
TWINS = [*MIRRORED.items(), *((left, right) for right, left in MIRRORED.items())]


def figure(
    size: tuple[int, int], turn: float = 0, scale: float = 1, **factors: float
) -> np.ndarray:
    """Return body points (20, 3) in 0..1; `factors` "_4" stretch the bone that ends in point 4."""
    body = np.ones((20, 3))
    body[1, :2] = ROOT * size
    for child, parent in BONES:
        angle = np.radians(ANGLES[child] + turn * np.sin(child))
        length = LENGTHS[child] * scale * factors.get(f"_{child}", 1)
        body[child, :2] = body[parent, :2] + length * np.array([np.cos(angle), np.sin(angle)])
    body[:, :2] /= size
    return body


def clip(bodies: list[np.ndarray]) -> Keypoints:
    """Return keypoints of these bodies, with hands on their wrists."""
    body = np.array(bodies, np.float32)
    fan = np.zeros((21, 3), np.float32)
    fan[:, :2] = np.linspace(0, 0.02, 21)[:, None]
    left, right = (body[:, wrist, None] + fan for wrist in (7, 4))
    found = np.ones(len(body), bool)
    face = np.ones((len(body), 69, 3), np.float32)
    return Keypoints(body, left, right, face, found, found * 1, bridged=~found, doubted=~found)


def bones(body: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the bones (N, 19, 2) in pixels."""
    children, parents = np.transpose(BONES)
    pixels = body[..., :2].astype(float) * size
    return pixels[:, children] - pixels[:, parents]


def stretched(points: Iterable[int], factor: float) -> dict[str, float]:
    """Return the factors of `figure` that stretch the bones that end in these points."""
    return {f"_{point}": factor for point in points}


def lengths(keypoints: Keypoints, size: tuple[int, int]) -> np.ndarray:
    """Return the bones' lengths (N, 19) in pixels."""
    return np.linalg.norm(bones(keypoints.body, size), axis=2)


def ratios(moved: Keypoints, person: Keypoints) -> np.ndarray:
    """Return the ratios (N, 19) of the moved bones to the reference person's."""
    return lengths(moved, REFERENCE_SIZE) / lengths(person, REFERENCE_SIZE)


def reference(scale: float = 1.2, **factors: float) -> Keypoints:
    """Return a person with long legs and short arms in a tall picture, both sides alike but for
    the `factors`."""
    proportions = stretched((3, 4, 6, 7), 0.8) | stretched(LEGS, 1.3)
    return clip([figure(REFERENCE_SIZE, turn=10, scale=scale, **proportions | factors)])
