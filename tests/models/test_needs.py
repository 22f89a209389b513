"""Which weights the plan of a run names for a clip."""

import pytest

from animate.demo.clips import write_demo
from workflow.project import new_project

CLIP = {"video": "../demo/driving.mp4", "reference": "../demo/character.png", "end": "0.2"}
LORA = "[{repo: maker/style, file: v1/style.safetensors}]"


@pytest.fixture
def project(tmp_path):
    project = new_project(tmp_path / "project")
    write_demo(project.folder / "demo")
    return project


def test_record_of_a_result_names_the_backends_and_loras_of_its_clip(project):
    project.write_table(
        {"clip": "posed", "mode": "animate", "pose_backend": "vitpose", "loras": LORA, **CLIP},
        {"clip": "masked", "mode": "replace", "mask_backend": "sam2", **CLIP},
        {"clip": "plain", "mode": "animate", **CLIP},
    )
    plan = project.snakemake("--dry-run", "--printshellcmds").stdout
    lines = [line for line in plan.splitlines() if "provenance.py" in line]
    preprocess = '"models/preprocess/sources.json": '
    weights = {
        "posed": '"models/loras/maker/style/main/sources.json": ["v1/style.safetensors"], '
        + f'{preprocess}["vitpose"]',
        "masked": f'{preprocess}["sam2"]',
        "plain": "",
    }
    for clip, expected in weights.items():
        (line,) = [line for line in lines if f"--clip {clip} " in line]
        assert f"--weights '{{{expected}}}'" in line
