"""What the jobs of a cluster ask for when clips use the official detectors: by a dry run."""

import re

import pytest

from animate.demo.clips import write_demo
from project import new_project

CONFIG = """
model: tiny
defaults: {preset: draft}
cluster: {partition: main, gpu_partition: fast, gpu_model: fake, cpus_per_gpu: 3}
"""
FILES = {"video": "../demo/driving.mp4", "reference": "../demo/character.png"}
CLIPS = {
    "plain": {"mode": "replace"},
    "animated": {"mode": "animate", "retarget": "basic", "pose_backend": "vitpose"},
    "official": {"mode": "replace", "pose_backend": "vitpose", "mask_backend": "sam2"},
    "outlined": {"mode": "replace", "mask_backend": "sam2"},
    "posed": {"mode": "replace", "pose_backend": "vitpose"},
}
RULE = re.compile(r"^ *rule (\w+):\n(?:.+\n)*? *wildcards: clip=(\w+)\n(?:.+\n)*?"
                  r" *resources: (.*)$", re.MULTILINE)  # fmt: skip
PREPARATION = {"timeline", "reference", "keypoints", "reference_keypoints", "person_mask"}
PREPARATION |= {"pose_video", "face_video", "mask", "background", "preview"}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = new_project(tmp_path_factory.mktemp("detectors") / "clips")
    write_demo(project.folder / "demo")
    project.write_table(*({"clip": clip, **FILES, **row} for clip, row in CLIPS.items()))
    project.profile = ("--profile", "slurm")
    return project


def asked(project, detectors: str) -> dict[str, dict[str, dict[str, str]]]:
    """Return what each stage of each clip's preparation asks for."""
    (project.folder / "quick.yaml").write_text(f"{CONFIG}detectors: {detectors}\n")
    done = project.snakemake("--dry-run")
    found: dict[str, dict] = {clip: {} for clip in CLIPS}
    for rule, clip, text in RULE.findall(done.stdout + done.stderr):
        if rule in PREPARATION:
            found[clip][rule] = dict(part.split("=", 1) for part in text.split(", "))
    return found


def test_detectors_with_a_gpu_are_the_only_jobs_that_ask_for_one(project):
    found = asked(project, "cuda")
    on_gpu = {
        clip: {rule for rule, values in stages.items() if values.get("gpu", "0") != "0"}
        for clip, stages in found.items()
    }
    assert on_gpu == {
        "plain": set(),
        "animated": {"keypoints", "reference_keypoints"},
        "official": {"keypoints", "person_mask"},
        "outlined": {"person_mask"},
        "posed": {"keypoints"},
    }
    for clip, rules in on_gpu.items():
        for rule, values in found[clip].items():
            assert values["slurm_partition"] == ("fast" if rule in rules else "main")
            assert ("slurm_extra" in values) == (rule in rules)
            if rule in rules:
                assert "--gpus-per-node=fake:1" in values["slurm_extra"]
                assert (values["gpu"], values["cpus_per_task"]) == ("1", "3")


def test_without_gpus_only_what_holds_weights_asks_for_more_memory(project):
    found = asked(project, "cpu")
    large = {
        (clip, rule)
        for clip, stages in found.items()
        for rule, values in stages.items()
        if int(values["mem_mb"]) > 2000
    }
    assert large == {
        ("animated", "keypoints"),
        ("animated", "reference_keypoints"),
        ("official", "keypoints"),
        ("official", "person_mask"),
        ("outlined", "person_mask"),
        ("posed", "keypoints"),
    }
    assert not any("gpu" in values for stages in found.values() for values in stages.values())
