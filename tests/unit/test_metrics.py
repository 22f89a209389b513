"""Figures of the preprocessing: what blinks, what is doubted, cuts and shots of nobody."""

from dataclasses import replace

import numpy as np

from animate.pose.keypoints import Keypoints, stack
from animate.results.metrics import (
    NECK,
    cut_metrics,
    mask_metrics,
    pose_metrics,
    without_given,
    worst_spans,
)

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
    # One of one frame, one of half a second, and a hip: in five seconds, which count as ten.
    assert metrics(keypoints)["blinks"] == 3
    assert metrics(keypoints, (0, 40, 52))["blinks"] == 1


def test_rates_are_those_of_ten_seconds():
    parts = tuple(np.tile((0.5, 0.5, 1.0), (points, 1)) for points in (20, 21, 21, 69))
    long = stack([parts] * 8 * COUNT, [1] * 8 * COUNT)
    long.left_hand[[10, 300, 310, 320, 700], :, 2] = 0
    found = metrics(long, (0, 100, 120, 140, 500))
    assert found["blinks"] == 1.25 and found["cut_rate"] == 1 and found["cuts"] == 4


def test_the_worst_spans_are_the_longest_and_the_densest():
    keypoints = still()
    keypoints.left_hand[[30, 40, 80], :, 2] = 0
    keypoints.face[10:12, :, 2] = keypoints.face[50:80, :, 2] = 0
    found = np.arange(COUNT) < 90
    masked = np.ones(COUNT, bool)
    masked[[3, 5, 6]] = False
    spans = worst_spans(replace(keypoints, found=found), masked, RATE, (0, 20))
    assert spans == {
        "body": (90, 100),
        "face": (50, 80),
        "mask": (5, 7),
        "blinks": (30, 81),
        "cuts": (20, 21),
    }
    # At ten times the rate, ten seconds are not the whole clip.
    slow = worst_spans(keypoints, None, RATE / 10, (0, 20, 50, 60, 65))
    assert slow["cuts"] == (50, 66) and slow["blinks"] == (30, 41)
    assert worst_spans(still(), None, RATE) == {} == worst_spans(None, None, RATE)


def test_doubted_bodies_cuts_and_shots_of_nobody():
    keypoints = still()
    doubted = np.arange(COUNT) < 25
    found = metrics(replace(keypoints, found=~doubted, doubted=doubted), (0, 25, 60))
    assert found["plausible"] == found["body"] == 0.75 and found["longest_gap"] == 25
    assert found["cuts"] == 2 and found["shots_without_person"] == 1
    nobody = metrics(stack([None] * COUNT, [0] * COUNT), (0, 25, 60))
    assert nobody["plausible"] == 1 and nobody["shots_without_person"] == 3


def test_points_without_a_place_do_not_leap():
    """Points of the user's may lack a neck, which then scores 0 and lies at 0, 0."""
    keypoints = still()
    keypoints.body[10:20, NECK] = 0
    assert metrics(keypoints)["jumps"] == 0


def test_what_is_given_is_not_judged_and_cuts_are_known_of_every_clip():
    masks = [np.ones((8, 8), np.uint8)] * 3 + [np.zeros((8, 8), np.uint8)]
    found = cut_metrics(4, RATE, (0, 2)) | mask_metrics(masks)
    assert found["cuts"] == found["cut_rate"] == 1 and found["mask"] == 0.75
    assert without_given(found, ["mask_video"]).keys() == found.keys() - {"mask"}
