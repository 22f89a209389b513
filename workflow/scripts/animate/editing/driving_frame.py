"""The driving frame in which the person is seen best: the one that is edited."""

import numpy as np

from animate.editing.prompts import FACE, prompt_for, seen_joints
from animate.pose.keypoints import Keypoints

NECK, SHOULDERS = 1, [2, 5]


def best_frame(keypoints: Keypoints) -> int | None:
    """Return the frame that shows both shoulders and most joints; of several, one with a face, and
    with fewest other people in sight, who might stand before the person; of these the one found
    most surely.

    Only observed frames that show the neck count, and where only the face is turned those that show
    both shoulders. None when there is none.
    """
    seen = seen_joints(keypoints.body)
    both = seen[:, SHOULDERS].all(axis=1)
    usable = keypoints.found & ~keypoints.doubted & seen[:, NECK]
    # The picture's shape does not matter here.
    if prompt_for(keypoints, (1, 1)) == FACE:
        usable &= both
    if not usable.any():
        return None
    sure = np.where(seen, keypoints.body[..., 2], 0).sum(axis=1)
    # The first key counts first; of equals, the earliest frame.
    keys = (usable, both, seen.sum(axis=1), keypoints.face_found, -keypoints.people, sure)
    return int(np.lexsort([-np.asarray(key, float) for key in reversed(keys)])[0])
