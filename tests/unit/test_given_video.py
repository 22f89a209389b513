"""Videos of the user's in place of the clip's own: checked, fitted, and otherwise as they are."""

import importlib
from argparse import Namespace
from fractions import Fraction

import numpy as np
import pytest

from animate.config.settings import MaskGrid
from animate.errors import ClipError
from animate.given.video import open_given
from animate.video.files import VideoWriter, read_masks, read_segment, read_video
from animate.video.source import Picture
from animate.video.timeline import Timeline
from films import write_film

FRAMES, RATE = 6, Fraction(24)
TIMELINE = Timeline(
    frame_rate=RATE,
    source_indices=tuple(range(FRAMES)),
    model_size=(96, 160),
    start=Fraction(0),
    picture=Picture((320, 180), "1", False, 1, None),
)


def picture(width: int, height: int, number: int = 0) -> np.ndarray:
    """Return a dark picture with a light rectangle in its middle, at a place of its own."""
    frame = np.zeros((height, width, 3), np.uint8)
    left = width // 4 + number * width // 16
    frame[height // 4 : -height // 4, left : left + width // 4] = 255
    return frame


def video(path, width, height, frames=FRAMES):
    return write_film(path, [], frames=[picture(width, height, number) for number in range(frames)])


def own(path, size=TIMELINE.model_size, quality="drawing"):
    with VideoWriter(path, size, RATE, quality) as writer:
        for number in range(FRAMES):
            writer.write(picture(*size, number))
    return path


def run(name, tmp_path, **args):
    TIMELINE.to_json(tmp_path / "timeline.json")
    output = tmp_path / "output.mp4"
    args = {"timeline": tmp_path / "timeline.json", "output": output} | args
    importlib.import_module(name).main(Namespace(**args))
    return output


def test_a_file_in_the_clips_own_form_is_copied_byte_for_byte(tmp_path):
    mine = own(tmp_path / "mine.mp4")
    output = run("given_video", tmp_path, video=mine, column="pose_video")
    assert output.read_bytes() == mine.read_bytes()


@pytest.mark.parametrize("size", [(96, 160), (48, 80), (192, 320)], ids=str)
def test_another_encoding_or_size_is_fitted_to_the_clips_frames(tmp_path, size):
    mine = video(tmp_path / "mine.mov", *size)
    output = run("given_video", tmp_path, video=mine, column="pose_video")
    frames = read_segment(output, 0, FRAMES)
    assert frames.shape == (FRAMES, 160, 96, 3)
    for number, frame in enumerate(frames):
        light = frame[80, :, 0] > 127
        assert abs(np.flatnonzero(light).mean() - 96 * (0.375 + number / 16)) < 2
        assert not frame[:30].max() > 60


def test_frames_like_the_driving_videos_lie_where_its_own_do(tmp_path):
    mine = video(tmp_path / "mine.mp4", 640, 360)
    frames = list(open_given("pose_video", mine, TIMELINE).frames())
    # 96 wide, so 54 high, with black above and below.
    assert not frames[0][:53].any() and not frames[0][107:].any()
    assert frames[0][80, 36].min() > 200


def test_faces_are_squares(tmp_path):
    mine = video(tmp_path / "mine.mp4", 128, 128)
    output = run("given_video", tmp_path, video=mine, column="face_video")
    assert next(read_video(output)).shape == (512, 512, 3)
    with pytest.raises(ClipError, match="frames of 128x96, another shape than 512x512"):
        open_given("face_video", video(tmp_path / "wide.mp4", 128, 96), TIMELINE, 512)


@pytest.mark.parametrize(
    ("frames", "timeline", "words"),
    [
        (5, {}, "has 5 frames at 24 per second, but the clip has 6 frames at 24 per second"),
        (6, {"frame_rate": Fraction(30)}, "at 24 per second, but the clip has 6 frames at 30"),
        (6, {"frame_rate": Fraction(30)}, "or set fps to 24"),
        (6, {"frame_rate": Fraction(24000, 1001)}, "at 23.976 per second"),
        (6, {"model_size": (128, 128), "picture": TIMELINE.picture}, "another shape than 128x128"),
    ],
)
def test_another_number_rate_or_shape_is_refused_with_both_figures(
    tmp_path, frames, timeline, words
):
    mine = video(tmp_path / "mine.mp4", 96, 160, frames)
    with pytest.raises(ClipError) as error:
        open_given("mask_video", mine, Timeline(**{**vars(TIMELINE), **timeline}))
    assert words in str(error.value) and f"mask_video {mine}" in str(error.value)


def test_what_is_no_video_is_refused_by_its_column(tmp_path):
    (tmp_path / "mine.mp4").write_text("no video")
    with pytest.raises(ClipError, match=r"^pose_video .*mine\.mp4 is no video"):
        open_given("pose_video", tmp_path / "mine.mp4", TIMELINE)


@pytest.mark.parametrize("grid", ["cells", "pixel"])
def test_a_mask_is_not_grown_and_fills_the_cells_that_it_touches(tmp_path, grid):
    settings = MaskGrid(mask_grid=grid)
    mine = own(tmp_path / "mine.mp4", quality="mask")
    output = run("given_mask", tmp_path, video=mine, settings=settings)
    for number, mask in enumerate(read_masks(output)):
        given = picture(96, 160, number)[..., 0] > 0
        cells = given.reshape(20, 8, 12, 8).any(axis=(1, 3))
        wanted = cells.repeat(8, axis=0).repeat(8, axis=1) if grid == "cells" else given
        np.testing.assert_array_equal(mask, wanted)


def test_a_dark_mask_is_refused_and_leaves_no_file(tmp_path):
    mine = write_film(tmp_path / "mine.mp4", [], frames=[np.zeros((160, 96, 3), np.uint8)] * 6)
    with pytest.raises(ClipError, match="dark in every frame"):
        run("given_mask", tmp_path, video=mine, settings=MaskGrid())
    assert {file.name for file in tmp_path.iterdir()} == {"mine.mp4", "timeline.json"}


def test_a_background_is_black_where_the_mask_is_and_else_as_given(tmp_path):
    light = [np.full((160, 96, 3), 200, np.uint8)] * FRAMES
    mine = write_film(tmp_path / "mine.mp4", [], frames=light)
    mask = own(tmp_path / "mask.mp4", quality="mask")
    settings = MaskGrid(mask_grid="pixel")
    output = run("given_background", tmp_path, video=mine, mask=mask, settings=settings)
    for number, frame in enumerate(read_video(output)):
        masked = picture(96, 160, number)[..., 0] > 0
        assert frame[masked].mean() < 8 and abs(frame[~masked].mean() - 200) < 3
