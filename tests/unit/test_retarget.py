"""Retargeting keeps directions and takes the reference's proportions and place."""

import numpy as np
import pytest

from animate.errors import ClipError
from animate.keypoints import Keypoints
from animate.retarget import BONES, MIRRORED, retarget

SIZE, REFERENCE_SIZE = (1280, 720), (720, 1280)
ROOT = np.array([0.5, 0.25])
# Directions in degrees, 0 to the right and 90 down, and lengths in pixels of a standing figure.
ANGLES = {
    0: -90, 14: -150, 16: 170, 15: -30, 17: 10, 2: 180, 3: 100, 4: 95, 5: 0, 6: 80, 7: 85,
    8: 100, 9: 92, 10: 90, 19: 150, 11: 80, 12: 88, 13: 90, 18: 30,
}  # fmt: skip
LENGTHS = {
    0: 45, 14: 12, 16: 14, 15: 12, 17: 14, 2: 45, 3: 60, 4: 55, 5: 45, 6: 60, 7: 55,
    8: 110, 9: 90, 10: 85, 19: 25, 11: 110, 12: 90, 13: 85, 18: 25,
}  # fmt: skip
LEGS = (9, 10, 19, 12, 13, 18)


def figure(
    size: tuple[int, int], turn: float = 0, scale: float = 1, **factors: float
) -> np.ndarray:
    """Return body points (20, 3) in 0..1; `factors` "_4" stretch the bone that ends in point 4."""
    body = np.ones((20, 3))
    body[1, :2] = ROOT * size
    for child, parent in BONES:
        angle = np.radians(ANGLES[child] + turn * np.sin(child))
        length = LENGTHS[child] * scale * factors.get(f"_{child}", 1)
        body[child, :2] = body[parent, :2] + length * np.array([np.cos(angle), np.sin(angle)])
    body[:, :2] /= size
    return body


def clip(bodies: list[np.ndarray]) -> Keypoints:
    """Return keypoints of these bodies, with hands on their wrists."""
    body = np.array(bodies, np.float32)
    fan = np.zeros((21, 3), np.float32)
    fan[:, :2] = np.linspace(0, 0.02, 21)[:, None]
    left, right = (body[:, wrist, None] + fan for wrist in (7, 4))
    found = np.ones(len(body), bool)
    return Keypoints(body, left, right, np.ones((len(body), 69, 3), np.float32), found, found * 1)


def bones(body: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the bones (N, 19, 2) in pixels."""
    children, parents = np.transpose(BONES)
    pixels = body[..., :2].astype(float) * size
    return pixels[:, children] - pixels[:, parents]


def reference() -> Keypoints:
    """Return a person with long legs and short arms in a tall picture, both sides alike."""
    arms = {f"_{point}": 0.8 for point in (3, 4, 6, 7)}
    legs = {f"_{point}": 1.3 for point in LEGS}
    return clip([figure(REFERENCE_SIZE, turn=10, scale=1.2, **arms, **legs)])


@pytest.fixture
def driver() -> Keypoints:
    """A person who waves and walks: all bones turn in the picture's plane."""
    return clip([figure(SIZE, turn=turn) for turn in np.linspace(-40, 40, 15)])


def test_bones_take_the_reference_lengths(driver):
    moved = retarget(driver, SIZE, reference(), REFERENCE_SIZE)
    lengths = np.linalg.norm(bones(moved.body, REFERENCE_SIZE), axis=2)
    wanted = np.linalg.norm(bones(reference().body, REFERENCE_SIZE), axis=2)
    np.testing.assert_allclose(lengths, np.repeat(wanted, len(driver), axis=0), rtol=0.01)


def test_joints_keep_the_driving_directions(driver):
    moved = bones(retarget(driver, SIZE, reference(), REFERENCE_SIZE).body, REFERENCE_SIZE)
    before = bones(driver.body, SIZE)
    angles = [np.degrees(np.arctan2(b[..., 1], b[..., 0])) for b in (moved, before)]
    difference = (angles[0] - angles[1] + 180) % 360 - 180
    assert np.abs(difference).max() < 0.5


def test_hands_stay_on_their_wrists_and_scale_with_the_body(driver):
    moved = retarget(driver, SIZE, reference(), REFERENCE_SIZE)
    for hand, source, wrist in (
        (moved.left_hand, driver.left_hand, 7),
        (moved.right_hand, driver.right_hand, 4),
    ):
        root = (hand[:, 0, :2] - moved.body[:, wrist, :2]) * REFERENCE_SIZE
        assert np.abs(root).max() < 1
        spread = np.linalg.norm((hand[:, 20] - hand[:, 0])[:, :2] * REFERENCE_SIZE, axis=1)
        before = np.linalg.norm((source[:, 20] - source[:, 0])[:, :2] * SIZE, axis=1)
        np.testing.assert_allclose(spread / before, 1.2, rtol=0.01)
    assert not np.allclose(moved.left_hand, moved.right_hand, atol=0.01)


def test_nothing_changes_when_driver_and_reference_agree():
    driver = clip([figure(SIZE), figure(SIZE, turn=20)])
    moved = retarget(driver, SIZE, clip([figure(SIZE)]), SIZE)
    for name, value in vars(driver).items():
        np.testing.assert_allclose(getattr(moved, name), value, atol=1e-6)


def test_figure_stands_where_the_reference_stands(driver):
    moved = retarget(driver, SIZE, reference(), REFERENCE_SIZE)
    np.testing.assert_allclose(moved.body[0, 1, :2], ROOT, atol=1e-6)


def test_walking_nearer_makes_the_figure_grow():
    driver = clip([figure(SIZE), figure(SIZE, scale=1.5)])
    moved = retarget(driver, SIZE, reference(), REFERENCE_SIZE)
    first, second = np.linalg.norm(bones(moved.body, REFERENCE_SIZE), axis=2)
    np.testing.assert_allclose(second / first, 1.5, rtol=0.01)


def test_half_body_driver_moves_the_upper_body(driver):
    half = clip(list(driver.body.copy()))
    half.body[:, [*LEGS, 8, 11], 2] = 0
    moved = retarget(half, SIZE, reference(), REFERENCE_SIZE)
    whole = retarget(driver, SIZE, reference(), REFERENCE_SIZE)
    upper = [0, 1, 2, 3, 4, 5, 6, 7]
    np.testing.assert_allclose(moved.body[:, upper], whole.body[:, upper], atol=1e-5)
    assert not moved.body[:, LEGS, 2].any()


def test_what_a_half_body_reference_hides_scales_with_the_body(driver):
    half = reference()
    half.body[:, [*LEGS, 8, 11], 2] = 0
    moved = retarget(driver, SIZE, half, REFERENCE_SIZE)
    ends = [child for child, _ in BONES]
    shin = ends.index(10)
    lengths = np.linalg.norm(bones(moved.body, REFERENCE_SIZE), axis=2)[:, shin]
    np.testing.assert_allclose(lengths / LENGTHS[10], 1.2, rtol=0.01)


@pytest.mark.parametrize(("right", "left"), list(MIRRORED.items()))
def test_limb_hidden_or_short_on_one_side_is_completed_by_the_other(driver, right, left):
    whole = retarget(driver, SIZE, reference(), REFERENCE_SIZE)
    one_sided = reference()
    one_sided.body[0, left, 2] = 0
    moved = retarget(driver, SIZE, one_sided, REFERENCE_SIZE)
    np.testing.assert_allclose(moved.body[..., :2], whole.body[..., :2], atol=2e-3)


def test_reference_without_a_person_is_refused(driver):
    empty = reference()
    empty.body[..., 2] = 0
    with pytest.raises(ClipError, match="reference"):
        retarget(driver, SIZE, empty, REFERENCE_SIZE)


def test_clip_without_a_person_stays_as_it_is(driver):
    driver.body[..., 2] = 0
    assert retarget(driver, SIZE, reference(), REFERENCE_SIZE) is driver
