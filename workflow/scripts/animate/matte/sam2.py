"""Masks with SAM 2: of the person, prompted by body points and the user's, and of objects."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image

from animate.errors import ClipError, MachineError
from animate.matte.points import Prompt, Prompts, agreeing, joined, within
from animate.pose.drawing import SCORE_THRESHOLD

# Nose, neck, shoulders, hips and ankles.
PROMPT_POINTS = (0, 1, 2, 5, 8, 11, 10, 13)
PROMPTED_FRAMES = 4
WINDOW = 48
OVERLAP = 8
IMAGE_SIZE = 1024
# Body points this near to a point of which the user says that it is no person, in units of the
# longer side, are mistaken, too.
MISTAKEN = 0.025
CHECKPOINT = re.compile(r"(sam2(?:\.1)?)_hiera_(tiny|small|base_plus|large)")
CONFIG_SIZES = {"tiny": "t", "small": "s", "base_plus": "b+", "large": "l"}


# Of the clip's frames from first to after - 1: each object's prompts, by frames counted from first.
Asked = Callable[[int, int], list[Prompts]]


def masks(
    frames: Iterable[np.ndarray],
    body: np.ndarray,
    *,
    marked: Prompts | None = None,
    shots: Sequence[int] = (0,),
    **options,
) -> Iterator[np.ndarray]:
    """Yield the person's mask of each frame, uint8 0/1 (h, w), all 0 where nobody was found.

    `frames` are uint8 RGB (h, w, 3), `body` (N, 20, 3) their body points in pixels. `marked` is
    what the user says of some of the frames; it counts beside the body points of these, and before
    those that it contradicts. For `shots` and the options see `object_masks`.
    """
    marked = marked or {}

    def asked(first: int, after: int) -> list[Prompts]:
        points = body[first:after]
        found = {
            frame: Prompt(seen, np.ones(len(seen), np.int32))
            for frame, seen in prompts(points).items()
        }
        for frame, mark in within(marked, first, after).items():
            found[frame] = _beside(seen_points(points[frame]), mark, max(*sizes))
        return [{frame: prompt for frame, prompt in found.items() if prompt.says_where}]

    frames = iter(frames)
    front = next(frames, None)
    if front is None:
        return
    sizes = front.shape[:2]
    yield from _tracked(chain([front], frames), len(body), asked, shots, **options)


def object_masks(
    frames: Iterable[np.ndarray],
    count: int,
    marked: Mapping[str, Prompts],
    *,
    shots: Sequence[int] = (0,),
    **options,
) -> Iterator[np.ndarray]:
    """Yield of each of `count` frames what any of the marked objects covers, uint8 0/1 (h, w).

    The options are: `checkpoint`, a SAM 2 or 2.1 file of any size under its released name, such as
    `sam2_hiera_large.pt`; `device`, see `load_predictor`; `window`, the frames in memory at a time:
    each window begins with the last `overlap` frames of the one before and with their first mask,
    so that an object stays the same; and `image_size`, the side of the network's input: fewer than
    the 1024 pixels it was trained on are faster. At the first frame of each of `shots` it begins
    anew, from the prompts alone.
    """

    def asked(first: int, after: int) -> list[Prompts]:
        return [within(prompts, first, after) for prompts in marked.values()]

    yield from _tracked(frames, count, asked, shots, **options)


def _tracked(
    frames: Iterable[np.ndarray],
    count: int,
    asked: Asked,
    shots: Sequence[int],
    *,
    checkpoint: Path,
    device: str = "auto",
    window: int = WINDOW,
    overlap: int = OVERLAP,
    image_size: int = IMAGE_SIZE,
) -> Iterator[np.ndarray]:
    predictor = load_predictor(checkpoint, device, image_size)
    frames = iter(frames)
    for first, after in pairwise((*shots, count)):
        shot = islice(frames, after - first)
        yield from _shot_masks(predictor, shot, first, asked, window, overlap)


def _shot_masks(
    predictor, frames: Iterator[np.ndarray], start: int, asked: Asked, window: int, overlap: int
) -> Iterator[np.ndarray]:
    shown: list[np.ndarray] = []
    known: list[np.ndarray] = []
    while new := list(islice(frames, window - len(shown))):
        shown += new
        objects = asked(start, start + len(shown))
        found = _window_masks(predictor, shown, objects, known[0] if known else None)
        yield from (masks.max(axis=0) for masks in found[len(known) :])
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
    predictor,
    frames: list[np.ndarray],
    objects: list[Prompts],
    first_masks: np.ndarray | None,
) -> list[np.ndarray]:
    """Return of each frame the masks of the objects, uint8 (objects, h, w)."""
    found = [np.zeros((len(objects), *frame.shape[:2]), np.uint8) for frame in frames]
    with TemporaryDirectory() as folder:
        for number, frame in enumerate(frames):
            Image.fromarray(frame).save(Path(folder) / f"{number}.jpg", quality=95)
        state = predictor.init_state(folder, offload_video_to_cpu=True, offload_state_to_cpu=True)
    prompted = set()
    for each, prompts in enumerate(objects):
        mask = None if first_masks is None else first_masks[each]
        prompted |= _prompt(predictor, state, each, prompts, mask)
    if not prompted:
        return found
    for backwards in (False, True):
        results = predictor.propagate_in_video(state, min(prompted), reverse=backwards)
        for number, seen, logits in results:
            for each, logit in zip(seen, logits, strict=True):
                found[number][each] = (logit[0] > 0).cpu().numpy()
    return found


def _prompt(
    predictor, state, each: int, prompts: Prompts, first_mask: np.ndarray | None
) -> set[int]:
    """Tell the predictor what an object is; return the numbers of the frames that say so."""
    prompted = set()
    if first_mask is not None and first_mask.any():
        # The prompts of this frame made the mask, in the window before.
        predictor.add_new_mask(state, 0, each, first_mask)
        prompted.add(0)
    for number, prompt in prompts.items():
        if number not in prompted:
            predictor.add_new_points_or_box(
                state, number, each, points=prompt.points, labels=prompt.labels, box=prompt.box
            )
            prompted.add(number)
    return prompted


def prompts(body: np.ndarray) -> dict[int, np.ndarray]:
    """Return up to four evenly spaced frames of (N, 20, 3) body points and their points (n, 2)."""
    frames = np.flatnonzero((body[:, PROMPT_POINTS, 2] >= SCORE_THRESHOLD).any(axis=1))
    if not len(frames):
        return {}
    picked = frames[np.unique(np.linspace(0, len(frames) - 1, PROMPTED_FRAMES).astype(int))]
    return {int(i): seen_points(body[i]) for i in picked}


def seen_points(body: np.ndarray) -> np.ndarray:
    """Return those of a frame's body points (20, 3) that prompt, (n, 2) float32."""
    points = body[list(PROMPT_POINTS)]
    return points[points[:, 2] >= SCORE_THRESHOLD, :2].astype(np.float32)


def _beside(points: np.ndarray, mark: Prompt, side: int) -> Prompt:
    """Return a frame's body points (n, 2) and what the user marked in it, which has precedence."""
    kept = [*agreeing(points, mark, MISTAKEN * side)]
    seen = np.reshape(kept, (-1, 2)).astype(np.float32)
    return joined(Prompt(seen, np.ones(len(seen), np.int32)), mark)
