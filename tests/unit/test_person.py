"""One person is chosen and stays the same."""

import numpy as np
import pytest

from animate.errors import ClipError
from animate.matte import backend as matte
from animate.pose.backends import backend as pose
from animate.pose.gaps import bridge_gaps
from animate.pose.person import choose
from animate.pose.retarget import MIRRORED
from animate.pose.tracking import Tracker
from animate.results.metrics import mask_metrics, pose_metrics
from difficult import (
    close_up,
    crossing,
    crossing_in_front,
    driver,
    leaves_and_returns,
    passer_by,
    place,
    plain,
    still,
    tiny,
    upside_down,
)

BOXES = np.array([[0, 0, 50, 80], [280, 100, 380, 300], [400, 50, 640, 360]], float)
SIZE = (640, 360)
NECK = 1


@pytest.mark.parametrize(
    ("person", "index"),
    [("largest", 2), ("center", 1), ("20,30", 0), ("390, 60", 1), ("410,60", 2)],
)
def test_choice(person, index):
    assert choose(BOXES, SIZE, person) == index


@pytest.mark.parametrize("person", ["tallest", "1", "1,2,3", "700,10", "-1,5", ""])
def test_choice_that_cannot_be(person):
    with pytest.raises(ClipError, match="person"):
        choose(BOXES, SIZE, person)


def two_people(first: int, second: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a frame with a red and a green box at these x, and the boxes."""
    frame = np.full((360, 640, 3), 90, np.uint8)
    boxes = np.array([[first, 100, first + 80, 300], [second, 100, second + 80, 300]], float)
    for (x1, y1, x2, y2), colour in zip(boxes.astype(int), ((200, 0, 0), (0, 200, 0)), strict=True):
        frame[max(y1, 0) : y2, max(x1, 0) : x2] = colour
    return frame, boxes


def test_tracker_keeps_the_person_when_two_cross_and_the_order_changes():
    tracker, picks = Tracker("100,200"), []
    for step in range(30):
        frame, boxes = two_people(60 + 15 * step, 500 - 15 * step)
        order = -1 if step % 2 else 1
        picks.append(tracker.pick(boxes[::order], frame))
        assert picks[-1] in (None, 0 if order == 1 else 1)
    assert picks.count(None) < 10 and picks[-1] is not None


def test_tracker_does_not_take_another_person_when_its_own_is_gone():
    tracker = Tracker("100,200")
    frame, boxes = two_people(60, 300)
    assert tracker.pick(boxes, frame) == 0
    for step in range(60):
        frame, boxes = two_people(-200, max(300 - 10 * step, 60))
        assert tracker.pick(boxes[1:], frame) is None
    frame, boxes = two_people(500, 60)
    assert tracker.pick(boxes, frame) == 0


def test_passer_by_never_takes_over():
    keypoints = pose("mediapipe").detect([*crossing()])
    assert keypoints.found.all() and keypoints.people.max() == 2
    drift = keypoints.body[:, NECK, 0] * 640 - (220 + 2 * np.arange(40))
    assert np.abs(drift).max() < 15


@pytest.mark.parametrize(
    "passer",
    [passer_by(240), passer_by(320), driver(240)[:, ::-1]],
    ids=["small", "large", "same clothes"],
)
def test_passer_by_in_front_does_not_take_over(passer):
    keypoints = pose("mediapipe").detect([*crossing_in_front(passer)])
    drift = np.abs(keypoints.body[:, NECK, 0] * 640 - 290)
    # While being hidden, the pose may lean to the one in front.
    assert drift[keypoints.found].max() < 100 and drift[-6:].max() < 20
    assert keypoints.found[:14].all() and keypoints.found[-6:].all()


def test_of_two_dressed_alike_the_one_who_stood_is_the_one_who_stands():
    tracker = Tracker("320,200")
    for step in range(40):
        x = 600 - 16 * step
        frame = np.full((360, 640, 3), 90, np.uint8)
        frame[100:300, 280:360] = frame[110:310, max(x, 0) : max(x + 80, 0)] = (200, 0, 0)
        passer, standing = [x, 110, x + 80, 310], [280, 100, 360, 300]
        hidden = abs(x - 280) < 40
        index = tracker.pick(np.array([passer] + [standing] * (not hidden), float), frame)
        assert index == (None if hidden else 1)


def test_a_passer_by_in_the_first_frames_does_not_win_the_clip():
    passing, both = (np.full((360, 640, 3), 90, np.uint8) for _ in range(2))
    place(passing, passer_by(200), 420)
    place(both, passer_by(200), 420)
    place(both, driver(), 60)
    keypoints = pose("mediapipe").detect([passing] * 3 + [both] * 14)
    assert keypoints.people.tolist() == [1] * 3 + keypoints.people[3:].tolist()
    assert keypoints.found.tolist() == [False] * 3 + [True] * 14
    assert np.abs(keypoints.body[3:, NECK, 0] * 640 - 180).max() < 15


def test_point_chooses_the_other_person():
    keypoints = pose("mediapipe").detect(list(crossing())[:2], person="540,240")
    assert (keypoints.body[:, NECK, 0] * 640 > 480).all()


def test_person_who_leaves_is_blank_and_returns():
    keypoints = pose("mediapipe").detect([*leaves_and_returns()])
    assert keypoints.found[:12].all() and keypoints.found[-10:].all()
    gone = ~keypoints.found
    assert gone[20:30].all()
    assert not bridge_gaps(keypoints, 24).body[gone].any()
    metrics = pose_metrics(keypoints, SIZE, 24)
    assert metrics["held_or_blank"] == gone.sum() == metrics["longest_gap"]
    assert metrics["body"] == pytest.approx(1 - gone.mean(), abs=1e-4)
    assert metrics["jumps"] == 0


@pytest.mark.parametrize("value", [0, 128, 255])
def test_nobody_in_a_plain_picture(value):
    keypoints = pose("mediapipe").detect([*plain(value)])
    metrics = pose_metrics(keypoints, SIZE, 24)
    assert (metrics["body"], metrics["people"], metrics["longest_gap"]) == (0, 0, 6)
    masks = list(matte("mediapipe").masks(plain(value), keypoints.body))
    assert mask_metrics(masks) == {"mask": 0, "without_mask": 6, "mask_area": 0}


def test_close_up_of_a_face_is_a_person_with_a_mask():
    frames = list(close_up())
    keypoints = pose("mediapipe").detect(frames)
    assert keypoints.found.all() and keypoints.face_found.all()
    masks = list(matte("mediapipe").masks(frames, keypoints.body * (*SIZE, 1)))
    assert min(mask.mean() for mask in masks) > 0.2


@pytest.mark.parametrize(("scene", "x", "y"), [(upside_down, 345, 155), (tiny, 323, 322)])
def test_person_upside_down_or_tiny_is_found(scene, x, y):
    keypoints = pose("mediapipe").detect([*scene()])
    assert keypoints.found.all()
    necks = keypoints.body[:, NECK, :2] * SIZE
    assert np.abs(necks - (x, y)).max() < 25


def test_mask_covers_the_person_and_not_the_passer_by():
    frames = list(crossing())[:8]
    keypoints = pose("mediapipe").detect(frames)
    body = keypoints.body * (*SIZE, 1)
    for number, mask in enumerate(matte("mediapipe").masks(frames, body)):
        assert mask.dtype == np.uint8 and set(np.unique(mask)) == {0, 1}
        left = 100 + 2 * number
        assert mask[200:, left + 80 : left + 200].mean() > 0.8
        assert mask[:, 430:].mean() < 0.02
    # Points of the user's may lack a neck.
    body[:, NECK] = 0
    *_, other = matte("mediapipe").masks(frames, body)
    assert (other != mask).mean() < 0.02


def test_still_person_does_not_tremble():
    keypoints = pose("mediapipe").detect([*still()])
    steps = np.diff(keypoints.body[2:, NECK, :2] * SIZE, axis=0)
    assert np.abs(steps).max() < 5


def test_sides_are_the_persons_own():
    """The astronaut faces the camera, so her right is left in the picture."""
    body = pose("mediapipe").detect_picture(next(still())).body[0]
    for right, left in MIRRORED.items():
        if min(body[right, 2], body[left, 2]) >= 0.5 and right < 18:
            assert body[right, 0] < body[left, 0]
    nose, neck, right_shoulder, left_shoulder = body[[0, 1, 2, 5], :2]
    np.testing.assert_allclose(neck, (right_shoulder + left_shoulder) / 2, atol=1e-6)
    eyes, ears = body[[14, 15], :2], body[[16, 17], :2]
    assert eyes[:, 1].max() < nose[1] < neck[1]
    assert ears[0, 0] < eyes[0, 0] < nose[0] < eyes[1, 0] < ears[1, 0]
