"""A real clip with a flash, a blur and cuts: no frame shows the driver without mask and pose."""

from dataclasses import replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from animate.config.settings import ClipSettings
from animate.pose.keypoints import Keypoints
from animate.video.files import VideoWriter, read_masks, read_video
from animate.video.timeline import Timeline
from stages import stage

CLIPS = Path(__file__).parents[2].parent / "shared" / "clips"
SIZE, COUNT = (480, 272), 36
SETTINGS = ClipSettings(resolution_area="480x272", fps="source")
FLASH, BLUR = range(10, 13), range(24, 29)


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    video = CLIPS / "talking_head.mp4"
    if not video.is_file():
        pytest.skip("the shared clips are not beside the checkout")
    taken = islice(read_video(video), 0, 2 * COUNT, 2)
    return [cv2.resize(frame, SIZE, interpolation=cv2.INTER_AREA) for frame in taken]


def preprocess(
    frames: list[np.ndarray], folder: Path, shots: tuple[int, ...] = (0,)
) -> tuple[Keypoints, list[np.ndarray], list[np.ndarray]]:
    """Return keypoints, person masks and grown masks of a clip of 15 frames per second."""
    video, timeline, points = (folder / name for name in ("clip.mp4", "t.json", "k.npz"))
    person, mask = folder / "person.mp4", folder / "mask.mp4"
    with VideoWriter(video, SIZE, 15) as writer:
        for frame in frames:
            writer.write(frame)
    stage("timeline", SETTINGS, video=video, output=timeline)
    replace(Timeline.from_json(timeline), shots=shots).to_json(timeline)
    stage("keypoints", SETTINGS, video=video, timeline=timeline, output=points)
    clip = {"video": video, "timeline": timeline, "keypoints": points}
    stage("person_mask", SETTINGS, **clip, output=person)
    stage("mask", SETTINGS, timeline=timeline, person_mask=person, output=mask)
    return Keypoints.load(points), list(read_masks(person)), list(read_masks(mask))


def smeared(frame: np.ndarray) -> np.ndarray:
    """Return a frame of a camera that is torn around."""
    return cv2.blur(frame, (161, 31))


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / max((a | b).sum(), 1)


def test_flash_and_blur_have_a_mask_and_a_pose(frames, tmp_path):
    (tmp_path / "clean").mkdir()
    clean = preprocess(frames, tmp_path / "clean")
    assert clean[0].found.all()
    disturbed = list(frames)
    for number in FLASH:
        disturbed[number] = (235 + 0.08 * frames[number]).astype(np.uint8)
    for number in BLUR:
        disturbed[number] = smeared(frames[number])
    keypoints, person, grown = preprocess(disturbed, tmp_path)
    lost = np.flatnonzero(~keypoints.found)
    assert {*FLASH} <= {*lost} <= {*FLASH, *BLUR} and {*lost} & {*BLUR}
    assert keypoints.shown.all() and all(mask.any() for mask in grown)
    for number in lost:
        assert overlap(person[number], clean[1][number]) > 0.7
        covered = grown[number] & clean[1][number]
        assert covered.sum() > 0.99 * clean[1][number].sum()


def test_nothing_is_carried_or_united_over_a_cut(frames, tmp_path):
    height, width = SIZE[1] // 3, SIZE[0] // 3
    close = [cv2.resize(f[50 : 50 + height, 190 : 190 + width], SIZE) for f in frames[12:24]]
    cut = [*frames[:12], *close, *frames[24:]]
    cut[11] = cut[24] = np.full_like(frames[0], 255)
    keypoints, person, grown = preprocess(cut, tmp_path, (0, 12, 24))
    assert np.flatnonzero(~keypoints.shown).tolist() == [11, 24]
    # The close-up fills much more of the frame.
    areas = np.array([mask.mean() for mask in grown])
    assert areas[[11, 24]].tolist() == [0, 0]
    assert areas[12:24].min() > 1.2 * np.delete(areas, range(12, 24)).max()
    assert all(mask.any() for number, mask in enumerate(person) if number not in (11, 24))
