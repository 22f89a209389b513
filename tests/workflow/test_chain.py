"""A row that takes another row's result: two people are replaced, one after the other."""

import json
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch

from animate.journal.segments import Journal
from animate.video.files import read_frames, read_masks, read_video, video_info
from animate.video.timeline import Timeline, make_timeline
from films import write_film
from project import new_project
from test_real_clips import CLIPS
from test_reruns import FINISH, SAMPLE

NAMES = ("market_boy", "talking_head")
HALF = (320, 384)
FRAMES_MADE = 30


def write_duet(path: Path) -> None:
    """Write a film of two people side by side, each in the middle of its half, with a tone."""
    halves = []
    for name in NAMES:
        timeline = make_timeline(CLIPS / f"{name}.mp4", resolution_area=64 * 64, fps="24", end=2)
        frames = [cv2.resize(f, (683, 384)) for f in read_frames(CLIPS / f"{name}.mp4", timeline)]
        left = (frames[0].shape[1] - HALF[0]) // 2
        halves.append([frame[:, left : left + HALF[0]] for frame in frames[:FRAMES_MADE]])
    pictures = [np.hstack(pair) for pair in zip(*halves, strict=True)]
    write_film(path, [(48_000, "stereo", "aac", 440)], frames=pictures)


def as_by_a_trained_model(folder: Path) -> np.ndarray:
    """Give the journal of a clip the frames of a model that keeps the scene; return all of them.

    The tiny model's are noise everywhere, in which nobody finds a second person.
    """
    key = json.loads((folder / "sampling.json").read_text())["key"]
    journal = Journal(folder / ".journal", key)
    segments = journal.whole_clip(video_info(folder / "sampled.mp4").frame_count)
    scene, mask = read_video(folder / "src_bg.mp4"), read_masks(folder / "src_mask.mp4")
    made = []
    for index in range(segments):
        noise = journal.frames(index).numpy()
        kept = zip(noise, scene, mask, strict=False)
        frames = np.stack([np.where(m[..., None] > 0, n, s) for n, s, m in kept])
        journal.store(index, torch.from_numpy(frames), journal.tail(index), {})
        made.append(frames)
    return np.concatenate(made)


@pytest.fixture(scope="module")
def duet(tmp_path_factory):
    """The project whose two rows replace the two people of a film, and what the first row made."""
    if not CLIPS.is_dir():
        pytest.skip(f"no folder of real clips at {CLIPS}")
    project = new_project(tmp_path_factory.mktemp("duet") / "project")
    write_duet(project.folder / "duet.mp4")
    row = {"mode": "replace", "fps": "source", "resolution_area": "640x384"}
    row |= {"segment_frames": "17", "cuts": "ignore"}
    first = row | {"clip": "first", "video": "../duet.mp4", "person": "160,192"}
    second = row | {"clip": "second", "video": "clip:first", "person": "480,192"}
    first["reference"], second["reference"] = (str(CLIPS / f"{n}_reference.jpeg") for n in NAMES)
    project.rows = [second, first]
    project.write_table(*project.rows)
    # Nothing of the second row can be made yet, and nothing is looked for.
    jobs = project.pending_jobs("previews", "export_keypoints")
    assert jobs["first"]["export_clip_keypoints"] == jobs["first"]["verdict"] == 1
    assert jobs.keys() - {""} == {"first"} and "sample" not in jobs["first"]
    project.snakemake("results/first/sampled.mp4")
    project.first = as_by_a_trained_model(project.folder / "results/first")
    project.console = project.snakemake("all", "results/second/preview.mp4").stderr
    return project


@pytest.mark.slow
def test_both_rows_finish_and_each_mask_covers_its_person(duet):
    assert "second" not in duet.pending_jobs("previews")
    assert duet.pending_jobs() == {}
    results = duet.folder / "results"
    middle = HALF[0]
    for name, own, other in (
        ("first", slice(0, middle), slice(middle, None)),
        ("second", slice(middle, None), slice(0, middle)),
    ):
        masks = np.stack(list(read_masks(results / name / "person_mask.mp4")))
        assert len(masks) == FRAMES_MADE
        assert masks[..., own].mean(axis=(1, 2)).min() > 0.1, name
        assert masks[..., other].mean() < 0.02, name


@pytest.mark.slow
def test_the_second_row_reads_what_was_sampled_without_any_loss(duet):
    results = duet.folder / "results"
    video, timeline = results / "first/intermediate.mp4", results / "second/timeline.json"
    timeline = Timeline.from_json(timeline)
    assert timeline.frame_rate == 24 and timeline.source_indices == tuple(range(FRAMES_MADE))
    assert timeline.model_size == timeline.source_size == (640, 384)
    assert np.array_equal(list(read_frames(video, timeline)), duet.first)
    assert "H.264" not in duet.console
    assert not list(results.glob("*/.journal"))


@pytest.mark.slow
def test_sound_and_length_are_kept(duet):
    with av.open(str(duet.folder / "results/second/preview.mp4")) as container:
        assert container.streams.audio
    path = duet.folder / "results/second/second.mp4"
    with av.open(str(path)) as container:
        assert sum(1 for _ in container.decode(video=0)) == FRAMES_MADE
    with av.open(str(path)) as container:
        heard = np.concatenate([f.to_ndarray()[0] for f in container.decode(audio=0)])
    assert abs(len(heard) / 48_000 - FRAMES_MADE / 24) < 0.05
    assert abs(np.abs(np.fft.rfft(heard)).argmax() * 48_000 / len(heard) - 440) < 2


@pytest.mark.slow
def test_the_record_names_the_clip_that_the_video_came_from(duet):
    inputs = {}
    for name in ("first", "second"):
        record = json.loads((duet.folder / f"results/{name}/{name}.json").read_text())
        inputs[name] = record["inputs"]["driving_video"]
    assert inputs["second"]["clip"] == "first" and "clip" not in inputs["first"]
    assert inputs["second"]["path"] == "results/first/intermediate.mp4"
    page = (duet.folder / "results/second/second.html").read_text()
    assert "the result of first" in page


@pytest.mark.slow
def test_another_seed_of_the_first_row_runs_the_second_again(duet):
    second, first = duet.rows
    duet.write_table(second, first | {"seed": "1"})
    jobs = duet.pending_jobs()
    assert jobs["first"] == {**SAMPLE, "intermediate": 1}
    assert (
        jobs["second"]["timeline"] == jobs["second"]["keypoints"] == jobs["second"]["sample"] == 1
    )
    duet.write_table(second | {"seed": "1"}, first)
    assert duet.pending_jobs() == {"second": SAMPLE}
    duet.write_table(second, first | {"sound": "none"})
    jobs = duet.pending_jobs()
    assert jobs == {"first": {"sound": 1, **FINISH}, "second": {"sound": 1, **FINISH}}
    duet.write_table(*duet.rows)


@pytest.mark.slow
def test_a_row_is_added_to_a_finished_one_without_sampling_that_again(project, rows):
    project.write_table(
        *rows, rows[1] | {"clip": "again", "video": "clip:swap", "start": "", "end": ""}
    )
    jobs = project.pending_jobs()
    assert jobs["swap"] == {"intermediate": 1}
    assert jobs["again"]["timeline"] == jobs["again"]["sample"] == jobs["again"]["mux"] == 1


@pytest.mark.slow
def test_who_waits_for_a_row_that_failed_is_said(project, rows):
    (project.folder / "text.mp4").write_text("this is not a video")
    broken = rows[0] | {"clip": "broken", "video": "../text.mp4"}
    last = rows[0] | {"clip": "last", "video": "clip:next"}
    project.write_table(*rows, broken, broken | {"clip": "next", "video": "clip:broken"}, last)
    said = project.snakemake("--keep-going", check=False).stderr
    assert "1 of 5 clips failed, 2 more are not finished" in said
    assert "  next: waits for broken, whose result it takes\n" in said
    assert "  last: waits for next, whose result it takes\n" in said
    said = project.snakemake("--report", "report.html").stderr
    assert "  next: waits for broken, whose result it takes\n" in said


def test_a_circle_is_refused_by_its_rows(project, rows):
    around = rows[0] | {"clip": "around", "video": "clip:swap"}
    project.write_table(rows[0], rows[1] | {"video": "clip:around"}, around)
    done = project.snakemake("--dry-run", check=False)
    assert done.returncode and "rule " not in done.stdout
    for row, other in ((3, 4), (4, 3)):
        circle = f"(row {row} takes row {other}, row {other} takes row {row})"
        assert f"row {row}, column 'video': no row of a circle can be first {circle}" in done.stdout
