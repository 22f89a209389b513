"""Everybody in sight is numbered, and one of them is chosen by number or by a point."""

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from animate.config.settings import ClipSettings
from animate.errors import ClipError
from animate.pose.follow import follow
from animate.pose.keypoints import Keypoints
from animate.pose.people.census import Person, number_people
from animate.pose.people.choice import Crowd
from animate.pose.people.chosen import Chosen
from animate.video.files import VideoWriter, read_video
from animate.video.timeline import Timeline, make_timeline
from figures import BLUE, GREEN, LEFT, RED, RIGHT, SIZE, boxes_in, picture
from stages import stage
from test_tracking import observe

CLIPS = Path(__file__).parents[2].parent / "shared" / "clips"
BOTH = picture((*LEFT, RED), (*RIGHT, GREEN))
MIDDLE = (270, 150, 60, 150)
NECK = 1


def census(frames: list[np.ndarray], shots: tuple[int, ...] = (0,)) -> tuple[Person, ...]:
    return number_people(frames, shots, lambda frame: (boxes_in(frame), boxes_in(frame)))


def colours(frames: list[np.ndarray], people: tuple[Person, ...]) -> list[str]:
    """Return for each person the colours of all sightings: one letter if the number holds."""
    seen = [{frames[s.frame][tuple(s.whole[[1, 0]].astype(int))].argmax() for s in p.sightings}
            for p in people]  # fmt: skip
    return ["".join("rgb"[colour] for colour in sorted(one)) for one in seen]


def followed(frames: list[np.ndarray], number: int, shots: tuple[int, ...] = (0,)) -> str:
    keypoints = follow(frames, shots, Chosen(number, census(frames, shots)), observe)
    return "".join(
        "rgb"[int(body[0, 0])] if found else "-"
        for body, found in zip(keypoints.body, keypoints.found, strict=True)
    )


def test_numbers_follow_first_appearance_then_left_to_right():
    late = picture((*LEFT, GREEN), (*RIGHT, RED), (*MIDDLE, BLUE))
    frames = [picture((*LEFT, GREEN), (*RIGHT, RED))] * 20 + [late] * 30
    people = census(frames)
    assert colours(frames, people) == ["g", "r", "b"]
    assert [p.first.frame for p in people] == [0, 0, 24]
    assert people[0].first.whole.tolist() == [60, 100, 140, 300]


def test_two_who_cross_keep_their_numbers():
    frames = [
        picture((60 + 5 * n, 100, 80, 200, RED), (500 - 5 * n, 110, 80, 200, GREEN))
        for n in range(90)
    ]
    assert colours(frames, census(frames)) == ["r", "g"]
    for number, letter in ((1, "r"), (2, "g")):
        found = followed(frames, number)
        assert set(found) <= {letter, "-"} and found.count(letter) > 75
        assert found[:40] == letter * 40 and found[-20:] == letter * 20


def test_a_number_holds_over_a_gap_a_cut_and_elsewhere():
    gone, moved = picture((*RIGHT, GREEN)), picture((*MIDDLE, RED), (*LEFT, GREEN))
    frames = [BOTH] * 24 + [gone] * 60 + [BOTH] * 24 + [moved] * 24
    shots = (0, 108)
    assert colours(frames, census(frames, shots)) == ["r", "g"]
    # Nobody is taken in place of who is out of sight.
    expected = "r" * 24 + "-" * 60 + "r" * 48
    found = followed(frames, 1, shots)
    # Frames around a gap count to it until the next look at all.
    assert sum(a != b for a, b in zip(found, expected, strict=True)) <= 7
    assert followed(frames, 2, shots) == "g" * 132


def test_who_is_seen_for_a_moment_only_has_no_number():
    ghost = picture((*LEFT, RED), (*MIDDLE, BLUE))
    frames = [picture((*LEFT, RED))] * 8 + [ghost] * 8 + [picture((*LEFT, RED))] * 40
    assert colours(frames, census(frames)) == ["r"]
    # A short clip has fewer looks.
    assert colours([BOTH] * 3, census([BOTH] * 3)) == ["r", "g"]


@pytest.fixture
def crowd(tmp_path) -> Crowd:
    """Red left and green right for 2 seconds, red alone for 2 more, shown at half the size."""
    frames = [BOTH] * 50 + [picture((*LEFT, RED))] * 50
    with VideoWriter(tmp_path / "clip.mp4", SIZE, 25) as video:
        for frame in frames:
            video.write(frame)
    timeline = make_timeline(tmp_path / "clip.mp4", resolution_area=320 * 180)
    return Crowd(census(frames), timeline)


@pytest.mark.parametrize(
    ("person", "number"),
    [("1", 1), ("2", 2), ("50,90@0", 1), ("250,90@1.5", 2), ("28, 90 @ 3", 1), ("76,90@3.9", 1)],
)
def test_a_number_or_a_point_at_a_second_is_somebody(crowd, person, number):
    assert crowd.timeline.model_size == (320, 176)
    assert crowd.choose(person).number == number


@pytest.mark.parametrize("person", ["largest", "center", "540,200"])
def test_rules_and_points_of_the_first_frame_stay(crowd, person):
    assert crowd.choose(person) == person


@pytest.mark.parametrize(
    ("person", "words"),
    [
        ("3", r"person 3 is not there: .*person 1 \(box 33,49,72,147\) from second 0.00 and"
              r" person 2 \(box 228,49,267,147\) from second 0.00; give"),
        ("160,90@1", r"nobody is near .* person 1 \(box 33,49.*\) and person 2 "),
        ("250,90@3.5", r"at that second the clip shows person 1 \([^)]*\); give"),
        ("50,90@4.5", r"second 4.5, but the clip lasts 4.00 s"),
        ("400,90@1", r"outside the 320x176 frame"),
    ],
)  # fmt: skip
def test_who_is_not_there_is_refused_with_who_is(crowd, person, words):
    with pytest.raises(ClipError, match=words):
        crowd.choose(person)


def test_a_clip_without_anybody_says_so(crowd):
    for person in ("1", "50,90@1"):
        with pytest.raises(ClipError, match="nobody is seen in the clip"):
            replace(crowd, people=()).choose(person)


def test_people_are_written_in_pixels_of_the_models_frames(crowd, tmp_path):
    crowd.save(tmp_path / "people.json")
    people = json.loads((tmp_path / "people.json").read_text())["people"]
    assert people == [
        {"number": 1, "first_second": 0.0, "frame": 0, "box": [33, 49, 72, 147]},
        {"number": 2, "first_second": 0.0, "frame": 0, "box": [228, 49, 267, 147]},
    ]


def duet(folder: Path, count: int) -> Path:
    """Write the shared clips side by side, 360 pixels high."""
    shown = []
    for name in ("market_boy", "talking_head"):
        video = CLIPS / f"{name}.mp4"
        if not video.is_file():
            pytest.skip("the shared clips are not beside the checkout")
        shown.append([cv2.resize(f, (640, 360)) for f in islice(read_video(video), count)])
    with VideoWriter(folder / "duet.mp4", (1280, 360), 25) as video:
        for both in zip(*shown, strict=True):
            video.write(np.hstack(both))
    return folder / "duet.mp4"


def test_each_of_two_in_a_duet_is_tracked_in_all_frames(tmp_path):
    video, timeline = duet(tmp_path, 40), tmp_path / "timeline.json"
    settings = ClipSettings(resolution_area="832x480", fps="source")
    stage("timeline", settings, video=video, output=timeline)
    clip = {"video": video, "timeline": timeline, "output": tmp_path / "keypoints.npz"}
    width = Timeline.from_json(timeline).model_size[0]
    for person in ("1", "2", f"{round(0.25 * width)},150@1"):
        stage("keypoints", settings.model_copy(update={"person": person}), **clip)
        keypoints = Keypoints.load(clip["output"])
        people = json.loads((tmp_path / "people.json").read_text())["people"]
        assert [one["number"] for one in people] == [1, 2]
        left, _, right, _ = people[1 if person == "2" else 0]["box"]
        necks = keypoints.body[:, NECK, 0] * width
        assert keypoints.found.all() and left < necks.min() and necks.max() < right
    assert people[0]["box"][2] < width / 2 < people[1]["box"][0]
    with pytest.raises(ClipError, match=r"person 1 \(box .* and person 2 \(box"):
        stage("keypoints", settings.model_copy(update={"person": "7"}), **clip)
