"""Bodies hold, from all sides and cut off anywhere; ribbons, fists and folds of cloth do not."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from animate.pose.backends import backend
from animate.pose.keypoints import Keypoints, stack
from animate.pose.plausibility import drop_nobodies, unrest
from animate.video.files import read_video
from difficult import driver

CLIPS = Path(__file__).parents[2].parent / "shared" / "clips"
SIZE, RATE, COUNT = (854, 480), 30.0, 60
# Metres from the middle of the hips: right, up, to the front; of the 20 body points.
STANDING = np.array([
    (0, 0.7, 0.1), (0, 0.5, 0), (0.2, 0.5, 0), (0.25, 0.2, 0), (0.25, -0.05, 0), (-0.2, 0.5, 0),
    (-0.25, 0.2, 0), (-0.25, -0.05, 0), (0.12, 0, 0), (0.12, -0.42, 0), (0.12, -0.84, 0),
    (-0.12, 0, 0), (-0.12, -0.42, 0), (-0.12, -0.84, 0), (0.03, 0.74, 0.08), (-0.03, 0.74, 0.08),
    (0.08, 0.72, 0), (-0.08, 0.72, 0), (-0.12, -0.9, 0.15), (0.12, -0.9, 0.15),
])  # fmt: skip
ARMS = {2: (3, 4), 5: (6, 7)}


def turned(points: np.ndarray, angle: float, axes: tuple[int, int]) -> np.ndarray:
    """Return points (n, 3) turned by `angle` in the plane of two axes."""
    moved, (a, b) = points.copy(), axes
    moved[:, a] = np.cos(angle) * points[:, a] - np.sin(angle) * points[:, b]
    moved[:, b] = np.sin(angle) * points[:, a] + np.cos(angle) * points[:, b]
    return moved


def dancer(turns: float, swings: float, noise: float = 0.01, tall: int = 300) -> Keypoints:
    """Return the points of a dancer without a face, as a network sees them.

    The dancer turns and swings the arms towards the camera and back, both in rounds per second;
    the points are `noise` metres off. `tall` is the height in pixels.
    """
    random, persons = np.random.default_rng(1), []
    for second in np.arange(COUNT) / RATE:
        body = STANDING.copy()
        for number, (shoulder, arm) in enumerate(ARMS.items()):
            angle = 2 * np.pi * (swings * second + number / 4)
            body[list(arm)] = body[shoulder] + turned(
                body[list(arm)] - body[shoulder], angle, (1, 2)
            )
        body = turned(body, 2 * np.pi * turns * second, (0, 2))
        body += random.normal(0, noise, body.shape)
        # The camera stands three metres away.
        flat = body[:, :2] * (-1, -1) / (1 - body[:, 2:] / 3)
        placed = (flat * tall / 1.7 + np.array(SIZE) / 2) / SIZE
        persons.append(seen(np.column_stack([placed, np.ones(20)])))
    return stack(persons, [1] * COUNT)


def seen(body: np.ndarray) -> tuple[np.ndarray, ...]:
    return body, np.zeros((21, 3)), np.zeros((21, 3)), np.zeros((69, 3))


def test_a_point_of_the_face_without_a_place_does_not_move_it():
    """A face on the nose vouches for a body that trembles; one elsewhere does not."""
    face = np.tile((0.5, 0.5, 1.0), (69, 1))
    face[1:35, :2] += 0.05
    face[5] = 0
    hands = (np.zeros((21, 3)),) * 2
    for nose, vouches in ((0.52, True), (0.3, False)):
        bodies = np.random.default_rng(0).uniform(0.2, 0.8, (6, 20, 3))
        bodies[:, 0, :2], bodies[..., 2] = nose, 1
        clip = stack([(body, *hands, face) for body in bodies], [1] * 6)
        assert (unrest(clip, SIZE, 24) == 0).all() == vouches


def nobody(frames: list[int]) -> Keypoints:
    """Return a clip in some frames of which a network saw a body, each time another one."""
    random = np.random.default_rng(2)
    bodies = random.uniform((0.3, 0.3, 0.6), (0.7, 0.7, 1), (COUNT, 20, 3))
    persons = [seen(body) if number in frames else None for number, body in enumerate(bodies)]
    return stack(persons, [1] * COUNT)


def kept(keypoints: Keypoints, shots=(0,)) -> int:
    """Return in how many frames the body holds; require that nothing is left of the others."""
    before = keypoints.body.copy()
    after = drop_nobodies(keypoints, SIZE, RATE, shots)
    np.testing.assert_array_equal(keypoints.body, before)
    np.testing.assert_array_equal(after.doubted, keypoints.found & ~after.found)
    for part in ("body", "left_hand", "right_hand", "face"):
        assert not getattr(after, part)[~after.found].any()
        left = getattr(keypoints, part)[after.found]
        np.testing.assert_array_equal(getattr(after, part)[after.found], left)
    return int(after.found.sum())


@pytest.mark.parametrize(("turns", "swings"), [(0, 0), (1, 0), (0, 1.0), (0.7, 0.7)])
def test_back_of_a_dancer_whose_limbs_point_at_the_camera_holds(turns, swings):
    assert kept(dancer(turns, swings)) == COUNT


@pytest.mark.parametrize("hidden", [range(8, 20), [*range(8), *range(14, 18)], [2, 3, 4, 8, 9, 10]])
def test_half_a_dancer_holds(hidden):
    keypoints = dancer(0.3, 0.5)
    keypoints.body[:, list(hidden), 2] = 0
    assert kept(keypoints) == COUNT


def test_a_dancer_who_comes_late_and_is_hidden_for_a_moment_holds():
    bodies = enumerate(dancer(0.5, 0.5).body)
    there = {*range(15, 30), *range(36, COUNT)}
    persons = [seen(body) if number in there else None for number, body in bodies]
    assert kept(stack(persons, [1] * COUNT)) == len(there)


def test_bodies_that_share_nothing_are_nobody():
    assert kept(nobody(list(range(COUNT)))) == 0
    assert kept(nobody([3, 4, 5, 20, 40])) == 0


def test_what_is_found_now_and_then_is_nobody_however_still():
    bodies = enumerate(dancer(0, 0).body)
    now_and_then = [seen(body) if number % 5 < 1 else None for number, body in bodies]
    assert kept(stack(now_and_then, [1] * COUNT)) == 0


def test_a_face_on_the_nose_vouches_for_its_body_and_elsewhere_does_not():
    keypoints = nobody(list(range(COUNT)))
    keypoints.face[...] = (0, 0, 1)
    keypoints.face[:, 1:, :2] = keypoints.body[:, :1, :2]
    keypoints.face[:, 1:35, :2] += 0.05
    assert kept(keypoints) == COUNT
    keypoints.face[..., 0] += 0.3
    assert kept(keypoints) == 0


def test_each_shot_is_judged_alone():
    good, bad = dancer(0, 0), nobody(list(range(COUNT)))
    half = np.arange(COUNT)[:, None, None] < 30
    mixed = replace(good, body=np.where(half, good.body, bad.body))
    after = drop_nobodies(mixed, SIZE, RATE, (0, 30))
    assert after.found.tolist() == [True] * 30 + [False] * 30


def test_nothing_speaks_against_a_single_frame_and_nothing_is_said_of_none():
    picture = stack([seen(STANDING)], [1])
    assert unrest(picture, SIZE, RATE).tolist() == [0] and kept(picture) == 1
    assert np.isnan(unrest(stack([None] * 3, [0] * 3), SIZE, RATE)).all()


def ribbons(seed: int, count: int = 24) -> Iterator[np.ndarray]:
    """Yield frames in which shaded ribbons wave out of one point."""
    random, (width, height) = np.random.default_rng(seed), (640, 360)
    bands = int(random.integers(3, 9))
    colours = random.integers(40, 256, (bands, 3))
    widths, lengths = random.uniform((0.02, 0.3), (0.08, 0.6), (bands, 2)).T * height
    towards, speed, bend = random.uniform((0, 0.02, 0.2), (6.28, 0.12, 1), (bands, 3)).T
    middle = np.array((width, height)) * random.uniform(0.35, 0.65, 2)
    rows, columns = np.mgrid[:height, :width]
    along = np.linspace(0, 1, 40)
    for number in range(count):
        frame = np.stack([60 + 80 * rows / height + 20 * c * columns / width for c in range(3)], 2)
        frame = frame.astype(np.uint8)
        for band in range(bands):
            angle = towards[band] + bend[band] * np.sin(2 * speed[band] * number + 3 * along)
            steps = np.stack([np.cos(angle), np.sin(angle)], axis=1) * lengths[band] / 40
            points = (middle + np.cumsum(steps, axis=0)).astype(int).tolist()
            for place, (start, end) in enumerate(pairwise(points)):
                light = 0.6 + 0.4 * np.sin(6 * along[place] + 0.2 * number + band)
                thick = max(int(widths[band] * (1 - along[place] / 2)), 2)
                colour = (light * colours[band]).astype(int).tolist()
                cv2.line(frame, start, end, colour, thick, cv2.LINE_AA)
        yield frame


def shares(frames: list[np.ndarray], rate: float) -> tuple[float, float]:
    """Return the shares of frames with a body, as detected and as left."""
    keypoints = backend("mediapipe").detect(frames)
    after = drop_nobodies(keypoints, frames[0].shape[1::-1], rate)
    return float(keypoints.found.mean()), float(after.found.mean())


def test_ribbons_are_nobody():
    before, after = np.mean([shares(list(ribbons(seed)), 24) for seed in range(6)], axis=0)
    assert before > 0.1 and after < 0.01


def test_a_person_who_stands_still_holds():
    scene = np.full((360, 640, 3), 90, np.uint8)
    scene[60:, 170:470] = driver()
    assert shares([scene] * 12, 24) == (1, 1)


def close_up(name: str, x: int, y: int, width: int) -> list[np.ndarray]:
    """Return a part of a shared clip, given in its pixels, enlarged to the whole frame."""
    video = CLIPS / f"{name}.mp4"
    if not video.is_file():
        pytest.skip("the shared clips are not beside the checkout")
    height = int(width * SIZE[1] / SIZE[0])
    parts = (frame[y : y + height, x : x + width] for frame in islice(read_video(video), 75))
    return [cv2.resize(part, SIZE, interpolation=cv2.INTER_CUBIC) for part in parts]


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("talking_head", (950, 420, 600)),
        ("talking_head", (950, 640, 500)),
        ("talking_head", (1400, 480, 500)),
        ("talking_head", (900, 700, 660)),
    ],
    ids=["tie", "belly", "fist", "table"],
)
def test_close_up_without_a_face_is_nobody(name, place):
    before, after = shares(close_up(name, *place), RATE)
    assert before > 0.1 and after < 0.05


@pytest.mark.parametrize(
    ("name", "place"),
    [("talking_head", (720, 330, 1200)), ("talking_head", (840, 0, 600))],
    ids=["without the head", "one side"],
)
def test_half_a_real_person_holds(name, place):
    before, after = shares(close_up(name, *place), RATE)
    assert before == after == 1
