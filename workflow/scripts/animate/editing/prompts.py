"""What the editor is asked for: by what the driving video shows, and by the picture's shape."""

import numpy as np

from animate.pose.keypoints import Keypoints

# A joint counts as seen from this score on, inside the frame.
SEEN_SCORE = 0.75
# Elbows and wrists, knees and ankles.
ARMS, LEGS = (3, 4, 6, 7), (9, 10, 12, 13)
KEEP = (
    " Keep the person's identity, clothes, proportions and size, and keep the camera, the framing"
    " and the background as they are."
)
STANDING = " The person stands upright; both feet and both hands are inside the picture."
HANDS = " Both hands are inside the picture."
T_POSE = (
    "Put the person into a T-pose seen from the front: the face turned to the camera, both arms"
    " stretched out level to the sides."
)
ARMS_DOWN = (
    "Put the person into a neutral pose seen from the front: the face turned to the camera, both"
    " arms hanging straight down beside the body."
)
FACE = "face"
PROMPTS = {
    "standing_wide": T_POSE + STANDING + KEEP,
    "standing_tall": ARMS_DOWN + STANDING + KEEP,
    "arms_wide": T_POSE + HANDS + KEEP,
    "arms_tall": ARMS_DOWN + HANDS + KEEP,
    FACE: "Turn the person's face straight to the camera." + KEEP,
}


def prompt_for(keypoints: Keypoints, size: tuple[int, int]) -> str:
    """Return which of `PROMPTS` asks for the standard pose in a picture of (width, height) `size`.

    `keypoints` are those of the whole driving video: one frame that shows an arm or a leg is
    enough.
    """
    shape = "wide" if size[0] > size[1] else "tall"
    if _shows(keypoints, LEGS):
        return f"standing_{shape}"
    return f"arms_{shape}" if _shows(keypoints, ARMS) else FACE


def seen_joints(body: np.ndarray) -> np.ndarray:
    """Return which joints of bodies (..., 20, 3), in 0..1, are seen inside the frame, (..., 20)."""
    inside = ((body[..., :2] >= 0) & (body[..., :2] <= 1)).all(axis=-1)
    return inside & (body[..., 2] >= SEEN_SCORE)


def _shows(keypoints: Keypoints, joints: tuple[int, ...]) -> bool:
    return bool(seen_joints(keypoints.body[keypoints.found][:, joints]).any())
