"""The driving frame in which the person is seen best: the one that is edited."""

import numpy as np

from animate.editing.prompts import seen_joints
from animate.errors import ClipError
from animate.pose.keypoints import Keypoints

NECK = 1


def best_frame(keypoints: Keypoints) -> int:
    """Return the frame that shows most joints; of several, one with a face, and with fewest other
    people in sight, who might stand before the person; of these the one found most surely.

    Only observed frames that show the neck count. Raises ClipError when there is none.
    """
    seen = seen_joints(keypoints.body)
    usable = keypoints.found & ~keypoints.doubted & seen[:, NECK]
    if not usable.any():
        raise ClipError(
            "retarget flux needs a driving frame that shows the person's shoulders; choose other"
            " seconds with start and end, or set retarget to none"
        )
    sure = np.where(seen, keypoints.body[..., 2], 0).sum(axis=1)
    # The last key counts first.
    order = np.lexsort((sure, -keypoints.people, keypoints.face_found, seen.sum(axis=1), usable))
    # Of equals, the earliest.
    best = order[-1]
    keys = (usable, seen.sum(axis=1), keypoints.face_found, keypoints.people, sure)
    equal = np.all([key == key[best] for key in keys], axis=0)
    return int(np.flatnonzero(equal)[0])
