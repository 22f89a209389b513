"""Clips of odd lengths, sizes and contents go through every stage of preprocessing."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

import stages
from animate.config.settings import ClipSettings
from animate.errors import ClipError
from animate.pose.face import CROP_SIZE
from animate.pose.keypoints import Keypoints
from animate.video.files import VideoWriter, read_masks, read_video, video_info
from animate.video.timeline import Timeline
from difficult import RATE, driver, plain, still, write_clip

SETTINGS = ClipSettings(resolution_area="192x112", fps="source", smooth_pose=True)
stage = partial(stages.stage, settings=SETTINGS)


def detect(video: Path, folder: Path) -> None:
    """Write the timeline and the keypoints of a driving video into `folder`."""
    timeline = folder / "timeline.json"
    stage("timeline", video=video, output=timeline)
    stage("keypoints", video=video, timeline=timeline, output=folder / "keypoints.npz")


def outline(video: Path, folder: Path) -> None:
    """Write the person's mask."""
    timeline, keypoints = folder / "timeline.json", folder / "keypoints.npz"
    person = folder / "person.mp4"
    stage("person_mask", video=video, timeline=timeline, keypoints=keypoints, output=person)


def draw(video: Path, folder: Path) -> None:
    """Write what replacement makes of the timeline, the keypoints and the person's mask."""
    timeline, keypoints = folder / "timeline.json", folder / "keypoints.npz"
    pose, person, mask = (folder / f"{name}.mp4" for name in ("pose", "person", "mask"))
    clip = {"video": video, "timeline": timeline}
    stage("pose_video", timeline=timeline, keypoints=keypoints, output=pose)
    stage("face_video", **clip, keypoints=keypoints, output=folder / "face.mp4")
    stage("mask", timeline=timeline, person_mask=person, output=mask)
    stage("background", **clip, mask=mask, output=folder / "background.mp4")
    drawn = {"pose": pose, "person_mask": person, "mask": mask}
    pages = {"sheet": folder / "preview.png", "metrics": folder / "metrics.json"}
    stage("preview", **clip, keypoints=keypoints, **drawn, **pages)


def check(folder: Path, count: int) -> None:
    """Require `count` frames of the right size in every video, and a person in the drawings."""
    model_size = Timeline.from_json(folder / "timeline.json").model_size
    for video in ("pose", "face", "person", "mask", "background"):
        size = (CROP_SIZE, CROP_SIZE) if video == "face" else model_size
        info = video_info(folder / f"{video}.mp4")
        assert (info.frame_count, info.frame_rate, info.size) == (count, RATE, size)
    assert all(frame.max() > 60 for frame in read_video(folder / "pose.mp4"))
    assert all(mask.any() for mask in read_masks(folder / "mask.mp4"))
    assert json.loads((folder / "metrics.json").read_text())["body"] == 1


def resized(width: int, height: int) -> Iterator[np.ndarray]:
    """Yield 3 frames of a person, squeezed into the size."""
    yield from [cv2.resize(driver(), (width, height), interpolation=cv2.INTER_AREA)] * 3


CLIPS = {
    "one frame": lambda: list(still())[:1],
    "two frames": lambda: list(still())[:2],
    "odd size": lambda: resized(321, 241),
    "flat": lambda: resized(640, 32),
}
CLIPS_OF_NOBODY = {
    "nobody": lambda: list(plain(128))[:1],
    "narrow": lambda: resized(32, 640),
    "tiny": lambda: resized(2, 2),
}


def make(frames: Iterable[np.ndarray], folder: Path) -> Path:
    return write_clip(folder / "a.mp4", frames, pix_fmt="yuv444p")


@pytest.mark.parametrize("name", CLIPS)
def test_clip_goes_through_every_stage(name, tmp_path):
    frames = list(CLIPS[name]())
    video = make(frames, tmp_path)
    detect(video, tmp_path)
    outline(video, tmp_path)
    draw(video, tmp_path)
    check(tmp_path, len(frames))
    assert Keypoints.load(tmp_path / "keypoints.npz").found.all()


@pytest.mark.parametrize("name", CLIPS_OF_NOBODY)
def test_clip_without_a_person_is_refused_in_one_sentence(name, tmp_path):
    with pytest.raises(ClipError, match=r"finds no person in driving video .*a\.mp4") as caught:
        detect(make(CLIPS_OF_NOBODY[name](), tmp_path), tmp_path)
    assert "\n" not in str(caught.value)


def test_a_shot_without_anybody_is_named_with_its_seconds(tmp_path, caplog):
    video = make([*[*still()][:6], *plain(128)], tmp_path)
    timeline, keypoints = tmp_path / "timeline.json", tmp_path / "keypoints.npz"
    stage("timeline", video=video, output=timeline)
    replace(Timeline.from_json(timeline), shots=(0, 6)).to_json(timeline)
    stage("keypoints", video=video, timeline=timeline, output=keypoints)
    assert "no person from 0:00.2 to 0:00.5 of the clip" in caplog.text
    assert Keypoints.load(keypoints).shown.tolist() == [True] * 6 + [False] * 6
    assert caplog.text.count("no person") == 1


@pytest.mark.parametrize("size", [(32, 640), (2, 2)])
def test_person_of_any_size_is_drawn(size, tmp_path):
    """Other backends may find a person and an outline where these find none."""
    detect(make(list(still())[:3], tmp_path), tmp_path)
    video = make(resized(*size), tmp_path)
    stage("timeline", video=video, output=tmp_path / "timeline.json")
    with pytest.raises(ClipError, match="finds no outline"):
        outline(video, tmp_path)
    width, height = Timeline.from_json(tmp_path / "timeline.json").model_size
    with VideoWriter(tmp_path / "person.mp4", (width, height), RATE, "mask") as masks:
        for _ in range(3):
            masks.write(cv2.circle(np.zeros((height, width), np.uint8), (8, 8), 5, 255, -1))
    draw(video, tmp_path)
    check(tmp_path, 3)
