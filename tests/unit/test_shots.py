"""Camera cuts are found in real clips, and motion, blur, flashes and light are taken for none."""

from fractions import Fraction
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from av.video.frame import VideoFrame

from animate.config.settings import SegmentSettings
from animate.sampling.segments import (
    SHORTEST_SHOT,
    plan_segments,
    sampled_shots,
    segment_lengths,
    segment_starts,
)
from animate.video.files import read_frames
from animate.video.shots import CutFinder
from animate.video.timeline import Timeline, make_timeline
from difficult import write_clip

CLIPS = Path(__file__).parents[2].parent / "shared" / "clips"
COUNT, CUT = 48, 24
CLOSE_UPS = (1.5, 2, 3, 4)


@cache
def clip(name: str) -> list[np.ndarray]:
    """Return every second frame of a shared clip, 480 pixels wide."""
    path = CLIPS / f"{name}.mp4"
    if not path.is_file():
        pytest.skip("the shared clips are not beside the checkout")
    timeline = make_timeline(path, resolution_area=480 * 270)
    return [cv2.resize(frame, (480, 270)) for frame in read_frames(path, timeline)][::2][:COUNT]


def close_up(frame: np.ndarray, factor: float, x: float = 0.55, y: float = 0.4) -> np.ndarray:
    """Return the part around (x, y), as shares of the frame, enlarged to the whole frame."""
    height, width = frame.shape[:2]
    w, h = int(width / factor), int(height / factor)
    left = min(max(int(x * width) - w // 2, 0), width - w)
    top = min(max(int(y * height) - h // 2, 0), height - h)
    return cv2.resize(frame[top : top + h, left : left + w], (width, height))


def shone(frame: np.ndarray, factor: float, light: float = 0) -> np.ndarray:
    return np.clip(frame * float(factor) + light, 0, 255).astype(np.uint8)


def cuts(frames: list[np.ndarray]) -> list[int]:
    finder = CutFinder()
    for number, frame in enumerate(frames):
        finder.see(number, VideoFrame.from_ndarray(np.ascontiguousarray(frame), "rgb24"))
    return finder.cuts()


def changed(frames, change, first=CUT, stop=COUNT):
    """Return the frames, with `change` applied to those from `first` to `stop` - 1."""
    return [change(f) if first <= number < stop else f for number, f in enumerate(frames)]


@pytest.fixture(params=["talking_head", "market_boy"])
def frames(request):
    return clip(request.param)


@pytest.mark.parametrize("factor", CLOSE_UPS)
@pytest.mark.parametrize("x", [0.3, 0.55, 0.7])
def test_a_cut_to_a_close_up_and_back_is_found(frames, factor, x):
    shown = changed(frames, lambda f: close_up(f, factor, x), 16, 32)
    assert cuts(shown) == [16, 32]


def test_a_mirrored_shot_is_found(frames):
    assert cuts(changed(frames, lambda f: f[:, ::-1])) == [CUT]


def test_a_jump_to_the_other_side_is_found(frames):
    near = [close_up(f, 1.6, 0.3) for f in frames]
    assert cuts(near[:CUT] + [close_up(f, 1.6, 0.7) for f in frames[CUT:]]) == [CUT]


@pytest.mark.parametrize("length", [9, 12])
def test_a_montage_of_two_people_is_found(length):
    both = clip("talking_head"), clip("market_boy")
    montage = [both[number // length % 2][number] for number in range(COUNT)]
    assert cuts(montage) == list(range(length, COUNT, length))


@pytest.mark.parametrize("length", [1, 2, 4, 8, 15])
def test_a_dissolve_is_one_border_in_its_middle(length):
    old, new = clip("market_boy"), clip("talking_head")
    first = CUT - length // 2
    mixed = [
        cv2.addWeighted(old[i], 1 - share, new[i], share, 0)
        for i, share in enumerate(np.linspace(0, 1, length + 2)[1:-1], first)
    ]
    found = cuts(old[:first] + mixed + new[first + length :])
    assert len(found) == 1 and abs(found[0] - CUT) <= max(1, length // 4)


@pytest.mark.parametrize("length", [6, 12])
def test_a_fade_through_black_is_one_border(length):
    old, new, half = clip("market_boy"), clip("talking_head"), length // 2
    light = np.linspace(1, 0, half + 2)[1:-1]
    faded = [shone(old[CUT - half + i], share) for i, share in enumerate(light)]
    faded += [shone(new[CUT + i], share) for i, share in enumerate(light[::-1])]
    found = cuts(old[: CUT - half] + faded + new[CUT + half :])
    assert len(found) == 1 and abs(found[0] - CUT) <= 1


NO_CUTS = {
    "nothing": lambda f: f,
    "white flash": lambda f: changed(f, lambda i: shone(i, 1, 190), CUT, CUT + 3),
    "white frames": lambda f: changed(f, lambda i: np.full_like(i, 255), CUT, CUT + 3),
    "flash of one frame": lambda f: changed(f, lambda i: shone(i, 1, 190), CUT, CUT + 1),
    "motion blur": lambda f: changed(f, lambda i: cv2.blur(i, (60, 1)), CUT, CUT + 5),
    "strong motion blur": lambda f: changed(f, lambda i: cv2.blur(i, (120, 1)), CUT, CUT + 5),
    "lights out": lambda f: changed(f, lambda i: shone(i, 0.4)),
    "exposure": lambda f: [shone(i, 0.5 + number / COUNT) for number, i in enumerate(f)],
    "flicker": lambda f: [shone(i, 1 - 0.4 * (number % 2)) for number, i in enumerate(f)],
    "fast zoom": lambda f: [
        close_up(i, 1 + 2 * min(max((number - CUT) / 5, 0), 1)) for number, i in enumerate(f)
    ],
    "fast pan": lambda f: [
        close_up(i, 2, 0.25 + 0.5 * min(max((number - CUT) / 8, 0), 1))
        for number, i in enumerate(f)
    ],
    "shaken camera": lambda f: [
        close_up(i, 1.3, 0.5 + 0.1 * np.sin(1.9 * number), 0.5 + 0.1 * np.cos(2.7 * number))
        for number, i in enumerate(f)
    ],
    "fast motion": lambda f: f[::4],
    "doubled frames": lambda f: [i for i in f for _ in range(2)],
}


@pytest.mark.parametrize("kind", NO_CUTS)
def test_what_is_no_cut_is_not_taken_for_one(frames, kind):
    assert cuts(NO_CUTS[kind](frames)) == []


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({}, [16, 32]),
        ({"fps": 30}, [16, 32]),
        ({"fps": 5}, [16, 32]),
        ({"start": 1, "end": 2.5}, [16, 32]),
        ({"start": 1.2, "end": 2}, []),
    ],
)
def test_shots_are_those_of_the_clips_own_frames(tmp_path, settings, found):
    frames = changed(clip("talking_head"), lambda f: close_up(f, 3), 16, 32)
    path = write_clip(tmp_path / "a.mp4", frames, rate=Fraction(15))
    timeline = make_timeline(path, resolution_area=480 * 270, **settings)
    assert timeline.shots[0] == 0
    for shot, cut in zip(timeline.shots[1:], found, strict=True):
        before, begins = timeline.source_indices[shot - 1 : shot + 1]
        assert before < cut <= begins
    timeline.to_json(tmp_path / "timeline.json")
    assert Timeline.from_json(tmp_path / "timeline.json") == timeline


def test_a_shot_is_named_by_its_seconds(tmp_path):
    frames = changed(clip("talking_head"), lambda f: f[:, ::-1])
    path = write_clip(tmp_path / "a.mp4", frames, rate=Fraction(15))
    timeline = make_timeline(path, resolution_area=480 * 270)
    assert timeline.clock(*timeline.shots) == "0:00.0 to 0:01.6"
    assert timeline.clock(15 * 60 - 1, 15 * 75) == "0:59.9 to 1:15.0"


@pytest.mark.parametrize("conditioning", [1, 5, 9])
@pytest.mark.parametrize("shots", [(0,), (0, 12), (0, 20, 33), (0, 13, 26, 39, 52)])
def test_segments_of_a_shot_see_no_other(shots, conditioning):
    count = 70
    segments = plan_segments(count, 13, conditioning, shots)
    assert len(segments) == len(segment_lengths(count, 13, conditioning, shots))
    assert [s.index for s in segments] == list(range(len(segments)))
    new = [s.sources[s.overlap : s.overlap + s.new_frames] for s in segments]
    assert [frame for frames in new for frame in frames] == list(range(count))
    for segment in segments:
        assert len(segment.sources) == 13
        assert len({np.searchsorted(shots, i, side="right") for i in segment.sources}) == 1
    fresh = [s.sources[0] for s in segments if not s.overlap]
    assert fresh == list(shots)


def test_segments_start_where_their_new_frames_do():
    settings = SegmentSettings(segment_frames=21, segment_fit="pad", conditioning_frames=5)
    assert segment_starts(60, (0, 40), settings) == [0, 21, 37, 40]
    whole = settings.model_copy(update={"cuts": "ignore"})
    assert segment_starts(60, (0, 40), whole) == [0, 21, 37, 53]


def test_short_shots_join_their_neighbours_and_do_not_multiply_segments():
    short = SHORTEST_SHOT - 1
    assert sampled_shots((0, 40, 40 + short), 100, "split") == (0, 40 + short)
    assert sampled_shots((0, short), 100, "split") == (0,)
    assert sampled_shots((0, 100 - short), 100, "split") == (0,)
    assert sampled_shots((0, 40, 60), 100, "split") == (0, 40, 60)
    assert sampled_shots((0, 40, 60), 100, "ignore") == (0,)
    flicker = sampled_shots(range(0, 300, 3), 300, "split")
    assert len(segment_lengths(300, 77, 1, flicker)) == len(segment_lengths(300, 77, 1))
