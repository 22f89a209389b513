"""A whole run, from the table to the finished videos, the record and the report."""

import json
import re
import shutil
import time
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import psutil
import pytest

from animate.video.files import read_video
from project import ROOT


def decoded_frames(path):
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


@pytest.mark.parametrize(("clip", "frames"), [("dance", 37), ("swap", 38)])
def test_result_is_a_playable_video_with_sound(finished, clip, frames):
    path = finished.folder / "results" / clip / f"{clip}.mp4"
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, video.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert video.average_rate == 25
        assert video.duration * video.time_base == Fraction(frames, 25)
        assert audio.codec_context.name == "aac"
        assert abs(audio.duration * audio.time_base - Fraction(frames, 25)) < 0.05
    assert decoded_frames(path) == frames


@pytest.mark.parametrize(
    ("clip", "videos"),
    [("dance", {"pose", "face"}), ("swap", {"pose", "face", "bg", "mask"})],
)
def test_the_models_inputs_agree_with_the_timeline(finished, clip, videos):
    folder = finished.folder / "results" / clip
    timeline = json.loads((folder / "timeline.json").read_text())
    assert {path.stem for path in folder.glob("src_*.mp4")} == {f"src_{name}" for name in videos}
    assert (folder / "src_ref.png").is_file()
    for name in videos:
        size = [512, 512] if name == "face" else timeline["model_size"]
        with av.open(str(folder / f"src_{name}.mp4")) as container:
            stream = container.streams.video[0]
            assert [stream.width, stream.height] == size
        assert decoded_frames(folder / f"src_{name}.mp4") == timeline["frame_count"]


def test_animation_has_the_references_shape_and_replacement_the_videos(finished):
    sizes = {}
    for clip in ("dance", "swap"):
        timeline = json.loads((finished.folder / "results" / clip / "timeline.json").read_text())
        sizes[clip] = timeline["model_size"]
    assert sizes["dance"][0] < sizes["dance"][1]
    assert sizes["swap"][0] == sizes["swap"][1]


def test_nothing_temporary_is_left(finished):
    results = finished.folder / "results"
    assert [path.name for path in results.rglob("*.part*")] == []
    assert not (results / "dance" / ".journal").exists()
    assert not (finished.folder / "x").exists()


def test_each_distinct_prompt_is_encoded_once(finished):
    assert len(list((finished.folder / "results/.prompts/tiny").iterdir())) == 2


def test_preprocessing_is_judged_before_sampling(finished, tmp_path):
    for clip in ("dance", "swap"):
        metrics = json.loads((finished.folder / "results" / clip / "metrics.json").read_text())
        assert metrics["body"] == metrics["face"] == 1 and metrics["jumps"] == 0
        assert (finished.folder / "results" / clip / "preview.png").is_file()
    assert metrics["mask"] == 1
    early = finished.copy_to(tmp_path / "early")
    shutil.rmtree(early.folder / "results")
    jobs = early.pending_jobs("previews")
    assert jobs["dance"]["preview"] == jobs["dance"]["preview_video"] == 1
    assert jobs["dance"]["sample"] == 0


def test_record_explains_the_result(finished):
    record = json.loads((finished.folder / "results/swap/swap.json").read_text())
    assert record["settings"]["prompt"] == "it's {a} $(touch x); `dance`"
    assert record["mode"] == "replace"
    assert len(record["inputs"]["driving_video"]["sha256"]) == 64
    assert record["packages"]["torch"] and record["packages"]["mediapipe"]


def test_noise_is_announced_and_progress_is_shown(finished):
    assert "noise by design" in finished.output
    log = (finished.folder / "logs/sample/dance.log").read_text()
    assert "segment 1/2" in log and "step 1/1" in log
    assert "noise by design" in (finished.folder / "results/dance/dance.html").read_text()


@pytest.mark.slow
def test_a_run_says_how_far_its_clips_are(project, rows):
    rows[0] |= {"segment_frames": "13", "steps": "30"}
    project.write_table(*rows, rows[0] | {"clip": "other"})
    # It looks at its clips once a minute.
    project.program = (str(ROOT / "tests/slurm/impatient.py"),)
    said = project.snakemake("results/dance/sampled.mp4", "results/other/timeline.json").stderr
    line = r"clips: [01] of 2 finished, 1 sampling: dance segment \d/3 step \d+/30 about \d+ s left"
    assert re.search(line, said), said


@pytest.mark.slow
def test_clips_of_a_run_share_a_sampler_that_ends_with_it(project, rows):
    names = ("second", "third", "fourth")
    project.write_table(*rows, *(rows[0] | {"clip": name, "end": "0.5"} for name in names))
    project.snakemake(*(f"results/{name}/sampled.mp4" for name in names))
    logs = [(project.folder / f"logs/sample/{name}.log").read_text() for name in names]
    assert sum(log.count("loading the model from") for log in logs) == 1
    assert all("segment 1/1 step 1/1" in log for log in logs)
    deadline = time.monotonic() + 20
    while samplers(project.folder):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def samplers(folder):
    """Return the processes that run one of the samplers' scripts in a folder."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            scripts = [Path(word).name for word in process.cmdline()]
            if process.cwd() == str(folder) and {"keep_sampler.py", "sample.py"} & {*scripts}:
                found.append(process)
    return found


@pytest.mark.slow
def test_seeds_of_a_row_share_what_is_prepared(project, rows):
    # The first seed is the clip as it is.
    project.write_table(rows[0] | {"seed": "0..1"})
    assert set(project.pending_jobs()["dance~seed1"]) & {"sample", "keypoints"} == {"sample"}
    project.snakemake()
    first, other = (project.folder / "results" / name for name in ("dance", "dance~seed1"))
    # A link shows what is prepared, and files of its own what is sampled.
    assert {path.name for path in other.glob("src_*") if path.is_symlink()} == {
        path.name for path in first.glob("src_*")
    }
    assert not (other / "dance~seed1.mp4").is_symlink()
    videos = [list(read_video(folder / f"{folder.name}.mp4")) for folder in (first, other)]
    assert len(videos[0]) == len(videos[1]) and (videos[0][0] != videos[1][0]).any()
    assert json.loads((other / "dance~seed1.json").read_text())["settings"]["seed"] == 1
    assert project.pending_jobs() == {}


def test_report_holds_a_page_for_each_clip_and_names_the_others(project, rows):
    (project.folder / "text.mp4").write_text("this is not a video")
    project.write_table(
        *rows, rows[0] | {"clip": "text", "video": "../text.mp4"}, rows[0] | {"clip": "later"}
    )
    project.snakemake("results/text/timeline.json", check=False)
    said = project.snakemake("--report", "report.html").stderr
    why = "driving video text.mp4 is no video or is cut off"
    gallery = (project.folder / "results/index.html").read_text()
    states = re.findall(r'<article data-state="(\w+)"', gallery)
    assert states == ["finished", "finished", "failed", "waiting"] and why in gallery
    assert f"2 of 4 clips are not finished:\n  text: {why}" in said
    assert "  later: not started\n" in said and "Missing metadata" not in said
    report = (project.folder / "report.html").read_text()
    assert all(name in report for name in ("dance.html", "swap.html", "Not finished", why))
    assert "text.html" not in report and "later.html" not in report
    assert "Driving video, pose, reference and result of the clip" in report
    assert {"text", "later"} <= set(project.pending_jobs())


def test_a_gallery_stands_beside_the_results(finished):
    results = finished.folder / "results"
    page = (results / "index.html").read_text()
    links = re.findall(r'(?:href|src|data-video)="([^"]+)"', page)
    assert {"dance/index.html", "dance/dance.jpg", "swap/swap.mp4"} <= set(links)
    assert all((results / link).is_file() for link in links)
    videos = re.findall(r'<video src="([^"]+)"', (results / "swap/index.html").read_text())
    names = ("driving", "src_pose", "src_face", "src_mask", "src_bg", "swap")
    assert videos == [f"{name}.mp4" for name in names]
    for video in videos:
        with av.open(str(results / "swap" / video)) as container:
            context = container.streams.video[0].codec_context
            # What every browser plays.
            assert (context.name, context.pix_fmt) == ("h264", "yuv420p")


def test_the_gallery_is_written_beside_a_run_that_is_alive(project):
    note, page = project.folder / "logs/run.json", project.folder / "results/index.html"
    note.write_text("{}")
    page.unlink()
    project.snakemake("gallery", "--nolock")
    assert page.is_file() and note.is_file()
