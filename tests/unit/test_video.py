"""The clip's videos keep count, rate and duration exactly, and pictures and masks well."""

from fractions import Fraction

import av
import cv2
import decord
import numpy as np
import pytest
from skimage import data

from animate.errors import ClipError
from animate.pose.drawing import draw_pose
from animate.video.files import VideoWriter, read_masks, read_segment, read_video, video_info

RATE = Fraction(30000, 1001)


def write(path, frames, quality="picture", rate=RATE):
    with VideoWriter(path, frames[0].shape[1::-1], rate, quality) as video:
        for frame in frames:
            video.write(frame)
    return path


def faces(count: int = 12) -> list[np.ndarray]:
    """Return a photograph that moves, like a face crop or a background."""
    picture = cv2.resize(data.astronaut(), (544, 544), interpolation=cv2.INTER_AREA)
    return [picture[i : i + 512, 2 * i : 2 * i + 512] for i in range(count)]


def poses(count: int = 12) -> list[np.ndarray]:
    """Return the drawing of a body that moves."""
    rng = np.random.default_rng(0)
    body = np.column_stack([rng.uniform(100, 700, 20), rng.uniform(50, 430, 20), np.ones(20)])
    hand = np.column_stack([rng.uniform(300, 360, 21), rng.uniform(200, 260, 21), np.ones(21)])
    return [
        draw_pose((832, 480), np.add(body, (3 * i, i, 0)), hand, np.add(hand, (99, 9, 0)))
        for i in range(count)
    ]


def decibels(a: np.ndarray, b: np.ndarray) -> float:
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b.astype(float)) ** 2))


def planes(frame: np.ndarray) -> np.ndarray:
    """Return what yuv420p can hold of an RGB frame."""
    return (
        av.VideoFrame.from_ndarray(frame).reformat(format="yuv420p", dst_colorspace=1).to_ndarray()
    )


@pytest.mark.parametrize("rate", [RATE, Fraction(24), Fraction(16), Fraction(2997, 100)])
def test_count_rate_and_duration_are_exact(tmp_path, rate):
    path = write(tmp_path / "a.mp4", faces(13), rate=rate)
    info = video_info(path)
    assert (info.frame_count, info.frame_rate, info.size) == (13, rate, (512, 512))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.duration * stream.time_base == 13 / rate
        times = [frame.pts * frame.time_base for frame in container.decode(stream)]
    assert times == [number / rate for number in range(13)]


def test_file_plays_in_browsers(tmp_path):
    path = write(tmp_path / "a.mp4", faces(3))
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.profile, context.pix_fmt) == ("h264", "High", "yuv420p")
        assert (context.colorspace, context.color_primaries, context.color_trc) == (1, 1, 1)
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


def test_every_mask_pixel_survives(tmp_path):
    rng = np.random.default_rng(0)
    masks = []
    for size in (4, 9, 23, 60):
        noise = cv2.resize(rng.random((480 // size, 832 // size)), (832, 480))
        masks += [(noise > share).astype(np.uint8) for share in (0.2, 0.5, 0.8)]
    path = write(tmp_path / "a.mp4", [mask * 255 for mask in masks], "mask")
    for mask, read in zip(masks, read_masks(path), strict=True):
        np.testing.assert_array_equal(read, mask)


def test_faces_keep_40_decibels(tmp_path):
    face = cv2.resize(data.astronaut()[40:240, 130:330], (540, 540))
    frames = [face[i : i + 512, i : i + 512] for i in range(12)]
    read = read_video(write(tmp_path / "a.mp4", frames))
    assert min(decibels(a, b) for a, b in zip(read, frames, strict=True)) >= 40


@pytest.mark.parametrize(("quality", "least"), [("picture", 40), ("drawing", 45)])
def test_nothing_but_the_colour_resolution_of_the_format_is_lost(tmp_path, quality, least):
    frames = poses() if quality == "drawing" else faces()
    path = write(tmp_path / "a.mp4", frames, quality)
    with av.open(str(path)) as container:
        coded = [frame.to_ndarray() for frame in container.decode(video=0)]
    assert min(decibels(a, planes(b)) for a, b in zip(coded, frames, strict=True)) >= least


@pytest.mark.parametrize("rate", [Fraction(8), Fraction(60)])
def test_grainy_background_with_a_hole_keeps_40_decibels(tmp_path, rate):
    rng = np.random.default_rng(0)
    frames = list(rng.integers(0, 256, (12, 192, 320, 3), np.uint8))
    for number, frame in enumerate(frames):
        frame[40:160, 100 + 4 * number : 180 + 4 * number] = 0
    path = write(tmp_path / "a.mp4", frames, rate=rate)
    with av.open(str(path)) as container:
        coded = [frame.to_ndarray() for frame in container.decode(video=0)]
    assert min(decibels(a, planes(b)) for a, b in zip(coded, frames, strict=True)) >= 40


@pytest.mark.parametrize("colour", [(1, 1, 1), (1, 0, 0), (0, 1, 1)])
def test_a_mask_is_where_red_is_above_127_in_grey_and_in_colour(tmp_path, colour):
    ramp = np.tile(np.arange(256, dtype=np.uint8), (64, 1))
    path = write(tmp_path / "a.mp4", [ramp[..., None] * np.array(colour, np.uint8)], "mask")
    expected = [frame[..., 0] > 127 for frame in read_video(path)]
    assert np.array_equal(list(read_masks(path)), expected)
    assert expected[0].any() == bool(colour[0])


def masks() -> list[np.ndarray]:
    """Return ragged masks, 0 or 1."""
    noise = np.random.default_rng(1).random((12, 60, 104))
    return [cv2.resize(frame, (832, 480)) > 0.5 for frame in noise]


@pytest.mark.parametrize("rate", [RATE, Fraction(24), Fraction(2400, 197)])
@pytest.mark.parametrize("quality", ["picture", "drawing", "mask"])
def test_official_reader_reads_the_same(tmp_path, quality, rate):
    make = {"picture": faces, "drawing": poses, "mask": lambda: [mask * 255 for mask in masks()]}
    frames = [np.asarray(frame, np.uint8) for frame in make[quality]()]
    path = write(tmp_path / "a.mp4", frames, quality, rate)
    reader = decord.VideoReader(str(path))
    assert len(reader) == len(frames)
    assert reader.get_avg_fps() == pytest.approx(float(rate), rel=1e-6)
    read = reader.get_batch(range(len(frames))).asnumpy()
    if quality == "mask":
        np.testing.assert_array_equal(read[..., 0] > 127, np.stack(frames) > 127)
    else:
        ours = np.stack(list(read_video(path)))
        # It takes the nearest colour sample, we interpolate between them.
        assert np.abs(read.astype(int) - ours).mean() < 2


def test_colours_do_not_drift(tmp_path):
    frames = faces(4)
    read = np.stack(list(read_video(write(tmp_path / "a.mp4", frames))))
    assert np.abs(read.astype(float).mean((0, 1, 2)) - np.stack(frames).mean((0, 1, 2))).max() < 0.5


@pytest.mark.parametrize(("start", "stop"), [(0, 5), (47, 50), (48, 49), (90, 120), (0, 120)])
def test_segments_are_the_same_frames(tmp_path, start, stop):
    frames = [np.full((64, 96, 3), 2 * number, np.uint8) for number in range(120)]
    path = write(tmp_path / "a.mp4", frames)
    whole = np.stack(list(read_video(path)))
    np.testing.assert_array_equal(read_segment(path, start, stop), whole[start:stop])
    assert abs(whole[stop - 1].mean() - 2 * (stop - 1)) < 1.5


def test_same_frames_give_same_bytes(tmp_path):
    # Small frames and many rounds, because a wrong encoder setting differs only now and then.
    noise = np.random.default_rng(36).integers(0, 255, (4, 4, 3), np.uint8)
    frames = [
        cv2.resize(np.roll(noise, index, axis=1), (32, 32), interpolation=cv2.INTER_NEAREST)
        for index in range(36)
    ]
    files = {write(tmp_path / "a.mp4", frames).read_bytes() for _ in range(100)}
    assert len(files) == 1


def test_segment_beyond_the_end_is_refused(tmp_path):
    path = write(tmp_path / "a.mp4", faces(4))
    with pytest.raises(ClipError, match="no frames"):
        read_segment(path, 2, 6)


def test_nothing_is_left_when_writing_fails(tmp_path):
    with (
        pytest.raises(ValueError, match="frame of"),
        VideoWriter(tmp_path / "a.mp4", (96, 64), RATE) as video,
    ):
        video.write(np.zeros((64, 96, 3), np.uint8))
        video.write(np.zeros((32, 96, 3), np.uint8))
    assert not list(tmp_path.iterdir())
