"""A result shows the part of the model's frame in which the reference lies, without the strips."""

import itertools
import json
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image

import intermediate
from animate.config.job import read_job
from animate.demo.tiny2 import write_tiny_2
from animate.devices.machine import machine_of
from animate.devices.world import ALONE
from animate.errors import ClipError
from animate.journal.segments import Journal
from animate.results.provenance import read_json
from animate.sampling.progress import Progress
from animate.sampling.run import run_job
from animate.video.files import VideoWriter, read_video, video_info
from animate.video.framed import REFERENCE, Part, framed, inner_size, shown_part
from animate.video.timeline import make_timeline, model_size
from films import write_film
from sampler_clip import RATE, write_driven_clip
from stages import stage

FRAMES, SIZE = 14, (80, 48)
# Beside the first are strips left and right, over and under the other two; odd sides among them.
PICTURES = {(157, 101): (3, 0, 74, 48), (123, 59): (0, 5, 80, 38), (160, 91): (0, 1, 80, 44)}


def test_no_strip_is_left_and_at_most_one_pixel_of_the_picture_is_lost():
    for width, height in itertools.product(range(40, 1500, 97), repeat=2):
        size = model_size(width, height, 96 * 64)
        part, inner = shown_part((width, height), size), inner_size((width, height), size)
        frame = framed(np.full((height, width, 3), 255, np.uint8), size, REFERENCE)
        assert part.cut(frame).min() == 255, (width, height)
        assert not any(side % 2 for side in part.size)
        lost = [own - shown for own, shown in zip(inner, part.size, strict=True)]
        assert all(0 <= pixels <= 1 for pixels in lost), (width, height)
    # Nothing is cut off where the shapes agree.
    assert shown_part((1920, 1080), (1280, 720)) == Part(0, 0, 1280, 720)


def test_what_is_cut_is_put_back_in_its_place():
    frame = np.random.default_rng(0).integers(1, 256, (48, 80, 3), np.uint8)
    part = Part(3, 5, 74, 38)
    whole = part.put_back(part.cut(frame), (80, 48))
    assert np.array_equal(part.cut(whole), part.cut(frame))
    assert whole.sum() == part.cut(frame).astype(int).sum()


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """One clip sampled once for the whole frame, and once for each of `PICTURES`."""
    folder = tmp_path_factory.mktemp("clips")
    write_tiny_2(folder / "model")
    made = {}
    for picture in (None, *PICTURES):
        clip = folder / ("whole" if picture is None else "{}x{}".format(*picture))
        settings = {"segment_frames": 9, "segment_fit": "pad"}
        path = write_driven_clip(clip, folder / "model", FRAMES, SIZE, solver="dpm++", **settings)
        if picture:
            Image.new("RGB", picture, "white").save(clip / "shown.png")
            job = json.loads(path.read_text()) | {"cut_to": str(clip / "shown.png")}
            path.write_text(json.dumps(job))
        run_job(read_job(path), machine_of(ALONE, "cpu"), Progress("clip", quiet=True))
        made[picture] = clip
    return made


def stored(clip: Path) -> np.ndarray:
    """Return the frames that a clip's journal holds."""
    journal = Journal(clip / ".journal", read_json(clip / "sampling.json")["key"])
    segments = journal.whole_clip(FRAMES)
    return np.array(list(intermediate.frames_of(journal, segments, 0)))


def planes(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray() for frame in container.decode(video=0)]


def seen_by_opencv(path: Path) -> np.ndarray:
    capture = cv2.VideoCapture(str(path))
    return np.array([frame for read, frame in iter(capture.read, (False, None))])


def packets(path: Path, kind: str) -> list[tuple]:
    """Return time, duration and content of each packet of the pictures or of the sound."""
    with av.open(str(path)) as container:
        stream = getattr(container.streams, kind)[0]
        found = [p for p in container.demux(stream) if p.dts is not None]
        return [(p.pts * p.time_base, p.duration * p.time_base, bytes(p)) for p in found]


def muxed(clip: Path, folder: Path) -> Path:
    """Return the finished video of a clip, by the script of the rule `mux`, with a sound."""
    film = write_film(folder / "film.mp4", [(48000, "stereo", "aac", 440)])
    make_timeline(film, resolution_area=64 * 64).to_json(folder / "timeline.json")
    (folder / "sound.json").write_text('{"track": 1}')
    names = {"video": clip / "sampled.mp4", "driving_video": film, "journal": folder / ".journal"}
    names |= {"sound": folder / "sound.json", "timeline": folder / "timeline.json"}
    stage("mux", None, output=folder / "result.mp4", keep_journal=True, **names)
    return folder / "result.mp4"


@pytest.mark.parametrize("picture", PICTURES, ids=str)
def test_a_finished_video_shows_the_reference_s_part_and_is_encoded_once(clips, tmp_path, picture):
    part = Part(*PICTURES[picture])
    assert shown_part(picture, SIZE) == part
    result = {}
    for name, which in (("whole", None), ("part", picture)):
        (tmp_path / name).mkdir()
        result[name] = muxed(clips[which], tmp_path / name)
    # What is sampled and kept does not depend on what is shown.
    frames = stored(clips[picture])
    assert np.array_equal(frames, stored(clips[None])) and frames.shape[1:3] == SIZE[::-1]
    # The very pictures that one encoding makes of the frames' part.
    with VideoWriter(tmp_path / "expected.mp4", part.size, RATE, "result") as video:
        for frame in frames:
            video.write(part.cut(frame))
    assert np.array_equal(planes(result["part"]), planes(tmp_path / "expected.mp4"))
    shown = np.array(list(read_video(result["part"])))
    assert shown.shape == (FRAMES, part.height, part.width, 3)
    # As near to what was sampled as the whole frames' video is there.
    whole = np.array([part.cut(frame) for frame in read_video(result["whole"])])
    inner = np.array([part.cut(frame) for frame in frames]).astype(float)
    lost = [np.abs(one - inner).mean() for one in (shown, whole)]
    assert lost[0] < 1.1 * lost[1] and np.abs(shown - whole.astype(float)).mean() < 2 * lost[1]
    # Another reader finds the same frames: nothing is left to a player to cut off.
    seen = seen_by_opencv(result["part"])
    assert seen.shape == shown.shape
    assert np.array_equal(seen, seen_by_opencv(tmp_path / "expected.mp4"))
    pictures, sounds = (
        [packets(result[name], kind) for name in ("part", "whole")] for kind in ("video", "audio")
    )
    assert sounds[0] == sounds[1] and len(sounds[0]) > 20
    assert [one[:2] for one in pictures[0]] == [one[:2] for one in pictures[1]]
    assert [one[0] for one in pictures[0]] == [Fraction(n) / RATE for n in range(FRAMES)]


def test_the_record_says_what_is_shown(clips):
    assert "frame" not in read_json(clips[None] / "sampling.json")
    picture, place = next(iter(PICTURES.items()))
    record = read_json(clips[picture] / "sampling.json")
    assert record["frame"] == {"size": list(SIZE), "part": list(place)}


def test_a_clip_that_was_begun_before_goes_on_and_shows_the_part(clips, tmp_path, monkeypatch):
    """Its first segment was stored by a sampler that knew of no part."""
    clip = clips[None]
    record = read_json(clip / "sampling.json")
    other = Journal(tmp_path / ".journal", record["key"])
    source = Journal(clip / ".journal", record["key"])
    other.store(0, source.frames(0), source.tail(0), source.made_by(0))
    picture, place = next(iter(PICTURES.items()))
    Image.new("RGB", picture, "white").save(tmp_path / "shown.png")
    job = json.loads((clip / "settings.json").read_text()) | {
        "output": str(tmp_path / "sampled.mp4"),
        "record": str(tmp_path / "sampling.json"),
        "journal": str(tmp_path / ".journal"),
        "cut_to": str(tmp_path / "shown.png"),
    }
    (tmp_path / "settings.json").write_text(json.dumps(job))
    progress, planned = Progress("clip", quiet=True), []
    plan = progress.plan
    monkeypatch.setattr(progress, "plan", lambda *args: planned.append(args[:2]) or plan(*args))
    run_job(read_job(tmp_path / "settings.json"), machine_of(ALONE, "cpu"), progress)
    assert planned == [(2, 1)]
    assert video_info(tmp_path / "sampled.mp4").size == tuple(place[2:])
    assert np.array_equal(stored(tmp_path), stored(clip))


def test_a_picture_that_is_gone_is_named_before_anything_is_read(clips, tmp_path):
    job = json.loads((clips[None] / "settings.json").read_text())
    gone = tmp_path / "src_ref.png"
    (tmp_path / "settings.json").write_text(json.dumps(job | {"cut_to": str(gone)}))
    with pytest.raises(ClipError, match=f"{gone} does not exist; start Snakemake again"):
        read_job(tmp_path / "settings.json")


def test_other_rows_take_whole_frames(clips, tmp_path):
    """Exact ones of the journal, or else those of the video with black around."""
    picture, place = next(iter(PICTURES.items()))
    part, clip = Part(*place), clips[picture]
    frames = stored(clip)
    key = read_json(clip / "sampling.json")["key"]
    journal = Journal(tmp_path / ".journal", key)
    source = Journal(clip / ".journal", key)
    for index in range(2):
        kept = source.frames(index), source.tail(index), source.made_by(index)
        journal.store(index, *kept, source.again(index))
    files = {"video": clip / "sampled.mp4", "journal": tmp_path / ".journal", "blend": 0}
    files |= {"record": clip / "sampling.json", "output": tmp_path / "intermediate.mp4"}
    stage("intermediate", None, **files)
    assert np.array_equal(list(read_video(files["output"])), frames)
    assert not journal.whole_clip(FRAMES)
    stage("intermediate", None, **files)
    taken = np.array(list(read_video(files["output"])))
    assert taken.shape == frames.shape
    shown = [part.cut(frame) for frame in taken]
    assert np.array_equal(shown, list(read_video(clip / "sampled.mp4")))
    assert not taken[:, :, : part.left].any()
