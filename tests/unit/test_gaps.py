"""Short gaps of a track are bridged, and nothing blinks."""

from fractions import Fraction

import numpy as np
import pytest

from animate.pose.gaps import bridge_gaps
from animate.pose.keypoints import EMPTY, Keypoints, stack
from animate.pose.smoothing import smooth_keypoints

RATE = 24
RIGHT_WRIST, LEFT_WRIST, LEFT_HIP = 4, 7, 11


def walk(count: int = 60, lost: range = range(0)) -> Keypoints:
    """Return a person who moves evenly to the right and is not seen in the frames `lost`."""
    return stack(
        [
            None
            if n in lost
            else tuple(np.full_like(part, (0.2 + n / 100, 0.2, 0.8)) for part in EMPTY)
            for n in range(count)
        ],
        [1] * count,
    )


def shown(keypoints: Keypoints, part: str = "body", point: int = LEFT_HIP) -> list[int]:
    """Return the frames in which a point is drawn."""
    return np.flatnonzero(getattr(keypoints, part)[:, point, 2] >= 0.5).tolist()


@pytest.mark.parametrize(
    ("rate", "longest"), [(24, 12), (30, 15), (8, 4), (Fraction(30000, 1001), 14)]
)
def test_a_person_lost_for_half_a_second_moves_on_and_one_lost_for_longer_is_absent(rate, longest):
    whole = walk()
    short = bridge_gaps(walk(lost=range(20, 20 + longest)), rate)
    for part in ("body", "left_hand", "right_hand"):
        np.testing.assert_allclose(getattr(short, part), getattr(whole, part), atol=1e-6)
    assert np.flatnonzero(short.bridged).tolist() == [*range(20, 20 + longest)]
    long = bridge_gaps(walk(lost=range(20, 21 + longest)), rate)
    assert not long.bridged.any() and not long.body[20 : 21 + longest].any()
    assert (long.shown == long.found).all()


def test_nothing_is_bridged_over_a_cut_or_before_the_first_and_after_the_last_sight():
    for lost in (range(20, 26), range(5), range(55, 60)):
        cut = bridge_gaps(walk(lost=lost), RATE, (0, 23))
        assert not cut.bridged.any() and not cut.body[list(lost)].any()


def test_a_clip_without_gaps_keeps_every_bit():
    keypoints = walk()
    keypoints.body[:, LEFT_HIP, 2] = 0.45
    keypoints.body[:, 9, 2] = 0.2
    bridged = bridge_gaps(keypoints, RATE)
    for name, value in vars(keypoints).items():
        np.testing.assert_array_equal(getattr(bridged, name), value)


def test_a_point_goes_on_at_a_half_and_off_below_three_tenths():
    keypoints = walk()
    keypoints.body[:, LEFT_HIP, 2] = [0.4] * 10 + [0.5] + [0.31, 0.45] * 10 + [0.29] * 29
    steady = bridge_gaps(keypoints, RATE)
    assert shown(steady) == [*range(10, 31)]
    np.testing.assert_array_equal(steady.body[..., :2], keypoints.body[..., :2])


@pytest.mark.parametrize("part", ["body", "left_hand"])
def test_points_do_not_blink(part):
    keypoints = walk()
    scores = getattr(keypoints, part)[..., 2]
    scores[[10, 12, 20, 21, 30, 31, 32, 33, 34],] = 0
    assert shown(bridge_gaps(keypoints, RATE), part) == [*range(60)]
    scores[:] = 0
    scores[[3, 9, 10, 30, 31, 33, 34, 50, 59]] = 0.9
    assert shown(bridge_gaps(keypoints, RATE), part) == [30, 31, 32, 33, 34]


def test_frames_under_three_between_cuts_stay():
    keypoints = walk()
    assert shown(bridge_gaps(keypoints, RATE, (0, 10, 11, 13))) == [*range(60)]
    assert len(bridge_gaps(walk(1), RATE)) == 1 and shown(bridge_gaps(walk(1), RATE)) == [0]


def test_a_bridged_hand_stays_at_the_wrist():
    keypoints = walk()
    wave = 0.1 * np.sin(np.arange(60) / 2)
    for part, points in (("body", slice(LEFT_WRIST, LEFT_WRIST + 1)), ("left_hand", slice(None))):
        getattr(keypoints, part)[:, points, 1] += wave[:, None]
    expected = keypoints.left_hand.copy()
    keypoints.left_hand[20:30] = 0
    np.testing.assert_allclose(bridge_gaps(keypoints, RATE).left_hand, expected, atol=1e-6)
    # Without a wrist the hand goes straight.
    keypoints.body[25, LEFT_WRIST, 2] = 0
    keypoints.body[40:, LEFT_WRIST, 2] = 0
    keypoints.left_hand[45:50] = 0
    straight = bridge_gaps(keypoints, RATE).left_hand[44:51, 0, 1]
    np.testing.assert_allclose(np.diff(straight, 2), 0, atol=1e-6)


def test_smoothing_does_not_pull_over_a_cut():
    keypoints = walk()
    keypoints.body[30:, :, 1] += 0.4
    cut = smooth_keypoints(keypoints, RATE, (0, 30)).body
    apart = [smooth_keypoints(walk(60), RATE, (0, 30)).body[:30], None]
    np.testing.assert_allclose(cut[:30], apart[0], atol=1e-6)
    assert np.abs(smooth_keypoints(keypoints, RATE).body[:30] - apart[0]).max() > 0.01
