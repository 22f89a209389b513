"""The driver's points as they are drawn: steadied, retargeted, in pixels of the model's frame."""

from dataclasses import replace

import numpy as np

from animate.pose.keypoints import Keypoints
from animate.pose.retarget import StandardBones, retarget
from animate.pose.smoothing import smooth_keypoints
from animate.video.letterbox import Letterbox
from animate.video.timeline import Timeline


def placed_keypoints(
    keypoints: Keypoints,
    timeline: Timeline,
    smooth: bool,
    reference: Keypoints | None = None,
    reference_size: tuple[int, int] | None = None,
    standard: StandardBones | None = None,
) -> Keypoints:
    """Return the points with x and y in pixels of a frame of `timeline.model_size`.

    With the points of a reference of (width, height) `reference_size`, the pose takes its
    proportions and place, those of `standard` where they are given; see `retarget`.
    """
    frame_size = timeline.source_size
    if smooth:
        keypoints = smooth_keypoints(keypoints, float(timeline.frame_rate), timeline.shots)
    if reference is not None:
        keypoints = retarget(keypoints, frame_size, reference, reference_size, standard)
        frame_size = reference_size
    place = Letterbox(frame_size, timeline.model_size)
    parts: dict[str, np.ndarray] = {
        part: place.points(getattr(keypoints, part)) for part in ("body", "left_hand", "right_hand")
    }
    return replace(keypoints, **parts)
