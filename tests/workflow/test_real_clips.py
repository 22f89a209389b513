"""Real driving videos and their reference images, through both modes, to the finished video."""

import json
import re
from fractions import Fraction
from itertools import product
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from animate.video.files import read_frames, read_masks, read_video, video_info
from animate.video.timeline import make_timeline
from difficult import write_clip
from films import unknown, write_film
from project import new_project

CLIPS = Path(__file__).parents[3] / "shared" / "clips"
NAMES = ("market_boy", "talking_head")
MODES = ("animate", "replace")
# Every video and every mode in the fast tests, all pairs in the slow ones.
FAST = {("market_boy", "replace")}


def pair(name, mode):
    """Return the pair as a parameter, marked as slow when the fast tests leave it out."""
    marks = () if (name, mode) in FAST else pytest.mark.slow
    return pytest.param(name, mode, id=f"{name}-{mode}", marks=marks)


pytestmark = pytest.mark.skipif(not CLIPS.is_dir(), reason=f"no folder of real clips at {CLIPS}")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    project = new_project(tmp_path_factory.mktemp("real") / "project")
    project.write_table(
        *(
            {"clip": f"{name}-{mode}", "video": str(CLIPS / f"{name}.mp4"), "mode": mode}
            | {"reference": str(CLIPS / f"{name}_reference.jpeg"), "segment_frames": "77"}
            | {"fps": "source"}
            for name, mode in product(NAMES, MODES)
        )
    )
    return project


@pytest.fixture
def finish(table):
    """A function that runs a clip to its end and returns its folder."""

    def finish(clip):
        table.snakemake(*(f"results/{clip}/{clip}{kind}" for kind in (".mp4", ".json")))
        return table.folder / "results" / clip

    return finish


@pytest.mark.parametrize(("name", "mode"), [pair(*each) for each in product(NAMES, MODES)])
def test_result_lasts_as_long_as_the_driving_video(finish, name, mode):
    with av.open(str(CLIPS / f"{name}.mp4")) as container:
        source = container.streams.video[0]
        frames = sum(1 for _ in container.decode(video=0))
        rate = source.average_rate
    result = finish(f"{name}-{mode}") / f"{name}-{mode}.mp4"
    with av.open(str(result)) as container:
        video, audio = container.streams.video[0], container.streams.audio
        assert sum(1 for _ in container.decode(video=0)) == frames
        assert video.average_rate == rate
        assert video.duration * video.time_base == Fraction(frames) / rate
        with av.open(str(CLIPS / f"{name}.mp4")) as original:
            assert bool(audio) == bool(original.streams.audio)


@pytest.mark.parametrize(("name", "mode"), [pair(name, "replace") for name in NAMES])
def test_a_pose_is_drawn_and_a_person_is_masked(finish, name, mode):
    folder = finish(f"{name}-{mode}")
    with av.open(str(folder / "src_pose.mp4")) as container:
        drawn = [frame.to_ndarray(format="rgb24").max() > 100 for frame in container.decode()]
    assert np.mean(drawn) > 0.9
    covered = [mask.mean() for mask in read_masks(folder / "src_mask.mp4")]
    assert np.mean([0.02 < share < 0.98 for share in covered]) > 0.9


def test_the_record_names_the_real_files(finish):
    record = json.loads((finish("market_boy-replace") / "market_boy-replace.json").read_text())
    assert record["inputs"]["driving_video"]["path"] == str(CLIPS / "market_boy.mp4")


@pytest.mark.slow
def test_each_shot_is_sampled_apart(tmp_path):
    """A cut to a mirrored close-up reaches plan, preview, sampler and record."""
    project = new_project(tmp_path / "project")
    clip = CLIPS / "talking_head.mp4"
    timeline = make_timeline(clip, resolution_area=320 * 180, end=1.4)
    frames = [cv2.resize(frame, (480, 270)) for frame in read_frames(clip, timeline)]
    frames[22:] = [cv2.resize(frame[40:175, 239::-1], (480, 270)) for frame in frames[22:]]
    write_clip(project.folder / "cut.mp4", frames, rate=timeline.frame_rate)
    row = {"video": "../cut.mp4", "reference": str(CLIPS / "talking_head_reference.jpeg")}
    row |= {"mode": "animate", "fps": "source", "segment_frames": "17", "require": "none"}
    expected = {"split": 4, "whole": 3}
    project.write_table(row | {"clip": "split"}, row | {"clip": "whole", "cuts": "ignore"})
    project.snakemake("previews")
    plan = project.snakemake("plan").stdout
    for name, segments in expected.items():
        assert re.search(rf"^{name} +42 +{segments} ", plan, re.MULTILINE), plan
    project.snakemake(*(f"results/{name}/{name}.json" for name in expected))
    for name, segments in expected.items():
        folder = project.folder / "results" / name
        assert json.loads((folder / "timeline.json").read_text())["shots"] == [0, 22]
        assert json.loads((folder / "metrics.json").read_text())["cuts"] == 1
        preview = video_info(folder / "preview.mp4")
        assert (preview.frame_count, preview.frame_rate) == (42, timeline.frame_rate)
        record = json.loads((folder / f"{name}.json").read_text())
        assert record["sampling"]["segments"][-1]["last"] == segments
        assert video_info(folder / "sampled.mp4").frame_count == 42


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["replace", "animate"])
def test_files_of_phones_and_editors_end_with_a_video(tmp_path, mode):
    """HDR, a first sound track that nobody decodes, sound that changes, a cut there and back."""
    project = new_project(tmp_path / "project")
    clip = CLIPS / "talking_head.mp4"
    timeline = make_timeline(clip, resolution_area=320 * 180, end=0.99)
    frames = [cv2.resize(frame, (480, 270)) for frame in read_frames(clip, timeline)]
    close = [cv2.resize(frame[40:175, 120:360], (480, 270)) for frame in frames]
    films = tmp_path / "project"
    hdr = {"pix_fmt": "yuv420p10le", "transfer": 18, "matrix": 9}
    write_clip(films / "phone.mp4", frames, rate=timeline.frame_rate, **hdr)
    write_clip(films / "cut.mp4", frames[:8] + close[8:16] + frames[16:], rate=timeline.frame_rate)
    tracks = (48000, "stereo", "aac", 440), (44100, "mono", "aac", 880)
    unknown(write_film(films / "tracks.mp4", tracks, frames=frames), 1)
    halves = (
        ("a.ts", (48000, "stereo", "ac3", 440), frames[:12]),
        ("b.ts", (44100, "5.1", "ac3", 440), frames[12:]),
    )
    for name, track, pictures in halves:
        write_film(films / name, [track], frames=pictures)
    (films / "changes.ts").write_bytes(b"".join((films / n).read_bytes() for n, *_ in halves))
    names = ("phone.mp4", "cut.mp4", "tracks.mp4", "changes.ts")
    row = {"reference": str(CLIPS / "talking_head_reference.jpeg"), "mode": mode, "fps": "source"}
    project.write_table(*(row | {"clip": Path(n).stem, "video": f"../{n}"} for n in names))
    assert "track 2 is taken" in project.snakemake().stderr
    for name in names:
        stem = Path(name).stem
        folder = films / "results" / stem
        assert len(list(read_video(folder / f"{stem}.mp4"))) == len(
            json.loads((folder / "timeline.json").read_text())["source_indices"]
        )
        drawn = [frame.max() > 100 for frame in read_video(folder / "src_pose.mp4")]
        assert np.mean(drawn) > 0.95, name
        with av.open(str(folder / f"{stem}.mp4")) as container:
            heard = container.streams.audio
            sound = [f.to_ndarray() for f in container.decode(heard)] if heard else []
        loud = bool(sound) and max(np.abs(block).max() for block in sound) > 0.1
        assert loud == (stem in ("tracks", "changes")), name
    shots = json.loads((films / "results/cut/timeline.json").read_text())["shots"]
    assert shots == [0, 8, 16]
