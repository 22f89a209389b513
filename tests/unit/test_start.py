"""What a sampler imports before it works, and when it first speaks."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sampler_clip import write_clip, write_model

SCRIPTS = Path(__file__).parents[2] / "workflow/scripts"
IMPORT = re.compile(r"import time: +\d+ \| +\d+ \| +(\S+)")
# Of PyTorch: what only compiling and shards need. All else is used by no sampler.
HEAVY = {
    "accelerate",
    "diffusers.models.autoencoders.autoencoder_kl",
    "diffusers.models.transformers.transformer_flux",
    "diffusers.models.unets.unet_3d_blocks",
    "diffusers.pipelines",
    "ftfy",
    "pandas",
    "peft",
    "scipy",
    "sklearn",
    "snakemake",
    "sympy",
    "tokenizers",
    "torch._dynamo.convert_frame",
    "torch._inductor",
    "torch.distributed.fsdp",
    "torch.distributed.run",
    "transformers",
}
# 2,020 with torch 2.15 and diffusers 0.42; all of diffusers' models and the compiler are 3,150.
MOST_MODULES = 2400


@pytest.fixture(scope="module")
def events(tmp_path_factory) -> list[str]:
    """Return the lines and imports of a clip's launcher and its rank, in order."""
    folder = tmp_path_factory.mktemp("start")
    settings = write_clip(folder / "owl", write_model(folder / "model"), 5, segment_frames=5)
    done = subprocess.run(
        [sys.executable, SCRIPTS / "launch_sampler.py", "--gpus=1", "--device=cpu", settings],
        env=os.environ | {"PYTHONPROFILEIMPORTTIME": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout.splitlines()


def imports(events: list[str]) -> list[str]:
    return [found[1] for line in events if (found := IMPORT.match(line))]


def test_a_line_comes_before_the_libraries_do(events):
    first = next(index for index, line in enumerate(events) if " clip owl: " in line)
    assert re.search(r"clip owl: starting .* to load model$", events[first])
    before = imports(events[:first])
    assert not {"torch", "numpy", "pydantic", "diffusers", "cv2"} & set(before)
    assert len(before) < 200


def test_a_sampler_imports_what_it_uses_alone(events):
    assert any("finished: 5 frames" in line for line in events)
    found = imports(events)
    assert "torch" in found and HEAVY.intersection(found) == set()
    assert len(set(found)) < MOST_MODULES


def test_every_kind_of_transformer_is_imported_without_the_others():
    code = """
import sys
from animate.model.unused_libraries import USED, import_sampler_models, spare_imports
spare_imports("accelerate", "transformers")
import_sampler_models()
from animate.weights.kinds import KINDS
assert {kind.class_name for kind in KINDS} < set(USED)
import diffusers
for name in USED:
    getattr(diffusers, name)
print(*(name for name, module in sys.modules.items() if module))
"""
    command = [sys.executable, "-c", code]
    options = {"cwd": SCRIPTS, "check": True, "timeout": 300, "text": True}
    found = subprocess.run(command, stdout=subprocess.PIPE, **options).stdout.split()
    assert HEAVY.intersection(found) == set()
    assert "diffusers.models.transformers.transformer_wan_animate_2" in found


def test_what_was_left_out_is_imported_when_it_is_asked_for():
    code = """
from animate.model.unused_libraries import import_sampler_models
import_sampler_models()
from diffusers import AutoencoderKL, UNet3DConditionModel
from diffusers.hooks import apply_group_offloading
from diffusers.models.transformers import Transformer2DModel
import torch
assert torch.compile(lambda x: x + 1, backend="eager")(torch.ones(1)).item() == 2
from torch.nn.attention.flex_attention import flex_attention
"""
    subprocess.run([sys.executable, "-c", code], cwd=SCRIPTS, check=True, timeout=300)


def test_what_jobs_ask_of_a_cluster_is_computed_without_pytorch():
    code = """
import sys
import animate.cluster.requests.resources
assert not {"torch", "diffusers"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], cwd=SCRIPTS, check=True, timeout=300)
