"""Sizes and frames are chosen as officially, and every kind of video is read right or refused."""

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.bitstream import BitStreamFilterContext

from animate.config.mistakes import find_mistakes
from animate.config.settings import TimelineSettings
from animate.errors import ClipError
from animate.video.files import read_frames
from animate.video.source import Picture
from animate.video.timeline import Timeline, frame_indices, make_timeline, model_size
from difficult import (
    DROPPED_MS,
    RATE,
    SLOWER_MS,
    UNEVEN_MS,
    VIDEOS,
    quadrants,
    write_clip,
)

DATA = Path(__file__).parents[1] / "data"
AREA = 320 * 192


@pytest.mark.parametrize("row", json.loads((DATA / "frame_size.json").read_text())["rows"])
def test_size_equals_the_official_one(row):
    width, height, area, *expected = row
    assert model_size(width, height, area) == tuple(expected)


@pytest.mark.parametrize("case", json.loads((DATA / "frame_indices.json").read_text()))
def test_frames_equal_the_official_choice(case):
    source, target = (Fraction(str(case[f"{name}_fps"])) for name in ("video", "target"))
    count = int(case["frames"] / source * target)
    assert frame_indices(case["frames"], source, count, target) == case["indices"]


@pytest.mark.parametrize("name", VIDEOS)
def test_difficult_video_is_read_right_or_refused(name, tmp_path):
    video = VIDEOS[name]
    path = video.make(tmp_path)
    if video.error:
        with pytest.raises(ClipError, match=video.error) as caught:
            make_timeline(path, resolution_area=AREA, **dict(video.settings))
        assert "\n" not in str(caught.value) and path.name in str(caught.value)
        return
    timeline = make_timeline(path, resolution_area=AREA, **dict(video.settings))
    assert timeline.frame_rate == video.rate
    assert timeline.frame_count == video.count
    assert timeline.source_size == video.size
    frames = list(read_frames(path, timeline))
    assert len(frames) == video.count
    assert {frame.shape for frame in frames} == {(*video.size[::-1], 3)}
    if video.corners:
        upright = np.rot90(quadrants(), -video.turns)
        for y, x in ((5, 5), (5, -5), (-5, 5), (-5, -5)):
            assert np.abs(frames[-1][y, x].astype(int) - upright[y, x]).max() <= 6


def test_uneven_frames_are_chosen_by_their_times(tmp_path):
    path = write_clip(tmp_path / "a.mp4", times=UNEVEN_MS)
    timeline = make_timeline(path, resolution_area=AREA, fps=25)
    nearest = [int(np.argmin(np.abs(np.array(UNEVEN_MS) - 40 * k))) for k in range(25)]
    assert list(timeline.source_indices) == nearest


@pytest.mark.parametrize("start", [0.03, 0.139, 0.141, 0.389, 0.391, 0.91, 0.93])
def test_start_takes_the_nearest_of_uneven_frames(start, tmp_path):
    path = write_clip(tmp_path / "a.mp4", times=UNEVEN_MS)
    timeline = make_timeline(path, resolution_area=AREA, start=start)
    nearest = int(np.argmin(np.abs(np.array(UNEVEN_MS) - 1000 * start)))
    assert timeline.source_indices[0] == nearest
    assert timeline.start == Fraction(UNEVEN_MS[nearest], 1000)


@pytest.mark.parametrize("times", [DROPPED_MS, SLOWER_MS, UNEVEN_MS])
def test_uneven_clip_keeps_its_length_and_last_frame(times, tmp_path):
    path = write_clip(tmp_path / "a.mkv", [quadrants((64, 48))] * len(times), times=times)
    for fps in (24, 25, 30, 60):
        timeline = make_timeline(path, resolution_area=AREA, fps=fps)
        seconds = times[-1] / 1000 + 1 / RATE
        assert abs(timeline.duration - seconds) <= 0.5 / fps + 0.001
        assert timeline.source_indices[-1] == len(times) - 1


def test_fast_video_is_read_at_a_lower_rate(tmp_path):
    path = write_clip(tmp_path / "a.mp4", [quadrants()] * 100, times=list(range(100)))
    timeline = make_timeline(path, resolution_area=AREA, fps=60)
    assert timeline.source_indices == (0, 17, 33, 50, 67, 83)


@pytest.mark.parametrize("name", ["alpha", "alpha, VP8", "alpha, VP9"])
def test_transparent_is_white(name, tmp_path):
    path = VIDEOS[name].make(tmp_path)
    timeline = make_timeline(path, resolution_area=AREA)
    for frame in read_frames(path, timeline):
        assert frame[:, :38].min() >= 250
        assert np.abs(frame[5, -5].astype(int) - quadrants()[5, -5]).max() <= 6


def test_frames_come_in_order_and_repeat(tmp_path):
    greys = [np.full((64, 96, 3), 20 * number, np.uint8) for number in range(12)]
    path = write_clip(tmp_path / "a.mp4", greys)
    timeline = make_timeline(path, resolution_area=AREA, fps=36, start=0.125, end=0.375)
    shown = [round(frame.mean() / 20) for frame in read_frames(path, timeline)]
    assert shown == list(timeline.source_indices)
    assert shown == [3, 4, 4, 5, 6, 6, 7, 8, 8]
    assert timeline.start == Fraction(1, 8)


def test_interlaced_combs_are_removed(tmp_path):
    """Both fields of a moving edge are recorded at different places; the frame must not comb."""
    frames = []
    for number in range(12):
        frame = np.zeros((192, 320, 3), np.uint8)
        frame[0::2, : 40 + 16 * number] = 255
        frame[1::2, : 48 + 16 * number] = 255
        frames.append(frame)
    path = write_clip(tmp_path / "a.mp4", frames, options={"x264-params": "interlaced=1:tff=1"})
    timeline = make_timeline(path, resolution_area=AREA)
    read = list(read_frames(path, timeline))[6].astype(int)
    combed = frames[6].astype(int)
    assert np.abs(np.diff(read, axis=0)).mean() < 0.6 * np.abs(np.diff(combed, axis=0)).mean()


def test_reference_shape_sets_the_size(tmp_path):
    timeline = make_timeline(
        write_clip(tmp_path / "a.mp4"), resolution_area=AREA, frame_shape=(9, 16)
    )
    assert timeline.model_size == model_size(9, 16, AREA)
    assert timeline.source_size == (320, 192)


def test_timeline_survives_the_file(tmp_path):
    rate = Fraction(30000, 1001)
    timeline = make_timeline(
        write_clip(tmp_path / "a.mp4", rate=rate, sound=1), resolution_area=AREA
    )
    timeline.to_json(tmp_path / "timeline.json")
    assert Timeline.from_json(tmp_path / "timeline.json") == timeline
    assert timeline.duration == 12 / rate
    assert json.loads((tmp_path / "timeline.json").read_text())["frame_rate"] == "30000/1001"


@pytest.mark.parametrize("fps", [0, -1, 1e9, "fast", "1/0", ""])
def test_impossible_rates_are_refused(fps):
    assert [m.key for m in find_mistakes(TimelineSettings, {"fps": fps})] == ["fps"]


def assert_upright_between_bars(frame):
    """A frame of 192x320 in one of 320x192, upright: 115 columns between black ones."""
    assert frame.shape == (192, 320, 3)
    assert frame[:, :98].max() <= 8 and frame[:, -98:].max() <= 8
    inside = frame[:, 106:214].astype(int)
    for y, x in ((5, 5), (5, -5), (-5, 5), (-5, -5)):
        assert np.abs(inside[y, x] - quadrants()[y, x]).max() <= 8


def test_frames_of_another_shape_are_shown_whole(tmp_path):
    sizes = ((320, 192), (192, 320))
    parts = [write_clip(tmp_path / f"{w}.ts", [quadrants((w, h))] * 6) for w, h in sizes]
    path = tmp_path / "a.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    timeline = make_timeline(path, resolution_area=AREA)
    frames = list(read_frames(path, timeline))
    assert timeline.source_size == (320, 192) and len(frames) == 12
    assert_upright_between_bars(frames[-1])


def test_phone_that_is_turned_is_upright_throughout(tmp_path):
    first = write_clip(tmp_path / "first.h264", [quadrants()] * 6)
    lying = np.rot90(quadrants((192, 320)))
    second = write_clip(tmp_path / "second.h264", [np.ascontiguousarray(lying)] * 6)
    turned = []
    with av.open(str(second)) as container:
        stream = container.streams.video[0]
        turn = "h264_metadata=display_orientation=insert:rotate=270"
        note = BitStreamFilterContext(turn, stream)
        for packet in container.demux(stream):
            if packet.size:
                turned += [bytes(p) for p in note.filter(packet)]
    path = tmp_path / "a.h264"
    path.write_bytes(first.read_bytes() + b"".join(turned))
    frames = list(read_frames(path, make_timeline(path, resolution_area=AREA)))
    assert len(frames) == 12 and np.abs(frames[0][5, 5].astype(int) - quadrants()[5, 5]).max() <= 6
    assert_upright_between_bars(frames[-1])


def test_video_that_became_shorter_is_noticed(tmp_path):
    path = write_clip(tmp_path / "a.mp4")
    timeline = make_timeline(path, resolution_area=AREA)
    write_clip(path, [quadrants()] * 6)
    with pytest.raises(ClipError, match="changed since"):
        list(read_frames(path, timeline))


@pytest.mark.parametrize("rate", ["24", "30000/1001", "30", "60", "100"])
def test_seconds_as_previews_print_them_are_of_their_frame(rate):
    picture = Picture((64, 64), "1", False, 1, None)
    timeline = Timeline(Fraction(rate), tuple(range(600)), (64, 64), Fraction(0), picture)
    seconds = [float(frame / timeline.frame_rate) for frame in range(600)]
    for digits in (2, 3):
        assert [timeline.frame_at(round(s, digits)) for s in seconds] == list(range(600))
    # A player that stands in a frame shows any second of it.
    middles = [second + 0.5 / float(timeline.frame_rate) for second in seconds]
    if rate != "100":
        assert [timeline.frame_at(round(second, 3)) for second in middles] == list(range(600))
    assert timeline.frame_at(float(timeline.duration) + 1) is None
