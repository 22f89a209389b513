"""MediaPipe's person networks, run on the region of a frame that we choose.

MediaPipe's own graphs find and follow whichever person they like; here the same networks are wired
so that the caller says where the person is, and may ask for every person in sight.
"""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from google.protobuf import text_format
from mediapipe.framework.calculator_pb2 import CalculatorGraphConfig
from mediapipe.framework.formats.rect_pb2 import NormalizedRect
from mediapipe.python.solution_base import SolutionBase

from animate.pose.backends.memory import return_frames

DETECTION_GRAPH = """
input_stream: "image"
output_stream: "detections"
node {
  calculator: "PoseDetectionCpu"
  input_stream: "IMAGE:image"
  output_stream: "DETECTIONS:detections"
}
"""
LANDMARK_GRAPH = """
input_stream: "image"
input_stream: "region"
input_side_packet: "complexity"
input_side_packet: "with_mask"
output_stream: "landmarks"
output_stream: "circle"
output_stream: "mask"
node {
  calculator: "PoseLandmarkByRoiCpu"
  input_stream: "IMAGE:image"
  input_stream: "ROI:region"
  input_side_packet: "MODEL_COMPLEXITY:complexity"
  input_side_packet: "ENABLE_SEGMENTATION:with_mask"
  output_stream: "LANDMARKS:landmarks"
  output_stream: "AUXILIARY_LANDMARKS:circle"
  output_stream: "SEGMENTATION_MASK:mask_image"
}
node {
  calculator: "FromImageCalculator"
  input_stream: "IMAGE:mask_image"
  output_stream: "IMAGE_CPU:mask"
}
"""
DETAIL_GRAPH = """
input_side_packet: "refine"
output_stream: "left_hand"
output_stream: "right_hand"
output_stream: "face"
node {
  calculator: "HandLandmarksLeftAndRightCpu"
  input_stream: "IMAGE:image"
  input_stream: "POSE_LANDMARKS:landmarks"
  output_stream: "LEFT_HAND_LANDMARKS:left_hand"
  output_stream: "RIGHT_HAND_LANDMARKS:right_hand"
}
node {
  calculator: "SplitNormalizedLandmarkListCalculator"
  input_stream: "landmarks"
  output_stream: "head"
  options { [mediapipe.SplitVectorCalculatorOptions.ext] { ranges { begin: 0 end: 11 } } }
}
node {
  calculator: "FaceLandmarksFromPoseCpu"
  input_stream: "IMAGE:image"
  input_stream: "FACE_LANDMARKS_FROM_POSE:head"
  input_side_packet: "REFINE_LANDMARKS:refine"
  output_stream: "FACE_LANDMARKS:face"
}
"""
# The circle around a body grows by this factor to the square that the networks were trained on.
REGION_SCALE = 1.25
SAME_PERSON_DISTANCE = 0.15
# Half of the trunk's length, in units of the region's side.
TRUNK = 0.12
SHOULDERS = [11, 12]
HIPS = [23, 24]


@dataclass(frozen=True)
class Region:
    """A square in a frame: centre (the hips) and side in pixels, `angle` of the body in radians."""

    x: float
    y: float
    side: float
    angle: float

    @classmethod
    def around(cls, hips: np.ndarray, top: np.ndarray) -> Self:
        """Return the region of a body whose circle has its centre at `hips` and passes `top`."""
        dx, dy = top - hips
        side = 2 * REGION_SCALE * math.hypot(dx, dy)
        return cls(float(hips[0]), float(hips[1]), side, math.atan2(dx, -dy))

    @property
    def trunk(self) -> np.ndarray:
        """About the square x1, y1, x2, y2 in pixels around shoulders and hips."""
        half = TRUNK * self.side
        middle = (self.x + half * math.sin(self.angle), self.y - half * math.cos(self.angle))
        return np.concatenate([np.subtract(middle, half), np.add(middle, half)])

    def box(self, frame_size: tuple[int, int]) -> np.ndarray:
        """Return the box x1, y1, x2, y2 in pixels of the body's circle in a (width, height)."""
        middle, reach = np.array((self.x, self.y)), self.side / (2 * REGION_SCALE)
        return np.clip([middle - reach, middle + reach], 0, frame_size).ravel()

    @property
    def chest(self) -> tuple[float, float]:
        """The point in pixels halfway between the centre and the top of the body's circle."""
        reach = self.side / (4 * REGION_SCALE)
        return self.x + reach * math.sin(self.angle), self.y - reach * math.cos(self.angle)

    def distance(self, other: Self) -> float:
        """Return how far apart two bodies' chests are, in units of the larger side."""
        return math.dist(self.chest, other.chest) / max(self.side, other.side)


@dataclass(frozen=True)
class Person:
    """One person's landmarks, in 0..1 of the frame: `body` (33, 3) x, y and visibility, hands
    (21, 3) and face (468, 3) or None; `region` to look at in the next frame; `trunk`, the square
    x1, y1, x2, y2 in pixels around shoulders and hips; `visible`, the box of what is in the
    frame; `mask` (h, w) of confidences or None.
    """

    body: np.ndarray
    left_hand: np.ndarray | None
    right_hand: np.ndarray | None
    face: np.ndarray | None
    region: Region
    trunk: np.ndarray
    visible: np.ndarray
    mask: np.ndarray | None


class PersonDetector:
    """Finds every person in a frame; a context manager."""

    def __enter__(self) -> Self:
        return_frames()
        self._graph = SolutionBase(graph_config=_config(DETECTION_GRAPH), outputs=["detections"])
        return self

    def __exit__(self, *_: object) -> None:
        self._graph.close()

    def people(self, frame: np.ndarray) -> list[Region]:
        """Return the people in a uint8 RGB frame (h, w, 3), the surest first.

        The detector sees a square of 224 pixels, so a wide frame is also searched square by square.
        """
        found = [hit for x, y, side in _tiles(frame) for hit in self._search(frame, x, y, side)]
        people: list[Region] = []
        for _, region in sorted(found, key=lambda hit: -hit[0]):
            if all(region.distance(other) > SAME_PERSON_DISTANCE for other in people):
                people.append(region)
        return people

    def _search(self, frame: np.ndarray, x: int, y: int, side: int) -> list[tuple[float, Region]]:
        tile = np.ascontiguousarray(frame[y : y + side, x : x + side])
        size = tile.shape[1::-1]
        detections = self._graph.process({"image": tile}).detections or []
        hits = []
        for detection in detections:
            hips, top = (
                np.array((point.x, point.y)) * size + (x, y)
                for point in detection.location_data.relative_keypoints[:2]
            )
            hits.append((detection.score[0], Region.around(hips, top)))
        return hits


class PersonNetworks:
    """Finds the landmarks of the person in a region; a context manager.

    `detail` adds hands and face, `mask` the person's segmentation.
    """

    def __init__(self, *, detail: bool = False, mask: bool = False) -> None:
        self._detail, self._mask = detail, mask

    def __enter__(self) -> Self:
        graph, outputs = LANDMARK_GRAPH, ["landmarks", "circle"]
        packets = {"complexity": 1, "with_mask": self._mask}
        if self._mask:
            outputs.append("mask")
        if self._detail:
            graph += DETAIL_GRAPH
            outputs += ["left_hand", "right_hand", "face"]
            packets["refine"] = False
        self._graph = SolutionBase(
            graph_config=_config(graph), side_inputs=packets, outputs=outputs
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._graph.close()

    def person(self, frame: np.ndarray, region: Region) -> Person | None:
        """Return the person in `region` of a uint8 RGB frame (h, w, 3), None when there is none."""
        height, width = frame.shape[:2]
        rectangle = NormalizedRect(
            x_center=region.x / width,
            y_center=region.y / height,
            width=region.side / width,
            height=region.side / height,
            rotation=region.angle,
        )
        result = self._graph.process({"image": frame, "region": rectangle})
        if result.landmarks is None:
            return None
        hips, top = _array(result.circle)[:2, :2] * (width, height)
        body = _array(result.landmarks)
        pixels = body[:, :2] * (width, height)
        inside = np.clip(pixels, 0, (width, height))
        details = ("left_hand", "right_hand", "face")
        return Person(
            body,
            *(_array(getattr(result, part, None)) for part in details),
            region=Region.around(hips, top),
            trunk=_trunk(pixels),
            visible=np.concatenate([inside.min(axis=0), inside.max(axis=0)]),
            mask=result.mask if self._mask else None,
        )


def _config(graph: str) -> CalculatorGraphConfig:
    return text_format.Parse(graph, CalculatorGraphConfig())


def _tiles(frame: np.ndarray) -> list[tuple[int, int, int]]:
    """Return x, y and side of the whole frame and of overlapping squares along its longer side."""
    height, width = frame.shape[:2]
    side, length = sorted((height, width))
    tiles = [(0, 0, length)]
    if length > 1.2 * side:
        count = math.ceil(2 * (length - side) / side) + 1
        starts = np.linspace(0, length - side, count).astype(int)
        tiles += [(int(s), 0, side) if width > height else (0, int(s), side) for s in starts]
    return tiles


def _trunk(pixels: np.ndarray) -> np.ndarray:
    shoulders, hips = pixels[SHOULDERS], pixels[HIPS]
    width = np.linalg.norm(shoulders[0] - shoulders[1])
    half = max(width, np.linalg.norm(shoulders.mean(axis=0) - hips.mean(axis=0))) / 2
    middle = (shoulders.mean(axis=0) + hips.mean(axis=0)) / 2
    return np.concatenate([middle - half, middle + half])


def _array(landmarks) -> np.ndarray | None:
    if landmarks is None:
        return None
    return np.array([(point.x, point.y, point.visibility) for point in landmarks.landmark])
