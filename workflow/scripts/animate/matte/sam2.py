"""Person masks with SAM 2, prompted by body points."""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image

from animate.errors import ClipError, MachineError
from animate.pose.drawing import SCORE_THRESHOLD

# Nose, neck, shoulders, hips and ankles.
PROMPT_POINTS = (0, 1, 2, 5, 8, 11, 10, 13)
PROMPTED_FRAMES = 4
WINDOW = 48
OVERLAP = 8
IMAGE_SIZE = 1024
PERSON = 1
CHECKPOINT = re.compile(r"(sam2(?:\.1)?)_hiera_(tiny|small|base_plus|large)")
CONFIG_SIZES = {"tiny": "t", "small": "s", "base_plus": "b+", "large": "l"}


def masks(
    frames: Iterable[np.ndarray],
    body: np.ndarray,
    *,
    checkpoint: Path,
    device: str = "auto",
    shots: Sequence[int] = (0,),
    window: int = WINDOW,
    overlap: int = OVERLAP,
    image_size: int = IMAGE_SIZE,
) -> Iterator[np.ndarray]:
    """Yield the person's mask of each frame, uint8 0/1 (h, w), all 0 where nobody was found.

    `frames` are uint8 RGB (h, w, 3), `body` (N, 20, 3) their body points in pixels. `checkpoint`
    is a SAM 2 or 2.1 file of any size under its released name, such as `sam2_hiera_large.pt`.
    `window` frames are in memory at a time; each window begins with the last `overlap` frames of
    the one before and with their first mask, so that the person stays the same. At the first frame
    of each of `shots` it begins anew, from the points alone. `image_size` is the side of the
    network's input; fewer than the 1024 pixels it was trained on are faster.
    """
    predictor = load_predictor(checkpoint, device, image_size)
    frames = iter(frames)
    for first, after in pairwise((*shots, len(body))):
        shot = islice(frames, after - first)
        yield from _shot_masks(predictor, shot, body[first:after], window, overlap)


def _shot_masks(
    predictor, frames: Iterator[np.ndarray], body: np.ndarray, window: int, overlap: int
) -> Iterator[np.ndarray]:
    shown: list[np.ndarray] = []
    known: list[np.ndarray] = []
    start = 0
    while new := list(islice(frames, window - len(shown))):
        shown += new
        points = body[start : start + len(shown)]
        found = _window_masks(predictor, shown, points, known[0] if known else None)
        yield from found[len(known) :]
        done = max(len(shown) - overlap, 0)
        start += done
        shown, known = shown[done:], found[done:]


def load_predictor(checkpoint: Path, device: str = "auto", image_size: int = IMAGE_SIZE):
    """Return the `sam2` package's video predictor; its configuration follows the file's name.

    `device` is "cpu", "cuda" or "auto". Raises ClipError when the package, the file or the GPU that
    was asked for is missing.
    """
    try:
        from sam2.build_sam import build_sam2_video_predictor
    except ImportError as error:
        raise ClipError(
            "mask_backend sam2 needs the sam2 package; install it or use mediapipe"
        ) from error
    named = CHECKPOINT.match(checkpoint.name)
    if not checkpoint.is_file() or named is None:
        raise ClipError(f"SAM 2 checkpoint {checkpoint} is missing; download it under its own name")
    if device == "cuda" and not torch.cuda.is_available():
        raise MachineError("SAM 2 should run on a GPU, but PyTorch finds none; ask for the CPU")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    family, scale = named.groups()
    config = f"configs/{family}/{family}_hiera_{CONFIG_SIZES[scale]}.yaml"
    size = [f"++model.image_size={image_size}"]
    predictor = build_sam2_video_predictor(config, checkpoint, device, hydra_overrides_extra=size)
    # Holes would be filled by code compiled for GPUs; growing the mask fills them anyway.
    predictor.fill_hole_area = 0
    return predictor


def _window_masks(
    predictor, frames: list[np.ndarray], body: np.ndarray, first_mask: np.ndarray | None
) -> list[np.ndarray]:
    found = [np.zeros(frame.shape[:2], np.uint8) for frame in frames]
    with TemporaryDirectory() as folder:
        for number, frame in enumerate(frames):
            Image.fromarray(frame).save(Path(folder) / f"{number}.jpg", quality=95)
        state = predictor.init_state(folder, offload_video_to_cpu=True, offload_state_to_cpu=True)
    prompted = _prompt(predictor, state, body, first_mask)
    if not prompted:
        return found
    for backwards in (False, True):
        results = predictor.propagate_in_video(state, min(prompted), reverse=backwards)
        for number, _, logits in results:
            found[number] = (logits[0, 0] > 0).cpu().numpy().astype(np.uint8)
    return found


def _prompt(predictor, state, body: np.ndarray, first_mask: np.ndarray | None) -> list[int]:
    """Tell the predictor who the person is; return the numbers of the frames that say so."""
    prompted = []
    if first_mask is not None and first_mask.any():
        predictor.add_new_mask(state, 0, PERSON, first_mask)
        prompted.append(0)
    for number, points in prompts(body).items():
        if number not in prompted:
            labels = np.ones(len(points), np.int32)
            predictor.add_new_points_or_box(state, number, PERSON, points=points, labels=labels)
            prompted.append(number)
    return prompted


def prompts(body: np.ndarray) -> dict[int, np.ndarray]:
    """Return up to four evenly spaced frames of (N, 20, 3) body points and their points (n, 2)."""
    points = body[:, PROMPT_POINTS]
    seen = points[..., 2] >= SCORE_THRESHOLD
    frames = np.flatnonzero(seen.any(axis=1))
    if not len(frames):
        return {}
    picked = frames[np.unique(np.linspace(0, len(frames) - 1, PROMPTED_FRAMES).astype(int))]
    return {int(i): points[i, seen[i], :2].astype(np.float32) for i in picked}
