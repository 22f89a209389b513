"""The reference image as the sampler and its image encoder see it."""

from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

from animate.atomic import atomic_output
from animate.errors import ClipError
from animate.model.parts import load_part

FEATURES = "features"
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


def read_reference(path: Path, width: int, height: int) -> np.ndarray:
    """Return an image file as (height, width, 3) uint8 RGB, fitted as `fit_reference` does."""
    data = np.frombuffer(Path(path).read_bytes(), np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if image is None:
        raise ClipError(f"reference image {path} cannot be read as an image")
    return fit_reference(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), width, height)


def fit_reference(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return `image` (h, w, 3) uint8 scaled (bilinear) to fit and centred on black."""
    h, w = image.shape[:2]
    narrow = h / w > height / width
    size = (int(height / h * w), height) if narrow else (width, int(width / w * h))
    left, top = (width - size[0]) // 2, (height - size[1]) // 2
    canvas = np.zeros((height, width, 3), np.uint8)
    scaled = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    canvas[top : top + size[1], left : left + size[0]] = scaled
    return canvas


def reference_video(path: Path, width: int, height: int) -> torch.Tensor:
    """Return an image file as `read_reference` fits it, (1, 3, height, width) fp32 in -1..1."""
    image = torch.from_numpy(read_reference(path, width, height))
    return image.permute(2, 0, 1)[None].float() / 127.5 - 1


@torch.inference_mode()
def reference_features(model: Path, path: Path, width: int, height: int) -> torch.Tensor:
    """Return the features (1, 257, n) of an image file, by the encoder of a model folder, in fp32.

    The encoder runs on the CPU, so it takes no GPU's memory away.

    Raises:
        ClipError: the image or the encoder cannot be read.
    """
    # Imported here because it takes seconds.
    from transformers import CLIPVisionModel

    encoder = load_part(CLIPVisionModel, model / "image_encoder", torch.float32)
    return encode_reference(encoder, reference_video(path, width, height))


def save_features(path: Path, features: torch.Tensor) -> None:
    """Write features (1, 257, n) as safetensors."""
    with atomic_output(path) as temporary:
        save_file({FEATURES: features.contiguous()}, temporary)


def load_features(path: Path) -> torch.Tensor:
    """Return the features (1, 257, n) fp32 that `save_features` wrote."""
    try:
        return load_file(path)[FEATURES]
    except Exception as error:
        raise ClipError(
            f"the reference's features {path} cannot be read ({error}): remove the file"
        ) from error


def encode_reference(encoder: nn.Module, reference: torch.Tensor) -> torch.Tensor:
    """Return features (1, 257, n) of a reference (1, 3, h, w) in -1..1, before the last layer.

    The whole frame is squashed to the encoder's square, as in training, not cropped.
    """
    size = encoder.config.image_size
    image = F.interpolate(reference, size=(size, size), mode="bicubic", align_corners=False)
    mean, std = (torch.tensor(x, device=image.device).view(1, 3, 1, 1) for x in (MEAN, STD))
    image = ((image * 0.5 + 0.5 - mean) / std).to(encoder.dtype)
    return encoder(pixel_values=image, output_hidden_states=True).hidden_states[-2]
