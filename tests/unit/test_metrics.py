"""Figures of the preprocessing: what blinks, what is doubted, cuts and shots of nobody."""

from dataclasses import replace

import numpy as np

from animate.pose.keypoints import Keypoints, stack
from animate.results.metrics import pose_metrics

SIZE, RATE, COUNT = (640, 360), 20.0, 100
LEFT_HIP = 11


def still() -> Keypoints:
    """Return 5 s of somebody of whom everything is seen."""
    parts = tuple(np.tile((0.5, 0.5, 1.0), (points, 1)) for points in (20, 21, 21, 69))
    return stack([parts] * COUNT, [1] * COUNT)


def metrics(keypoints: Keypoints, shots=(0,)) -> dict[str, float]:
    return pose_metrics(keypoints, SIZE, RATE, shots)


def test_nothing_to_be_said_of_somebody_who_is_seen():
    good = {"plausible": 1, "blinks": 0, "cuts": 0, "shots_without_person": 0, "longest_gap": 0}
    assert good.items() <= metrics(still()).items()


def test_hands_and_hips_blink_when_they_vanish_shortly_within_a_shot():
    keypoints = still()
    for start, stop in ((10, 11), (30, 40), (60, 71), (95, 100)):
        keypoints.left_hand[start:stop, :, 2] = 0
    keypoints.body[50:53, LEFT_HIP, 2] = 0.4
    # One of one frame, one of half a second, and a hip: in five seconds.
    assert metrics(keypoints)["blinks"] == 6
    assert metrics(keypoints, (0, 40, 52))["blinks"] == 2


def test_doubted_bodies_cuts_and_shots_of_nobody():
    keypoints = still()
    doubted = np.arange(COUNT) < 25
    found = metrics(replace(keypoints, found=~doubted, doubted=doubted), (0, 25, 60))
    assert found["plausible"] == found["body"] == 0.75 and found["longest_gap"] == 25
    assert found["cuts"] == 2 and found["shots_without_person"] == 1
    nobody = metrics(stack([None] * COUNT, [0] * COUNT), (0, 25, 60))
    assert nobody["plausible"] == 1 and nobody["shots_without_person"] == 3
