"""The user's points and boxes: their file, their frames, and what they keep out of the mask."""

import json

import numpy as np
import pytest

from animate.config.own_files.points import MaskPoints, read_points
from animate.config.settings import ClipSettings
from animate.errors import ClipError
from animate.matte.grid import CELL
from animate.matte.points import ClipPoints
from animate.video.files import VideoWriter, read_masks
from animate.video.timeline import make_timeline
from stages import stage

SIZE, COUNT = (160, 96), 12
GOOD = {
    "person": [
        {"second": 0.1, "positive": [[20, 30], [40, 50]]},
        {"second": 0.12, "negative": [[90, 60]], "box": [10, 20.5, 160, 96]},
    ],
    "exclude": [
        {"name": "guitar", "second": 0, "box": [0, 0, 20, 20]},
        {"name": "phone", "second": 0.4, "positive": [[5, 5]]},
        {"name": "guitar", "second": 0.48, "negative": [[7, 8]]},
        {"name": "guitar", "second": 0.46, "positive": [[9, 8]]},
    ],
}


@pytest.fixture
def clip(tmp_path):
    """A folder with a clip of 12 frames at 25 per second, and its timeline."""
    with VideoWriter(tmp_path / "clip.mp4", SIZE, 25) as video:
        for _ in range(COUNT):
            video.write(np.zeros((*SIZE[::-1], 3), np.uint8))
    timeline = make_timeline(tmp_path / "clip.mp4", resolution_area=SIZE[0] * SIZE[1])
    timeline.to_json(tmp_path / "timeline.json")
    return tmp_path


def place(folder, content: dict) -> ClipPoints:
    """Run the stage on a points file and return what it wrote."""
    (folder / "points.json").write_text(
        content if isinstance(content, str) else json.dumps(content)
    )
    files = {name: folder / f"{name}.json" for name in ("points", "timeline")}
    stage("mask_points", None, **files, output=folder / "mask_points.json")
    return ClipPoints.load(folder / "mask_points.json")


def test_seconds_become_frames_and_marks_of_one_frame_are_joined(clip):
    marked = place(clip, GOOD)
    # Seconds 0.1 and 0.12 are shown by frames 2 and 3.
    assert {frame: prompt.points.tolist() for frame, prompt in marked.person.items()} == {
        2: [[20, 30], [40, 50]], 3: [[90, 60]],
    }  # fmt: skip
    assert marked.person[2].labels.tolist() == [1, 1] and marked.person[2].box is None
    assert marked.person[3].labels.tolist() == [0]
    assert marked.person[3].box.tolist() == [10, 20.5, 160, 96]
    assert {name: sorted(frames) for name, frames in marked.excluded.items()} == {
        "guitar": [0, 11], "phone": [10],
    }  # fmt: skip
    assert marked.excluded["guitar"][0].box.tolist() == [0, 0, 20, 20]
    assert marked.excluded["guitar"][11].labels.tolist() == [0, 1]
    near = [GOOD["person"][0], GOOD["person"][1] | {"second": 0.11}]
    joined = place(clip, {"person": near}).person[2]
    assert joined.labels.tolist() == [1, 1, 0] and joined.box is not None


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "a mapping with person, exclude or both, not empty"),
        ({}, "a mapping with person, exclude or both, not empty"),
        ({"persons": []}, "persons: unknown; did you mean 'person'?"),
        ({"person": [{"positive": [[1, 2]]}]}, "person[0].second: missing"),
        ({"person": [{"second": 1}]}, "person[0]: '{'second': 1}' is not allowed; allowed: second, "
         "and at least one of"),
        ({"person": [GOOD["person"][0], {"second": -1, "positive": [[1, 2]]}]},
         "person[1].second: '-1' is not allowed"),
        ({"person": [{"second": 1, "positive": [[1]]}]}, "person[0].positive: "),
        ({"person": [{"second": 1, "positive": [1, 2]}]}, "person[0].positive: "),
        ({"person": [{"second": 1, "negative": [[-1, 2]]}]}, "person[0].negative: "),
        ({"person": [{"second": 1, "box": [30, 10, 20, 40]}]}, "person[0].box: "),
        ({"person": [{"second": "1", "box": [1, 1, 2, 2]}]}, "person[0].second: '1' is not"),
        ({"exclude": [{"second": 1, "box": [1, 1, 2, 2]}]}, "exclude[0].name: missing"),
    ],
)  # fmt: skip
def test_a_mistake_names_its_entry(tmp_path, content, sentence):
    path = tmp_path / "points.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    found = read_points(path)
    assert not isinstance(found, MaskPoints)
    assert sentence in str(found[0]) and len(found) == 1


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({"second": 0.5, "positive": [[1, 2]]},
         r"points.json, person\[0\]: second 0.5 lies outside the clip, which lasts 0.48 s"),
        ({"second": 0, "positive": [[1, 2], [161, 2]]}, r"161,2 lies outside .* of 160x96 pixels"),
        ({"second": 0, "negative": [[1, 97]]}, "1,97 lies outside"),
        ({"second": 0, "box": [0, 0, 50, 100]}, "50,100 lies outside"),
    ],
)  # fmt: skip
def test_what_lies_outside_the_clip_is_refused(clip, entry, sentence):
    with pytest.raises(ClipError, match=sentence):
        place(clip, {"person": [entry]})
    assert not (clip / "mask_points.json").exists()


def test_an_object_is_not_marked_by_negative_points_alone(clip):
    """SAM 2 would take what lies anywhere else for the object."""
    marks = [GOOD["exclude"][0], {"name": "guitar", "second": 0.4, "negative": [[7, 8]]}]
    sentence = r"exclude \(guitar\): at 0:00.4 .* only negative points .* add a positive point or"
    with pytest.raises(ClipError, match=sentence):
        place(clip, {"exclude": marks})
    place(clip, {"exclude": [*marks, {"name": "guitar", "second": 0.4, "box": [0, 0, 9, 9]}]})


def test_a_file_with_a_byte_order_mark_is_read(tmp_path):
    (tmp_path / "points.json").write_text(json.dumps(GOOD), "utf-8-sig")
    assert isinstance(read_points(tmp_path / "points.json"), MaskPoints)


@pytest.mark.parametrize("grid", ["cells", "pixel"])
def test_an_excluded_object_stays_out_of_the_grown_mask(clip, grid):
    person, guitar = np.zeros((2, *SIZE[::-1]), np.uint8)
    person[20:80, 40:120] = 1
    # From cell to cell, but for 3 pixels on the right.
    guitar[32:64, 64:99] = 1
    for name, mask in (("person", person), ("excluded", guitar)):
        with VideoWriter(clip / f"{name}.mp4", SIZE, 25, "mask") as video:
            for _ in range(COUNT):
                video.write(255 * mask)
    files = {"timeline": clip / "timeline.json", "person_mask": clip / "person.mp4"}
    settings = ClipSettings(mask_grid=grid)
    stage("mask", settings, **files, output=clip / "mask.mp4")
    whole = next(read_masks(clip / "mask.mp4"))
    stage("mask", settings, **files, excluded=clip / "excluded.mp4", output=clip / "mask.mp4")
    for mask in read_masks(clip / "mask.mp4"):
        assert not mask[32:64, 64:96].any()
        right = mask[32:64, 96:104]
        # A cell with less than half of the object is the character's.
        assert right.all() if grid == "cells" else (right.any(axis=0).sum() == CELL - 3)
        mask[32:64, 64:104] = whole[32:64, 64:104]
        np.testing.assert_array_equal(mask, whole)
