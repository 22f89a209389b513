"""The original repository, laid out as it is published, becomes a model."""

import json
import shutil
from collections import Counter

import numpy as np
import pytest
import torch

from animate.config.lora_choice import LoraFile
from animate.pose.backends.onnx import Network
from animate.weights.layout import relighting_lora
from models.client import SCRIPTS, Client
from models.hub_server import Hub
from models.layouts import (
    POSE_FILES,
    REPOSITORIES,
    files_of,
    write_diffusers,
    write_original,
    write_process_checkpoint,
)
from whole_model import load_transformer

MODEL = "wan2.2-animate-14b-original"
NEEDS = f"{MODEL}:generation,relighting", "preprocess:vitpose,sam2"
FILES = {
    *(f"original/diffusion_pytorch_model-{n:05d}-of-00004.safetensors" for n in range(1, 5)),
    "original/diffusion_pytorch_model.safetensors.index.json",
    "original/models_t5_umt5-xxl-enc-bf16.pth",
    "original/models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth",
    "original/Wan2.1_VAE.pth",
    "original/google/umt5-xxl/tokenizer.json",
    "original/google/umt5-xxl/tokenizer_config.json",
    "relighting_lora/adapter_model.safetensors",
    "relighting_lora/adapter_config.json",
    "process_checkpoint/det/yolov10m.onnx",
    "process_checkpoint/sam2/sam2_hiera_large.pt",
}
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def diffusers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("diffusers")
    write_diffusers(folder)
    return folder


@pytest.fixture(scope="module")
def hub(diffusers, tmp_path_factory):
    """A hub with the repository as published, everything in it tiny."""
    folder = tmp_path_factory.mktemp("published") / "original"
    write_original(diffusers, folder)
    write_process_checkpoint(folder)
    hub = Hub()
    hub.push(REPOSITORIES[1], files_of(folder))
    yield hub
    hub.close()


@pytest.fixture(scope="module")
def models(hub, tmp_path_factory):
    """The folder of the models, downloaded and converted by the scripts of the rules."""
    client = Client(tmp_path_factory.mktemp("project"), hub.endpoint)
    shutil.copy(SCRIPTS.parents[1] / "config" / "models.yaml", client.folder / "config")
    client.run("download_model", "--needs", *NEEDS)
    folder = client.folder / "models"
    source, target = folder / MODEL / "original", folder / MODEL
    client.run("convert_checkpoint", f"--input={source}", f"--output={target}", needs=())
    return folder


@pytest.fixture
def model(models):
    return models / MODEL


def test_converted_transformer_is_the_one_that_was_published(model, diffusers):
    converted = load_transformer(model / "transformer", torch.float32, CPU).state_dict()
    published = load_transformer(diffusers / "transformer", torch.float32, CPU).state_dict()
    assert converted.keys() == published.keys()
    for name, tensor in published.items():
        assert torch.equal(converted[name], tensor), name


def test_relighting_lora_is_shown_with_its_settings_and_fits(model):
    lora = relighting_lora(model)
    assert lora == model / "relighting_lora" / "adapter_model.safetensors"
    assert json.loads(lora.with_name("adapter_config.json").read_text())["lora_alpha"] == 4
    assert not (model / "relighting_lora.ckpt").exists()
    name = "blocks.0.attn1.to_q.weight"
    plain, lit = (
        load_transformer(model / "transformer", torch.float32, CPU, loras).get_parameter(name)
        for loras in ([], [LoraFile(lora)])
    )
    torch.testing.assert_close(lit - plain, torch.full_like(plain, 4))


def test_pose_network_runs_from_the_links_to_its_files(models):
    networks = models / "preprocess" / "process_checkpoint"
    folder = networks / "pose2d" / "vitpose_h_wholebody.onnx"
    assert len(list(folder.iterdir())) == POSE_FILES
    assert all(path.is_symlink() for path in folder.iterdir())
    heatmaps = Network(folder, "cpu")(np.ones((1, 3, 256, 192), np.float32))
    np.testing.assert_allclose(heatmaps[0, 0], 0, atol=1e-6)
    assert Network(networks / "det" / "yolov10m.onnx", "cpu")


def test_every_needed_file_is_fetched_once_and_no_other(models, hub):
    records = [json.loads(path.read_text()) for path in models.glob("*/sources.json")]
    parts = [part for record in records for part in record.values()]
    shown = {name for part in parts for name in part["files"]}
    pose = {name for name in shown if name.startswith("process_checkpoint/pose2d/")}
    assert (shown - pose, len(pose)) == (FILES, POSE_FILES)
    whole = (r for r in hub.requests if r.method == "GET" and r.sent and r.status == 200)
    fetched = Counter(r.path for r in whole)
    assert fetched.keys() == {name.removeprefix("original/") for name in shown}
    assert set(fetched.values()) == {1}
