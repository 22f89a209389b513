"""Which of a YOLOv10 network's detections are people, and where."""

import cv2
import numpy as np

INPUT_SIZE = 640
PERSON_CLASS = 0
MIN_SCORE = 0.05
MAX_OVERLAP = 0.5


def person_boxes(detections: np.ndarray, frame_size: tuple[int, int]) -> np.ndarray:
    """Return the people among `detections` as (M, 5): x1 y1 x2 y2 in whole pixels and score.

    `detections` (n, 6) are x1 y1 x2 y2 in the 640x640 input, score and class; `frame_size` is
    (width, height). Of boxes that overlap by more than half, of any class, the surest stays; the
    result is sorted by score.
    """
    scale = np.array(frame_size) / INPUT_SIZE
    low, high = detections[:, :2] * scale, detections[:, 2:4] * scale
    boxes = np.concatenate([low, high - low], axis=1).astype(np.int32)
    scores = detections[:, 4].astype(np.float32)
    kept = cv2.dnn.NMSBoxes(boxes.tolist(), scores.tolist(), MIN_SCORE, MAX_OVERLAP)
    people = [i for i in kept if detections[i, 5] == PERSON_CLASS and scores[i] > MIN_SCORE]
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    return np.concatenate([corners[people], scores[people, None]], axis=1).reshape(-1, 5)
