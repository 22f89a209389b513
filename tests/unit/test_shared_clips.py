"""Real clips: the right person is followed, found and masked."""

from pathlib import Path

import numpy as np
import pytest

from animate.matte import backend as matte
from animate.pose.backends import backend as pose
from animate.pose.drawing import SCORE_THRESHOLD
from animate.pose.face import face_track
from animate.pose.gaps import bridge_gaps
from animate.results.metrics import mask_metrics, pose_metrics
from animate.video.files import DrivingFrames, read_frames
from animate.video.letterbox import Letterbox
from animate.video.timeline import make_timeline

CLIPS = Path(__file__).parents[2].parent / "shared" / "clips"
NECK = 1
# Where the neck of the person is, in 0..1 of the width; others are left of it.
PLACES = {"market_boy": (0.38, 0.62), "talking_head": (0.58, 0.72)}


@pytest.mark.parametrize("name", PLACES)
def test_person_is_found_in_pose_face_and_mask(name):
    video = CLIPS / f"{name}.mp4"
    if not video.is_file():
        pytest.skip("the shared clips are not beside the checkout")
    timeline = make_timeline(video, resolution_area=832 * 480, fps=12)
    keypoints = pose("mediapipe").detect(DrivingFrames(video, timeline))
    metrics = pose_metrics(keypoints, timeline.source_size, 12)
    assert metrics["body"] >= 0.95 and metrics["face"] >= 0.95 and metrics["jumps"] == 0
    low, high = PLACES[name]
    neck = keypoints.body[keypoints.found, NECK, 0]
    assert low < neck.min() and neck.max() < high

    boxes = face_track(keypoints, timeline.source_size, float(timeline.frame_rate))
    middles = (boxes[:, 0] + boxes[:, 2]) / 2 / timeline.source_size[0]
    assert np.abs(middles - keypoints.body[:, NECK, 0]).max() < 0.08

    place = Letterbox(timeline.source_size, timeline.model_size)
    framed = (place.image(frame) for frame in read_frames(video, timeline))
    found = list(matte("mediapipe").masks(framed, place.points(keypoints.body)))
    assert mask_metrics(found)["mask"] >= 0.95
    assert 0.05 < mask_metrics(found)["mask_area"] < 0.4
    assert np.mean([mask[:, : int(0.2 * mask.shape[1])].mean() for mask in found]) < 0.01


def blinks(points: np.ndarray, longest: float) -> int:
    """Return how often points (N, K, 3) are hidden for up to `longest` frames between others."""
    hidden = (points[..., 2] < SCORE_THRESHOLD).all(axis=1).astype(int)
    starts, stops = (np.flatnonzero(np.diff(hidden) == step) for step in (1, -1))
    return sum((stops[stops > start][:1] <= start + longest).sum() for start in starts)


@pytest.mark.parametrize("name", PLACES)
def test_hands_and_hips_do_not_blink(name):
    video = CLIPS / f"{name}.mp4"
    if not video.is_file():
        pytest.skip("the shared clips are not beside the checkout")
    timeline = make_timeline(video, resolution_area=832 * 480, fps="source")
    rate = float(timeline.frame_rate)
    seen = pose("mediapipe").detect(DrivingFrames(video, timeline), shots=timeline.shots)
    keypoints = bridge_gaps(seen, rate, timeline.shots)
    assert keypoints.found.all() and timeline.shots == (0,)
    for hip in (8, 11):
        assert blinks(keypoints.body[:, [hip]], rate / 2) <= timeline.duration / 10
    for hand in (keypoints.left_hand, keypoints.right_hand):
        assert blinks(hand, rate / 2) <= timeline.duration / 10
    assert blinks(seen.left_hand, rate / 2) + blinks(seen.right_hand, rate / 2) > 1
