"""The One-Euro filter steadies what is still and follows what moves."""

import numpy as np
import pytest

from animate.keypoints import stack
from animate.smoothing import one_euro, smooth_keypoints

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
