"""One table of clips of both models: which rules each has, what is refused, what runs again."""

import json

import pytest

from animate.demo.clips import write_demo
from animate.video.files import video_info
from project import new_project

FRAMES = {"video": "../demo/driving.mp4", "reference": "../demo/character.png", "mode": "animate"}
PROMPT = "人物外观描述：红色机器人。背景描述：白色房间。"
# Two spaces, which nobody may make one.
DRIVEN = {"model": "tiny-2", "prompt": f"{PROMPT}  it's  {{a}}"}
FOUND = {"keypoints", "reference_keypoints", "pose_video", "face_video", "preview", "last_frames"}
SEEN = {"driving_frames", "reference_frame", "driving_features", "driven_preview"}
SHARED = {"timeline", "sound", "reference", "reference_features", "driving", "verdict", "accept"}
SHARED |= {"sample", "mux", "result_keypoints", "result_metrics", "provenance", "page"}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A project that was never run, with rows of both models."""
    project = new_project(tmp_path_factory.mktemp("mixed") / "a project")
    write_demo(project.folder / "demo")
    project.write_table(
        {"clip": "posed", **FRAMES, "end": "1", "prompt": DRIVEN["prompt"]},
        {"clip": "driven", **FRAMES, "end": "1", **DRIVEN, "guidance_scale": "2"},
        {"clip": "on", **FRAMES, "end": "1", **DRIVEN, "continue_from": "driven", "seed": "1..2"},
    )
    return project


def test_each_clip_has_the_rules_of_its_model(mixed):
    jobs = mixed.pending_jobs()
    posed, driven, on = (set(jobs[clip]) for clip in ("posed", "driven", "on"))
    assert posed == SHARED | FOUND - {"last_frames"}
    assert driven == SHARED | SEEN | {"intermediate"}
    assert on == SHARED | SEEN | {"driven_last_frames"}
    # No seed changes what is prepared.
    assert not SEEN & set(jobs["on~seed2"]) and "driven_last_frames" in jobs["on~seed2"]
    # One text is read by both models; the second has a negative and a driving prompt besides.
    others = dict(jobs[""])
    assert others.pop("seed_file") > 0
    assert others == {"small_model": 2, "prompt": 1, "prompt_as_given": 3}
    previews = set(mixed.pending_jobs("previews")["driven"])
    assert previews == SEEN - {"driving_features"} | {"driven_preview_video"} | SHARED & {
        *("timeline", "sound", "reference", "driving", "verdict")
    }


def test_what_a_model_cannot_do_is_refused_and_what_it_does_not_read_is_said(mixed, tmp_path):
    project = mixed.copy_to(tmp_path / "a project")
    row = {"clip": "driven", **FRAMES, **DRIVEN}
    project.write_table(
        row | {"mode": "replace"},
        row | {"clip": "mute", "prompt": ""},
        row | {"clip": "good", "retarget": "basic", "pose_video": "../demo/driving.mp4"},
    )
    done = project.snakemake(check=False)
    assert done.returncode == 1 and "2 mistakes" in done.stderr
    assert "row 2, column 'mode': model tiny-2 has no mode replace" in done.stderr
    assert "row 3, column 'prompt': missing" in done.stderr and "人物外观描述" in done.stderr
    assert "'retarget', which is not read with model tiny-2: ignored for good" in done.stderr
    assert "'pose_video', which is not read with model tiny-2" in done.stderr


def test_plan_and_parts_follow_the_model_of_each_clip(mixed, tmp_path):
    project = mixed.copy_to(tmp_path / "a project")
    big = {**FRAMES, "end": "3", "prompt": PROMPT, "resolution_area": "1280x720"}
    big |= {"segment_fit": "pad"}
    project.write_table(
        {"clip": "tiny", **FRAMES},
        {"clip": "base", **big, "preset": "wan-animate-2"},
        {"clip": "distilled", **big, "preset": "wan-animate-2-distilled"},
    )
    project.snakemake("plan")
    lines = (project.folder / "results/plan.tsv").read_text("utf-8").splitlines()
    rows = {line.split("\t")[0]: line.split("\t") for line in lines}
    # Of GPUs with 80 GB, whose host keeps what the first pass made of the driving video.
    peaks = {clip: float(rows[clip][9]) for clip in ("base", "distilled")}
    assert 47 < peaks["distilled"] < peaks["base"] < 48
    assert rows["base"][10] == "24: 99, 48: 68" and rows["tiny"][9:11] == ["", ""]
    minutes = {clip: float(rows[clip][7]) for clip in ("base", "distilled")}
    assert rows["base"][4] == "40" and rows["distilled"][4] == "10"
    assert 4 < minutes["base"] / minutes["distilled"] < 9


@pytest.mark.slow
def test_both_models_in_one_table_and_only_what_changed_runs_again(mixed, tmp_path):
    project = mixed.copy_to(tmp_path / "a project")
    project.snakemake()
    assert project.pending_jobs() == {}
    folder = project.folder / "results"
    for clip in ("posed", "driven", "on", "on~seed2"):
        assert (folder / clip / f"{clip}.mp4").is_file() and (
            folder / clip / f"{clip}.html"
        ).is_file()
    record = json.loads((folder / "driven/driven.json").read_text())
    assert record["model"]["path"] == "models/tiny-2" and record["settings"]["driving_prompt"]
    # Seeds share the reference, whose shape the frame does not have: its strips are not shown.
    for clip in ("driven", "on", "on~seed2"):
        timeline = json.loads((folder / clip / "timeline.json").read_text())
        made = json.loads((folder / clip / f"{clip}.json").read_text())
        shown = video_info(folder / clip / f"{clip}.mp4").size
        assert list(shown) == made["output"]["size"] == [96, 132]
        assert timeline["model_size"] == made["sampling"]["frame"]["size"] == [96, 144]
    assert video_info(folder / "driven/intermediate.mp4").size == (96, 144)
    assert "frame" not in json.loads((folder / "posed/posed.json").read_text())["sampling"]
    figures = record["figures"]
    assert "identity" in figures and "pose_error" not in figures
    for page in ("driven/index.html", "driven/driven.html", "posed/posed.html"):
        said = "No figures compare this clip with a drawn pose" in (folder / page).read_text()
        assert said == page.startswith("driven"), page
    assert not (folder / "driven/src_pose.mp4").exists()
    # The first model's clip is not touched by what the second one reads, and the other way round.
    rows = [
        {"clip": "posed", **FRAMES, "end": "1", "prompt": DRIVEN["prompt"]},
        {"clip": "driven", **FRAMES, "end": "1", **DRIVEN, "guidance_scale": "2"},
        {"clip": "on", **FRAMES, "end": "1", **DRIVEN, "continue_from": "driven", "seed": "1..2"},
    ]
    project.write_table(*(row | {"log_scale": "-1"} for row in rows))
    assert {*project.pending_jobs()} >= {"driven", "on"} and "posed" not in project.pending_jobs()
    project.write_table(*(row | {"pose_strength": "0.5"} for row in rows))
    assert set(project.pending_jobs()) == {"posed"}
    rows[2]["driving_prompt"] = "人物"
    project.write_table(*rows)
    jobs = project.pending_jobs()
    assert set(jobs) == {"", "on", "on~seed2"} and "driving_frames" not in jobs["on"]
