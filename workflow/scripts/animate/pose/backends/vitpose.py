"""Pose with the official networks: YOLOv10 finds the people, ViTPose-H their points."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from animate.pose.backends.detections import INPUT_SIZE, person_boxes
from animate.pose.backends.heatmaps import decode
from animate.pose.backends.onnx import Network
from animate.pose.follow import Seen, Shown, follow
from animate.pose.keypoints import Keypoints, Parts, from_wholebody
from animate.pose.people.census import Person, number_people
from animate.pose.people.chosen import Chosen

DETECTOR_FILE = "det/yolov10m.onnx"
POSE_FILE = "pose2d/vitpose_h_wholebody.onnx"
CROP_WIDTH, CROP_HEIGHT = 192, 256
CROP_GROWTH = 1.25
MIN_BOX_SIDE = 10
MEAN = np.array([0.485, 0.456, 0.406])
SPREAD = np.array([0.229, 0.224, 0.225])
BATCH = 8
# The detector reports people from a score of 0.05 on: too many to be numbered.
SURE_SCORE = 0.25


def people(
    frames: Iterable[np.ndarray],
    *,
    models: Path,
    device: str = "auto",
    shots: Sequence[int] = (0,),
) -> tuple[Person, ...]:
    """Return everybody in a clip's frames, each uint8 RGB (h, w, 3), see `number_people`."""
    detector = Network(models / DETECTOR_FILE, device)

    def in_sight(frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        boxes = person_boxes(detector(_detector_input([frame]))[0], frame.shape[1::-1])
        boxes = boxes[boxes[:, 4] >= SURE_SCORE, :4]
        return boxes, boxes

    return number_people(frames, shots, in_sight)


def detect(
    frames: Iterable[np.ndarray],
    *,
    models: Path,
    device: str = "auto",
    person: str | Chosen = "largest",
    shots: Sequence[int] = (0,),
) -> Keypoints:
    """Return what is seen of one person in a clip's frames, each uint8 RGB (h, w, 3).

    `models` is the folder with `det/yolov10m.onnx` and `pose2d/vitpose_h_wholebody.onnx`; for
    `device` see `Network`, for `person` see `animate.pose.person.choose`, or one of `people`; for
    `frames` and `shots` see `follow`. Eight frames are in memory at a time.
    """
    detector = Network(models / DETECTOR_FILE, device)
    pose = Network(models / POSE_FILE, device)
    return follow(frames, shots, person, partial(_observe, detector, pose))


def _observe(detector: Network, pose: Network, shown: Iterable[Shown]) -> Iterator[Seen]:
    while batch := list(islice(shown, BATCH)):
        frames = [frame for frame, _ in batch]
        found = [
            person_boxes(detections, frame.shape[1::-1])
            for detections, frame in zip(detector(_detector_input(frames)), frames, strict=True)
        ]
        picks = [
            tracker.pick(boxes[:, :4], frame)
            for boxes, (frame, tracker) in zip(found, batch, strict=True)
        ]
        boxes = [b[i] for b, i in zip(found, picks, strict=True) if i is not None]
        seen = [f for f, i in zip(frames, picks, strict=True) if i is not None]
        poses = iter(_poses(pose, seen, boxes))
        for people, index in zip(found, picks, strict=True):
            yield None if index is None else next(poses), len(people)


def detect_picture(picture: np.ndarray, **options) -> Keypoints:
    """Return the keypoints of one picture, uint8 RGB (h, w, 3), as a clip of one frame."""
    return detect([picture], **options)


def crop_place(box: np.ndarray, frame_size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return centre and size (2,) in pixels of the crop for a box x1 y1 x2 y2 (and score).

    The box grows to the network's 3:4 and by a quarter; one under 10 pixels stands for the frame.
    """
    low, high = np.array(box[:2], float), np.array(box[2:4], float)
    if (high - low).min() < MIN_BOX_SIDE:
        low, high = np.zeros(2), np.array(frame_size, float)
    width, height = high - low
    height = max(height, width * CROP_HEIGHT / CROP_WIDTH) * CROP_GROWTH
    return (low + high) / 2, np.array([height * CROP_WIDTH / CROP_HEIGHT, height])


def network_input(frame: np.ndarray, center: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Return the crop of a uint8 RGB frame (h, w, 3), black beyond it, as (3, 256, 192) float32."""
    (x1, y1), (x2, y2) = (np.round(center + side * size / 2).astype(int) for side in (-1, 1))
    height, width = frame.shape[:2]
    (left, right), (top, bottom) = np.clip((x1, x2), 0, width), np.clip((y1, y2), 0, height)
    crop = np.zeros((y2 - y1, x2 - x1, 3), np.float32)
    crop[top - y1 : bottom - y1, left - x1 : right - x1] = frame[top:bottom, left:right]
    crop = (cv2.resize(crop, (CROP_WIDTH, CROP_HEIGHT)) / 255 - MEAN) / SPREAD
    return crop.transpose(2, 0, 1).astype(np.float32)


def _poses(pose: Network, frames: list[np.ndarray], boxes: list[np.ndarray]) -> list[Parts]:
    if not frames:
        return []
    places = [crop_place(b, f.shape[1::-1]) for b, f in zip(boxes, frames, strict=True)]
    inputs = [network_input(f, *place) for f, place in zip(frames, places, strict=True)]
    centers, sizes = (np.array(part) for part in zip(*places, strict=True))
    points = decode(pose(np.stack(inputs)), centers, sizes)
    points[..., :2] /= frames[0].shape[1::-1]
    points[..., 2] = points[..., 2].clip(0, 1)
    return list(zip(*from_wholebody(points), strict=True))


def _detector_input(frames: list[np.ndarray]) -> np.ndarray:
    squares = [cv2.resize(frame, (INPUT_SIZE, INPUT_SIZE)) for frame in frames]
    return np.stack(squares).transpose(0, 3, 1, 2).astype(np.float32) / 255
