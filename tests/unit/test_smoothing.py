"""The One-Euro filter steadies what is still and follows what moves."""

import numpy as np
import pytest

from animate.pose.keypoints import EMPTY, stack
from animate.pose.smoothing import HAND, one_euro, smooth_keypoints

RATE = 25


def test_jitter_shrinks_and_the_place_stays():
    noisy = 5 + 0.02 * np.random.default_rng(0).standard_normal((200, 3))
    smooth = one_euro(noisy, RATE)
    assert np.abs(np.diff(smooth, axis=0)).mean() < 0.4 * np.abs(np.diff(noisy, axis=0)).mean()
    np.testing.assert_allclose(smooth.mean(axis=0), noisy.mean(axis=0), atol=0.01)


def test_even_movement_does_not_lag():
    moving = np.linspace(0, 8, 100)[:, None]
    assert np.abs(one_euro(moving, RATE) - moving)[10:-10].max() < 0.02


@pytest.mark.parametrize("count", [1, 2])
def test_short_and_constant_signals_are_unchanged(count):
    np.testing.assert_array_equal(
        one_euro(np.full((count, 2), 3.0), RATE), np.full((count, 2), 3.0)
    )


def test_runs_of_a_person_do_not_pull_on_each_other():
    def parts(x):
        return tuple(np.full((points, 3), x) for points in (20, 21, 21, 69))

    keypoints = stack([parts(0.2)] * 5 + [None] * 3 + [parts(0.8)] * 5, [1] * 13)
    smooth = smooth_keypoints(keypoints, RATE)
    for name, value in vars(keypoints).items():
        np.testing.assert_allclose(getattr(smooth, name), value, atol=1e-6)


@pytest.mark.parametrize("score", [0, 0.4])
def test_a_hidden_point_pulls_on_no_frame_and_stays_as_it_is(score):
    """The right wrist of a trembling person is a guess in frames 10 to 12."""
    places = 0.5 + 0.01 * np.random.default_rng(0).standard_normal(20)
    keypoints = stack([tuple(np.full_like(part, 0.5) for part in EMPTY)] * 20, [1] * 20)
    keypoints.body[:, 4, 0] = places
    keypoints.body[10:13, 4] = 0, 0, score
    smooth = smooth_keypoints(keypoints, RATE).body[:, 4, 0]
    runs = [HAND * one_euro(places[run] / HAND, RATE) for run in (slice(10), slice(13, 20))]
    np.testing.assert_allclose(smooth, [*runs[0], 0, 0, 0, *runs[1]], atol=1e-6)


def test_a_point_beside_a_hidden_one_is_smoothed_through():
    places = 0.5 + 0.01 * np.random.default_rng(0).standard_normal(20)
    keypoints = stack([tuple(np.full_like(part, x) for part in EMPTY) for x in places], [1] * 20)
    keypoints.body[..., 2] = 1
    whole = smooth_keypoints(keypoints, RATE).body[:, 3]
    assert np.abs(np.diff(whole[:, 0])).mean() < 0.6 * np.abs(np.diff(places)).mean()
    keypoints.body[10:13, 4, 2] = 0
    np.testing.assert_array_equal(smooth_keypoints(keypoints, RATE).body[:, 3], whole)
