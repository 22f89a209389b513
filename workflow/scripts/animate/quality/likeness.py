"""How much the result's character looks like the reference, by the image encoder and by colour."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from animate.model.image import encode_reference
from animate.model.parts import load_part
from animate.pose.drawing import SCORE_THRESHOLD
from animate.pose.face import face_box
from animate.pose.keypoints import Keypoints, faces_seen
from animate.quality.colours import colour_distance
from animate.video.files import read_at

# What is around the points is of the person, too: hair, shoes, clothes.
MARGIN = 0.15
MOMENTS = 8


def person_crop(frame: np.ndarray, body: np.ndarray) -> np.ndarray | None:
    """Return the part of `frame` (h, w, 3) uint8 around its person, None when nobody is there.

    `body` (20, 3) is in 0..1 of the frame, with scores.
    """
    seen = body[body[:, 2] >= SCORE_THRESHOLD, :2]
    if len(seen) < 2:
        return None
    height, width = frame.shape[:2]
    low, high = seen.min(axis=0), seen.max(axis=0)
    edge = MARGIN * (high - low).max()
    (x1, y1), (x2, y2) = (
        (corner.clip(0, 1) * (width, height)).round().astype(int)
        for corner in (low - edge, high + edge)
    )
    return frame[y1:y2, x1:x2] if x2 - x1 > 1 and y2 - y1 > 1 else None


def face_crop(frame: np.ndarray, face: np.ndarray) -> np.ndarray | None:
    """Return the part of `frame` around its face (69, 3), None when the face is hidden."""
    box = face_box(face, frame.shape[1::-1]) if faces_seen(face[None])[0] else None
    return None if box is None else frame[box[1] : box[3], box[0] : box[2]]


def load_encoder(model: Path) -> nn.Module:
    """Return the image encoder of a model folder, on the CPU in fp32.

    Raises:
        ClipError: it cannot be read.
    """
    # Imported here because it takes seconds.
    from transformers import CLIPVisionModel

    return load_part(CLIPVisionModel, model / "image_encoder", torch.float32)


def likeness_figures(
    encoder: nn.Module,
    reference: np.ndarray,
    reference_points: Keypoints,
    video: Path,
    points: Keypoints,
) -> dict[str, float | None]:
    """Return how like the reference the person and the face of a video are, -1..1, on average.

    And how far the person's colours are from the reference's, see `colour_distance`. Eight frames
    are looked at, spread over those in which there is somebody. A figure is None where the video or
    the reference (h, w, 3) shows none.
    """
    shown = np.flatnonzero(points.found)
    spread = np.linspace(0, len(shown) - 1, min(MOMENTS, len(shown))).round().astype(int)
    chosen = shown[spread].tolist()
    frames = list(read_at(video, chosen))
    figures = {}
    for name, crop, part in (
        ("identity", person_crop, "body"),
        ("face_identity", face_crop, "face"),
    ):
        wanted = crop(reference, getattr(reference_points, part)[0])
        crops = [crop(f, getattr(points, part)[n]) for f, n in zip(frames, chosen, strict=True)]
        crops = [found for found in crops if found is not None]
        values = likeness(encoder, wanted, crops) if wanted is not None and crops else []
        figures[name] = round(float(np.mean(values)), 4) if values else None
    bodies = zip(frames, points.body[chosen], strict=True)
    away = colour_distance(reference, reference_points.body[0], bodies)
    return figures | {"character_colour": None if away is None else round(away, 4)}


@torch.inference_mode()
def likeness(encoder: nn.Module, reference: np.ndarray, crops: Sequence[np.ndarray]) -> list[float]:
    """Return the cosine, -1..1, of each crop's features with the reference crop's.

    `encoder` is the model's CLIP; crops are uint8 RGB of any size. Features are the mean over the
    tokens before its last layer, which is what the model sees of a reference.
    """
    features = [_features(encoder, crop) for crop in (reference, *crops)]
    return [float(F.cosine_similarity(features[0], other, dim=0)) for other in features[1:]]


def _features(encoder: nn.Module, crop: np.ndarray) -> torch.Tensor:
    size = encoder.config.image_size
    # Shrunk here, since the encoder's own bicubic does not average.
    shrunk = cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)
    picture = torch.from_numpy(shrunk).permute(2, 0, 1)[None].float() / 127.5 - 1
    return encode_reference(encoder, picture)[0].float().mean(dim=0)
