"""Write what the scenes are made of: a photograph of a person, her points and her mask.

PYTHONPATH=workflow/scripts python tools/train_demo/photograph.py FOLDER

The photograph is scikit-image's `astronaut` (NASA, public domain). Points and mask are found as the
workflow finds them, so that the model learns what the workflow will show it.
"""

import sys
from pathlib import Path

import numpy as np

from animate.demo.photograph import photograph
from animate.matte.mediapipe import masks
from animate.pose.backends.mediapipe import detect_picture


def main(folder: Path) -> None:
    """Write photograph.npz: `photo` (512, 512, 3) and `mask` (512, 512) uint8, points in pixels."""
    photo = photograph()
    found = detect_picture(photo)
    side = np.array([*photo.shape[1::-1], 1])
    points = {n: getattr(found, n)[0] * side for n in ("body", "left_hand", "right_hand", "face")}
    (mask,) = masks([photo], points["body"][None])
    np.savez_compressed(folder / "photograph.npz", photo=photo, mask=mask, **points)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
