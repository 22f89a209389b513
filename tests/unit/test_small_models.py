"""The models that the workflow writes itself: which there are, and the one that comes with it."""

import filecmp
import json

import diffusers
import pytest
import torch
import transformers
from safetensors import safe_open

from animate.cluster.requests.amounts import image_encoder_mb, sampling_mb, text_encoder_mb
from animate.config.configuration import Configuration
from animate.config.models.known import SMALL_MODELS
from animate.demo.model import write_tiny_model
from animate.demo.shipped import TRAINED, WEIGHTS
from animate.demo.tiny2 import TRANSFORMER, write_tiny_2
from animate.demo.trained import write_demo_model
from animate.devices.machine import choose_device
from animate.model.image import encode_reference
from animate.model.vae import load_vae

MOST_BYTES = 20_000_000


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    write_demo_model(folder / "demo")
    write_tiny_model(folder / "tiny")
    write_tiny_2(folder / "tiny-2")
    return folder


@pytest.mark.parametrize("model", SMALL_MODELS)
def test_a_small_model_asks_for_little_and_samples_on_a_cpu(models, model):
    assert Configuration(model=model).model == model
    wanted = text_encoder_mb(model), image_encoder_mb(model), sampling_mb(1, model, attempt=1)
    assert max(wanted) <= 2000
    environment = {"CUDA_VISIBLE_DEVICES": ""}
    if not torch.cuda.is_available():
        assert choose_device("auto", models / model, environment) == "cpu"


def test_the_trained_weights_are_small_and_in_half_precision():
    files = [file for part in TRAINED for file in (WEIGHTS / part).glob("*.safetensors")]
    assert len(files) == 2 and sum(file.stat().st_size for file in files) <= MOST_BYTES
    for file in files:
        with safe_open(file, "pt") as stored:
            kinds = {stored.get_slice(name).get_dtype() for name in stored.keys()}  # noqa: SIM118
        assert kinds == {"F16"}


def test_the_demos_encoders_are_those_of_training(models):
    for part in ("text_encoder", "image_encoder", "tokenizer"):
        same = filecmp.dircmp(models / "demo" / part, models / "tiny" / part)
        assert same.same_files and not same.diff_files
        assert not same.left_only + same.right_only


def test_the_demos_latents_are_standardised_by_what_was_measured(models):
    config = json.loads((models / "demo/vae/config.json").read_text())
    assert len(config["latents_mean"]) == len(config["latents_std"]) == 16
    vae = load_vae(models / "demo/vae", torch.float32, torch.device("cpu"))
    assert vae.config.latents_std == config["latents_std"]


def test_diffusers_loads_the_tiny_model_of_wan_animate_2_and_its_features_fit(models):
    folder = models / "tiny-2"
    index = json.loads((folder / "model_index.json").read_text())
    assert index.pop("_class_name") == diffusers.WanAnimate2ModularPipeline.__name__
    libraries = {"diffusers": diffusers, "transformers": transformers}
    # Tokenizers have many classes that read the same files.
    assert index.pop("tokenizer")[0] == "transformers"
    parts = {
        part: getattr(libraries[library], name).from_pretrained(folder / part)
        for part, (library, name) in index.items()
    }
    assert parts.keys() == {"image_encoder", "scheduler", "text_encoder", "transformer", "vae"}
    assert parts["scheduler"].config.flow_shift == 5.0
    features = encode_reference(parts["image_encoder"], torch.zeros(1, 3, 64, 96))
    assert parts["transformer"].img_emb(features.float()).shape == (1, 257, TRANSFORMER["dim"])
    assert sum(file.stat().st_size for file in folder.rglob("*")) < 2 * MOST_BYTES


def test_the_same_seed_gives_the_same_tiny_model_of_wan_animate_2(models, tmp_path):
    write_tiny_2(tmp_path / "again")
    for file in (models / "tiny-2").rglob("*.safetensors"):
        same = tmp_path / "again" / file.relative_to(models / "tiny-2")
        assert filecmp.cmp(file, same, shallow=False)
    write_tiny_2(tmp_path / "other", seed=1)
    weights = "transformer/diffusion_pytorch_model.safetensors"
    assert not filecmp.cmp(tmp_path / "other" / weights, tmp_path / "again" / weights, False)
