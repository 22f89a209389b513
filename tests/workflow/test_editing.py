"""Clips that are retargeted by a picture editor, run by Snakemake with a tiny real pipeline."""

import json
import re

import pytest
import yaml
from PIL import Image

from animate.demo.clips import write_demo
from animate.video.timeline import Timeline
from editors import write_editor
from project import QUICK, new_project

FILES = {"video": "../demo/driving.mp4", "reference": "../demo/character.png"}
OWN = {"retarget": "flux", "retarget_model": "../editor", "retarget_steps": "1"}
EDIT = {"edit_reference", "edit_driver", "edited_pose"}
PREPARED = ("src_pose.mp4", "preview.png", "verdict.json")


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    """The table: a clip that is edited, one that replaces, and one retargeted as before."""
    return [
        {"clip": "edited", "mode": "animate", "end": "0.4", **FILES, **OWN},
        {"clip": "swap", "mode": "replace", "end": "0.4", **FILES, "retarget": "flux"},
        {"clip": "basic", "mode": "animate", "end": "0.4", **FILES, "retarget": "basic"},
    ]


@pytest.fixture(scope="module")
def project(tmp_path_factory, rows):
    project = new_project(tmp_path_factory.mktemp("editing") / "clips")
    write_demo(project.folder / "demo")
    write_editor(project.folder / "editor")
    project.write_table(*rows)
    return project


def targets(clip: str) -> list[str]:
    return [f"results/{clip}/{name}" for name in PREPARED]


def test_only_the_clip_that_asks_is_edited_and_all_say_what_they_do_not_read(project):
    jobs = project.pending_jobs()
    assert set(jobs["edited"]) >= EDIT and jobs[""]["edit_prompts"] == 1
    assert not EDIT & {*jobs["swap"], *jobs["basic"]}
    done = project.snakemake("--dry-run")
    assert "'retarget', which is read with mode animate only" in done.stdout + done.stderr


@pytest.fixture
def closed(project, rows, monkeypatch):
    """The project with a clip whose editor asks for a token, where there is none."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(project.folder / "nothing"))
    project.write_table(rows[0] | {"retarget_model": ""})
    yield project
    project.write_table(*rows)


def test_a_closed_repository_is_refused_before_anything_starts(closed):
    done = closed.snakemake("--dry-run", check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 1 and "row 2, column 'retarget_model'" in said
    assert "no commercial use" in said and "set HF_TOKEN" in said


@pytest.mark.parametrize("mode", ["remote", "subprocess"])
def test_a_job_refuses_nothing_that_was_planned_where_the_token_is(closed, mode):
    picture = "results/edited/src_ref.png"
    assert closed.snakemake("--dry-run", picture, check=False).returncode == 1
    closed.snakemake("--mode", mode, "--dry-run", picture)


def test_every_gpu_job_of_the_editor_stands_alone_on_a_cluster(project):
    config = yaml.safe_load(QUICK) | {"detectors": "cuda", "cluster": {"gpu_partition": "fast"}}
    (project.folder / "quick.yaml").write_text(yaml.safe_dump(config))
    slurm = project.copy_to(project.folder.parent / "slurm")
    slurm.profile = ("--profile", "slurm")
    (project.folder / "quick.yaml").write_text(QUICK)
    # Repositories also hold all weights in one file, which no pipeline reads.
    with (slurm.folder / "editor/flux1-kontext-dev.safetensors").open("wb") as file:
        file.truncate(24_000_000_000)
    done = slurm.snakemake("--dry-run", *targets("edited"))
    jobs = re.findall(r"rule (\w+):\n(?:.+\n)*? *resources: (.*)\n", done.stdout + done.stderr)
    on_gpu = {rule for rule, asked in jobs if re.search(r"\bgpu=1\b", asked)}
    assert on_gpu == {"edit_reference", "edit_driver"}
    memory = [re.search(r"\bmem_mb=(\d+)", asked)[1] for rule, asked in jobs if rule in on_gpu]
    assert all(9000 <= int(megabytes) < 10_000 for megabytes in memory)


@pytest.mark.slow
def test_two_pictures_are_edited_measured_and_shown_and_run_again_when_their_settings_change(
    project, rows
):
    done = project.snakemake(*targets("edited"))
    folder = project.folder / "results/edited"
    driving = Timeline.from_json(folder / "timeline.json").source_size
    with Image.open(folder / "src_ref.png") as reference:
        sizes = {"reference": reference.size, "driver": driving}
    for name, size in sizes.items():
        with Image.open(folder / f"retarget_{name}.png") as picture:
            assert picture.size == tuple(size)
    outcome = json.loads((folder / "retarget.json").read_text())
    # Random weights make noise: nobody is in it, and the clip goes on as with basic.
    assert set(outcome["problems"]) == {"reference", "driving frame"}
    assert "cannot be measured" in done.stdout + done.stderr
    assert json.loads((folder / "metrics.json").read_text())["edited"] == 0
    verdict = json.loads((folder / "verdict.json").read_text())
    assert any("edited picture" in sentence for sentence in verdict["sentences"])

    assert project.pending_jobs(*targets("edited")) == {}
    project.write_table(rows[0] | {"retarget_seed": "1"}, *rows[1:])
    changed = project.pending_jobs(*targets("edited"))
    assert set(changed["edited"]) >= EDIT and "" not in changed
    assert not {"keypoints", "reference_keypoints", "face_video"} & set(changed["edited"])
    # `require` is asked by the verdict alone.
    project.write_table(rows[0] | {"require": "edited=1"}, *rows[1:])
    assert set(project.pending_jobs(*targets("edited"))["edited"]) == {"verdict"}
    project.snakemake(*targets("edited"))
    verdict = json.loads((folder / "verdict.json").read_text())
    assert verdict["state"] == "bad"
    project.write_table(rows[0] | {"retarget": "basic"}, *rows[1:])
    assert not EDIT & set(project.pending_jobs(*targets("edited"))["edited"])
