"""Retargeting keeps directions and takes the reference's proportions and place."""

import numpy as np
import pytest

from animate.errors import ClipError
from animate.pose.keypoints import Keypoints
from animate.pose.retarget import MIRRORED, limb_ratios, retarget
from skeletons import (
    ENDS,
    LEGS,
    LENGTHS,
    REFERENCE_SIZE,
    ROOT,
    SIZE,
    TWINS,
    bones,
    clip,
    figure,
    lengths,
    ratios,
    reference,
    stretched,
)


@pytest.fixture
def driver() -> Keypoints:
    """A person who waves and walks: all bones turn in the picture's plane."""
    return clip([figure(SIZE, turn=turn) for turn in np.linspace(-40, 40, 15)])


@pytest.mark.parametrize("scale", [1.2, 0.05])
def test_bones_take_the_reference_lengths(driver, scale):
    person = reference(scale)
    moved = retarget(driver, SIZE, person, REFERENCE_SIZE)
    np.testing.assert_allclose(ratios(moved, person), 1, rtol=0.01)


def test_bones_take_lengths_far_from_the_drivers(driver):
    chibi = reference(**stretched(LEGS, 0.25), **stretched((0, 14, 15, 16, 17), 3))
    moved = retarget(driver, SIZE, chibi, REFERENCE_SIZE)
    np.testing.assert_allclose(ratios(moved, chibi), 1, rtol=0.01)


@pytest.mark.parametrize("person", [reference(), clip([figure(REFERENCE_SIZE, scale=1.2)])])
@pytest.mark.parametrize("first", [0, 3])
@pytest.mark.parametrize("aside", [0, 0.3])
def test_foreshortened_forearms_stay_so_and_shorten_no_other_frame(person, first, aside):
    """Seven of ten frames are foreshortened; the others stand in its place or aside of it."""
    short = np.isin(np.arange(10), np.arange(first, first + 7))
    factors = np.where(short, 0.6, 1)
    driver = clip([figure(SIZE, turn=n, _4=f, _7=f) for n, f in enumerate(factors)])
    driver.body[~short, :, 0] += aside
    moved = ratios(retarget(driver, SIZE, person, REFERENCE_SIZE), person)
    forearms = [ENDS.index(4), ENDS.index(7)]
    np.testing.assert_allclose(moved[:, forearms], np.transpose([factors] * 2), rtol=0.01)
    np.testing.assert_allclose(np.delete(moved, forearms, axis=1), 1, rtol=0.01)


@pytest.mark.parametrize(("short", "long"), TWINS)
def test_limb_foreshortened_throughout_is_as_long_as_its_twin(short, long):
    driver = clip([figure(SIZE, turn=turn, **stretched([short], 0.5)) for turn in (0, 10)])
    moved = ratios(retarget(driver, SIZE, reference(), REFERENCE_SIZE), reference())
    np.testing.assert_allclose(moved[:, ENDS.index(short)], 0.5, rtol=0.01)
    np.testing.assert_allclose(moved[:, ENDS.index(long)], 1, rtol=0.01)


@pytest.mark.parametrize("wrong", [0, 2])
def test_a_wrong_point_changes_no_other_frame(wrong):
    bodies = [figure(SIZE, turn=turn) for turn in (0, 5, 10)]
    bodies[wrong] = figure(SIZE, _4=3)
    moved = ratios(retarget(clip(bodies), SIZE, reference(), REFERENCE_SIZE), reference())
    np.testing.assert_allclose(np.delete(moved, wrong, axis=0), 1, rtol=0.01)


@pytest.mark.parametrize("length", [0, 1])
@pytest.mark.filterwarnings("error")
def test_bone_that_points_at_the_camera_throughout_scales_with_the_body(driver, length):
    """The wrist is beside the elbow, on a side that changes from frame to frame."""
    sides = np.resize([length, -length], len(driver)) / SIZE[0]
    for wrist, elbow in ((4, 3), (7, 6)):
        driver.body[:, wrist, 0] = driver.body[:, elbow, 0] + sides
        driver.body[:, wrist, 1] = driver.body[:, elbow, 1]
    moved = retarget(driver, SIZE, reference(), REFERENCE_SIZE)
    forearm = lengths(moved, REFERENCE_SIZE)[:, ENDS.index(4)]
    np.testing.assert_allclose(forearm, 1.2 * length, atol=0.01)


def test_joints_keep_the_driving_directions(driver):
    moved = bones(retarget(driver, SIZE, reference(), REFERENCE_SIZE).body, REFERENCE_SIZE)
    before = bones(driver.body, SIZE)
    angles = [np.degrees(np.arctan2(b[..., 1], b[..., 0])) for b in (moved, before)]
    difference = (angles[0] - angles[1] + 180) % 360 - 180
    assert np.abs(difference).max() < 0.5


def test_hands_stay_on_their_wrists_and_scale_with_the_body(driver):
    """The hands were found 8 pixels beside their wrists."""
    driver.left_hand[..., 0] += 8 / SIZE[0]
    driver.right_hand[..., 0] -= 8 / SIZE[0]
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


def same_person() -> Keypoints:
    """Return a person who comes nearer from the left, unlike on both sides, in one frame with the
    forearms towards the camera and in one with the right hand out of sight."""
    uneven = stretched([3], 0.6) | stretched([9], 0.8)
    bodies = [
        figure(SIZE, turn=5, **uneven),
        figure(SIZE, turn=5, scale=1.1, **uneven),
        figure(SIZE, turn=10, scale=1.2, **uneven | stretched((4, 7), 0.4)),
        figure(SIZE, turn=20, scale=1.3, **uneven),
    ]
    for frame, body in enumerate(bodies):
        body[:, 0] += 0.1 * frame
    bodies[3][4, 2] = 0
    return clip(bodies)


@pytest.mark.parametrize("frame", range(4))
@pytest.mark.parametrize("enlarged", [1, 3])
def test_nothing_changes_when_driver_and_reference_agree(frame, enlarged):
    driver = same_person()
    size = (SIZE[0] * enlarged, SIZE[1] * enlarged)
    moved = retarget(driver, SIZE, clip([driver.body[frame]]), size)
    for name, value in vars(driver).items():
        np.testing.assert_allclose(getattr(moved, name), value, atol=1e-5)


def test_little_changes_when_the_reference_is_a_frame_with_other_noise():
    driver = same_person()
    noisy = driver.body[2].copy()
    noisy[:, :2] += np.random.default_rng(0).normal(size=(20, 2)) / SIZE
    moved = retarget(driver, SIZE, clip([noisy]), SIZE)
    wrists = np.abs((moved.body - driver.body)[:, [4, 7], :2] * SIZE)
    assert wrists.max() < 15


def test_bones_take_the_lengths_of_a_reference_that_is_almost_the_driver(driver):
    almost = clip([figure(SIZE, turn=0, **stretched((4, 7), 0.95))])
    moved = retarget(driver, SIZE, almost, SIZE)
    wanted = np.repeat(lengths(almost, SIZE), len(driver), axis=0)
    np.testing.assert_allclose(lengths(moved, SIZE), wanted, rtol=0.01)


def test_forearms_hidden_where_driver_and_reference_agree_take_the_reference_lengths():
    hidden = figure(SIZE)
    hidden[[4, 7], 2] = 0
    driver = clip([hidden, figure(SIZE, turn=60)])
    driver.body[1, :, 0] += 0.3
    person = clip([figure(SIZE, **stretched((4, 7), 0.7))])
    moved = retarget(driver, SIZE, person, SIZE)
    np.testing.assert_allclose(lengths(moved, SIZE)[1], lengths(person, SIZE)[0], rtol=0.01)


def test_figure_stands_where_the_reference_stands(driver):
    moved = retarget(driver, SIZE, reference(), REFERENCE_SIZE)
    np.testing.assert_allclose(moved.body[0, 1, :2], ROOT, atol=1e-6)


@pytest.mark.parametrize(("hidden", "start"), [([], 0), ([1], 0.3), ([2, 3, 4], 0.1)])
def test_figure_stands_where_the_reference_stands_in_the_frame_most_like_it(hidden, start):
    """The driver walks by, in the second frame where the reference stands in its picture; the
    reference hides the legs, which the detector puts far to the right."""
    places = np.array([-0.4, 0, start, start + 0.05])
    driver = clip([figure(SIZE, turn=10)] * 4)
    driver.body[..., 0] += places[:, None]
    driver.body[1, hidden, 2] = 0
    person = reference()
    person.body[0, [8, 11, *LEGS]] = 2, 0.5, 0
    moved = retarget(driver, SIZE, person, REFERENCE_SIZE)
    necks = (moved.body[:, 1, :2] - ROOT) * REFERENCE_SIZE
    wanted = np.outer(places - start, [1.2 * SIZE[0], 0])
    np.testing.assert_allclose(necks, wanted, atol=0.5)


@pytest.mark.parametrize("frame", [0, 2])
def test_walking_nearer_makes_the_figure_grow(frame):
    driver = clip([figure(SIZE, turn=turn, scale=1 + turn / 20) for turn in range(0, 60, 10)])
    sizes = 1 + np.arange(6) / 2
    person = clip([figure(SIZE, scale=sizes[frame], **stretched((4, 7), 0.8))])
    moved = lengths(retarget(driver, SIZE, person, SIZE), SIZE)
    wanted = sizes[:, None] / sizes[frame] * lengths(person, SIZE)
    np.testing.assert_allclose(moved, wanted, rtol=0.01)


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
    shin = lengths(moved, REFERENCE_SIZE)[:, ENDS.index(10)]
    np.testing.assert_allclose(shin / LENGTHS[10], 1.2, rtol=0.01)


@pytest.mark.parametrize(("hidden", "shown"), TWINS)
def test_limb_hidden_on_one_side_is_completed_by_the_other(driver, hidden, shown):
    whole = retarget(driver, SIZE, reference(), REFERENCE_SIZE)
    one_sided = reference()
    one_sided.body[0, hidden, 2] = 0
    moved = retarget(driver, SIZE, one_sided, REFERENCE_SIZE)
    np.testing.assert_allclose(moved.body[..., :2], whole.body[..., :2], atol=2e-3)


@pytest.mark.parametrize("short", [end for twins in MIRRORED.items() for end in twins])
def test_limb_short_on_one_side_of_the_reference_is_as_long_as_the_other(driver, short):
    whole = lengths(retarget(driver, SIZE, reference(), REFERENCE_SIZE), REFERENCE_SIZE)
    one_sided = reference(**stretched([short], 0.5))
    moved = lengths(retarget(driver, SIZE, one_sided, REFERENCE_SIZE), REFERENCE_SIZE)
    np.testing.assert_allclose(moved, whole, rtol=0.01)


@pytest.mark.parametrize("score", [0, 0.4])
@pytest.mark.parametrize("joint", [1, 2, 3, 5, 6, 9, 12])
def test_nothing_moves_in_a_frame_that_hides_a_joint(driver, joint, score):
    whole = retarget(driver, SIZE, reference(), REFERENCE_SIZE)
    driver.body[3:5, joint, 2] = score
    moved = retarget(driver, SIZE, reference(), REFERENCE_SIZE)
    for part in ("body", "left_hand", "right_hand"):
        places = getattr(moved, part)[..., :2] * REFERENCE_SIZE
        np.testing.assert_allclose(places, getattr(whole, part)[..., :2] * REFERENCE_SIZE, atol=0.5)


@pytest.mark.parametrize(("part", "wrist", "elbow"), [("left_hand", 7, 6), ("right_hand", 4, 3)])
def test_hand_of_a_hidden_wrist_stays_on_the_forearm(driver, part, wrist, elbow):
    whole = retarget(driver, SIZE, reference(), REFERENCE_SIZE)
    driver.body[3:5, wrist] = 0.9, 0.9, 0.4
    moved = retarget(driver, SIZE, reference(), REFERENCE_SIZE)
    places, wanted = (getattr(k, part)[..., :2] * REFERENCE_SIZE for k in (moved, whole))
    np.testing.assert_allclose(places, wanted, atol=0.5)


@pytest.mark.parametrize(("part", "wrist", "elbow"), [("left_hand", 7, 6), ("right_hand", 4, 3)])
@pytest.mark.parametrize("wrist_score", [0, 1])
def test_arm_without_an_elbow_moves_with_the_body(driver, part, wrist, elbow, wrist_score):
    driver.body[3, elbow] = 0
    driver.body[3, wrist, 2] = wrist_score
    moved = retarget(driver, SIZE, reference(), REFERENCE_SIZE)
    arm = (driver.body[3, wrist] - driver.body[3, 1])[:2] * SIZE
    wanted = ROOT * REFERENCE_SIZE + 1.2 * arm
    for root in (moved.body[3, wrist], getattr(moved, part)[3, 0]):
        np.testing.assert_allclose(root[:2] * REFERENCE_SIZE, wanted, atol=0.5)


def test_reference_without_a_person_is_refused(driver):
    empty = reference()
    empty.body[..., 2] = 0
    with pytest.raises(ClipError, match="reference"):
        retarget(driver, SIZE, empty, REFERENCE_SIZE)


def test_clip_without_a_person_stays_as_it_is(driver):
    driver.body[..., 2] = 0
    assert retarget(driver, SIZE, reference(), REFERENCE_SIZE) is driver


def test_limbs_are_measured_against_the_rest_of_the_body(driver):
    def measured(**factors):
        person = clip([figure(REFERENCE_SIZE, turn=10, **factors)])
        return limb_ratios(driver, SIZE, person, REFERENCE_SIZE)

    limbs = {"shoulders", "upper arms", "forearms", "thighs", "shins"}
    for factors in ({}, {"scale": 1.7}):
        assert measured(**factors) == dict.fromkeys(limbs, pytest.approx(1, abs=0.01))
    long = measured(**stretched((9, 12), 1.5))
    assert long == dict.fromkeys(limbs, pytest.approx(1, abs=0.01)) | {
        "thighs": pytest.approx(1.5, abs=0.01)
    }


def test_limbs_that_are_hidden_are_not_measured(driver):
    half = reference()
    half.body[:, LEGS, 2] = 0
    found = limb_ratios(driver, SIZE, half, REFERENCE_SIZE)
    assert set(found) == {"shoulders", "upper arms", "forearms"}
    half.body[..., 2] = 0
    assert limb_ratios(driver, SIZE, half, REFERENCE_SIZE) == {}
