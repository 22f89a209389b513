"""Pose with MediaPipe Holistic: runs on any CPU, its models are part of the package.

MediaPipe's 33 body landmarks become the 20 body points like this (left and right are the person's
own in both): nose 0; neck, the middle of the shoulders 11 and 12; right shoulder, elbow and wrist
12, 14, 16; left 11, 13, 15; right hip, knee and ankle 24, 26, 28; left 23, 25, 27; right and left
eye 5 and 2; right and left ear 8 and 7; left and right toe, the foot indices 31 and 32. A point's
score is its visibility (of the neck, the lower of the two shoulders'). The 21 landmarks of a
hand have the same order and score 1. The 68 face points are picked from the mesh of 468.
Landmarks guessed outside the frame score 0, since the model was trained without them.
"""

from collections.abc import Iterable

import numpy as np
from mediapipe.python.solutions.holistic import Holistic

from animate.keypoints import Keypoints, stack

BODY = (0, -1, 12, 14, 16, 11, 13, 15, 24, 26, 28, 23, 25, 27, 5, 2, 8, 7, 31, 32)
NECK = 1
SHOULDERS = [11, 12]
FACE = (
    162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389,
    71, 63, 105, 66, 107, 336, 296, 334, 293, 301, 168, 197, 5, 4, 75, 97, 2, 326, 305,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87,
)  # fmt: skip


def detect(frames: Iterable[np.ndarray]) -> Keypoints:
    """Return the keypoints of a clip's frames, each uint8 RGB (h, w, 3); one is held at a time."""
    with Holistic(model_complexity=1) as model:
        return stack([_points(model.process(frame)) for frame in frames])


def detect_picture(picture: np.ndarray) -> Keypoints:
    """Return the keypoints of one picture, uint8 RGB (h, w, 3), as a clip of one frame."""
    with Holistic(static_image_mode=True, model_complexity=1) as model:
        return stack([_points(model.process(picture))])


def _points(result) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]:
    body = _body(result.pose_landmarks)
    left, right = _array(result.left_hand_landmarks, 21), _array(result.right_hand_landmarks, 21)
    mesh = _array(result.face_landmarks, 468)
    face = np.concatenate([np.zeros((1, 3)), mesh[list(FACE)]])
    return body, left, right, face, int(result.pose_landmarks is not None)


def _body(landmarks) -> np.ndarray:
    points = _array(landmarks, 33)
    body = points[list(BODY)]
    body[NECK, :2] = points[SHOULDERS, :2].mean(axis=0)
    body[NECK, 2] = points[SHOULDERS, 2].min()
    outside = ((body[:, :2] < 0) | (body[:, :2] > 1)).any(axis=1)
    body[outside, 2] = 0
    return body


def _array(landmarks, count: int) -> np.ndarray:
    """Return x, y and score (count, 3); face and hand landmarks, without visibility, score 1."""
    if landmarks is None:
        return np.zeros((count, 3))
    has_score = landmarks.landmark[0].HasField("visibility")
    return np.array(
        [(p.x, p.y, p.visibility if has_score else 1) for p in landmarks.landmark[:count]]
    )
