"""Random scenes of the demo's domain: what the sampler is given, and what it should make of it.

One person, moved as a whole, turned, zoomed, recoloured, her mouth opening and closing: the demo
model animates this and nothing else. Skeleton, face crop, mask and letterbox are made by the
workflow's own functions.
"""

from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from animate.demo.photograph import Mouth
from animate.demo.photograph import open_mouth as open_mouth_of
from animate.matte.grid import whole_cells
from animate.matte.growth import background, grow
from animate.pose.drawing import draw_pose
from animate.pose.face import crop_face, face_box
from animate.video.letterbox import Letterbox

FRAMES = 21
# Sizes (width, height) of the demo's clips: the reference's shape, and the driving video's.
SIZES = {"animate": (240, 336), "replace": (272, 272)}
PHOTO = 512
# What the person turns about, in pixels of the photograph.
PIVOT = np.array((225.0, 190.0))
# Crops are enlarged to 512 pixels where they are read; few are larger than this.
CROP = 96
COLOUR_ORDERS = ((0, 1, 2), (2, 1, 0), (1, 0, 2), (0, 2, 1), (1, 2, 0), (2, 0, 1))
UPPER_LIP, LOWER_LIP, CHIN = 1 + 62, 1 + 66, 1 + 8
MOUTH_LEFT, MOUTH_RIGHT = 1 + 48, 1 + 54


@dataclass(frozen=True)
class Scene:
    """A clip of `FRAMES` frames, uint8.

    `target`, `pose`, `background`: (F, h, w, 3); `mask`: (F, h, w) 0/1, both empty in animation;
    `reference`: (h, w, 3) at the model's size; `face`: (F, 96, 96, 3); `mouth`: (F,) 0..255, how
    far it is open.
    """

    target: np.ndarray
    reference: np.ndarray
    pose: np.ndarray
    face: np.ndarray
    mouth: np.ndarray
    background: np.ndarray
    mask: np.ndarray


@dataclass(frozen=True)
class Person:
    """The photograph, perhaps mirrored: uint8 picture and mask, and points in its pixels."""

    photo: np.ndarray
    mask: np.ndarray
    body: np.ndarray
    left_hand: np.ndarray
    right_hand: np.ndarray
    face: np.ndarray


@lru_cache
def load_person(path: Path) -> Person:
    """Read what photograph.py wrote."""
    with np.load(path) as arrays:
        return Person(**{field.name: arrays[field.name] for field in fields(Person)})


def make_scene(person: Person, mode: str, seed: int, still: bool = False) -> Scene:
    """Return a scene of that mode; the same seed gives the same scene.

    With `still`, only its first frame moves: a scene of one frame, for training the VAE.
    """
    draw = np.random.default_rng(seed)
    count = 1 if still else FRAMES
    size = SIZES[mode]
    character, driver = Colours(draw), Colours(draw)
    mouth = np.clip(0.35 + _smooth(draw, count, 0.5), 0, 1)
    moves = _motion(draw, count, size)
    frames = {name: [] for name in ("target", "pose", "face", "background", "mask")}
    for amount, move in zip(mouth, moves, strict=True):
        mask = _warp(person.mask, move, size, cv2.INTER_NEAREST)
        plain = _warp(open_mouth(person, amount), move, size)
        acted, own = driver.of(plain, mask), character.of(plain, mask)
        points = [_moved(part, move) for part in (person.body, person.left_hand, person.right_hand)]
        points[0] = _flickering(draw, points[0])
        frames["pose"].append(draw_pose(size, *points))
        face = _moved(person.face, move) / (*size, 1)
        crop = crop_face(acted, face_box(face, size) or (0, 0, 0, 0))
        frames["face"].append(cv2.resize(crop, (CROP, CROP), interpolation=cv2.INTER_AREA))
        if mode == "animate":
            frames["target"].append(own)
            continue
        frames["target"].append(np.where(mask[..., None] > 0, own, acted))
        grown = whole_cells(grow(mask, iterations=3, kernel=7, w_len=12, h_len=12))
        frames["mask"].append(grown)
        frames["background"].append(background(acted, grown))
    return Scene(
        **{name: np.array(values, np.uint8) for name, values in frames.items()},
        reference=_reference(draw, character.of(open_mouth(person, 0), person.mask), size),
        mouth=(255 * mouth).astype(np.uint8),
    )


class Colours:
    """Other colours for person and surroundings, each its own: order of channels, gain, offset."""

    def __init__(self, draw: np.random.Generator):
        self._orders = [list(draw.choice(COLOUR_ORDERS)) for _ in range(2)]
        gains, offsets = draw.uniform(0.7, 1.2, (2, 1, 3)), draw.uniform(-25, 25, (2, 1, 3))
        values = np.arange(256)[:, None] * gains + offsets
        self._tables = np.clip(values, 0, 255).astype(np.uint8)[:, None]

    def of(self, picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Return a picture of her, uint8 (h, w, 3) with her mask, in these colours."""
        person, surroundings = (
            cv2.LUT(picture[..., order], table)
            for order, table in zip(self._orders, self._tables, strict=True)
        )
        return np.where(mask[..., None] > 0, person, surroundings)


def open_mouth(person: Person, amount: float) -> np.ndarray:
    """Return the photograph with the mouth open, 0 as it is to 1 wide, uint8 (h, w, 3)."""
    face = person.face[:, :2]
    corners, lips = face[[MOUTH_LEFT, MOUTH_RIGHT]], face[[UPPER_LIP, LOWER_LIP]]
    mouth = Mouth(*corners, lips.mean(axis=0), face[CHIN])
    return open_mouth_of(person.photo, amount, mouth)


def _smooth(draw: np.random.Generator, count: int, size: float) -> np.ndarray:
    """Return a random smooth curve (count,) of about that size, at 25 frames a second."""
    seconds = np.arange(count) / 25
    curve = np.full(count, draw.uniform(-0.6, 0.6) * size)
    for _ in range(3):
        wave = 2 * np.pi * (draw.uniform(0.1, 0.5) * seconds + draw.uniform())
        curve += 0.45 * size * draw.standard_normal() * np.sin(wave)
    return curve


def _motion(draw: np.random.Generator, count: int, size: tuple[int, int]) -> np.ndarray:
    """Return (count, 2, 3): where the photograph's pixels lie in each frame."""
    width, height = size
    scale = min(size) / PHOTO * np.clip(1.18 + _smooth(draw, count, 0.16), 0.8, 1.6)
    turn = np.clip(_smooth(draw, count, 0.16), -0.4, 0.4)
    middle = np.stack(
        (
            width / 2 + _smooth(draw, count, 0.13 * width),
            height * 0.47 + _smooth(draw, count, 0.13 * height),
        ),
        axis=-1,
    )
    c, s = scale * np.cos(turn), scale * np.sin(turn)
    linear = np.stack((np.stack((c, -s), -1), np.stack((s, c), -1)), -2)
    return np.concatenate((linear, (middle - linear @ PIVOT)[..., None]), axis=-1)


def _warp(
    picture: np.ndarray, move: np.ndarray, size: tuple[int, int], how: int = cv2.INTER_LINEAR
) -> np.ndarray:
    return cv2.warpAffine(picture, move, size, flags=how, borderMode=cv2.BORDER_REPLICATE)


def _moved(points: np.ndarray, move: np.ndarray) -> np.ndarray:
    return np.concatenate((points[:, :2] @ move[:, :2].T + move[:, 2], points[:, 2:]), axis=1)


def _flickering(draw: np.random.Generator, points: np.ndarray) -> np.ndarray:
    """Return points of which those that are hardly seen come and go, as a detector's do."""
    noise = 0.25 * draw.standard_normal(len(points)) * (points[:, 2] < 0.9) * (points[:, 2] > 0)
    return np.column_stack((points[:, :2], points[:, 2] + noise))


def _reference(draw: np.random.Generator, photo: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return a part of the photograph in the shape of a portrait, placed in the model's frame."""
    width = int(draw.integers(340, 400))
    left = int(np.clip(PIVOT[0] - width / 2 + draw.uniform(-25, 25), 0, PHOTO - width))
    part = photo[:, left : left + width]
    return Letterbox(part.shape[1::-1], size).image(part)
