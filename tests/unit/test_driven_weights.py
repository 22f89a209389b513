"""Wan-Animate-2's weights: from every kind of file to the same tensors, and no other model's."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import WanAnimate2Transformer3DModel
from safetensors.torch import load_file, save_file

from animate.config.job import read_job
from animate.config.lora_choice import LoraFile
from animate.demo.model import write_tiny_model
from animate.demo.tiny2 import IMAGE_WIDTH, TRANSFORMER, write_tiny_2
from animate.devices.machine import Machine
from animate.errors import ClipError
from animate.kernels.fp8 import convert_to_fp8
from animate.parallel.loading import Resident, fill_transformer
from animate.sampling.progress import Progress
from animate.sampling.run import run_job
from animate.weights.architecture import check_architecture, check_transformer_file
from animate.weights.checkpoint import FP32_PARTS, empty_transformer
from animate.weights.convert import check_transformer, original_transformer
from animate.weights.kinds import KINDS, named_kind
from animate.weights.original_names import driven_names, transformer_names
from animate.weights.prepare import prepare
from animate.weights.prepared import COPIES
from animate.weights.transformer_file.glance import fault_at_a_glance
from driven_models import driven_originals
from published_loras import PUBLISHED, RANK, write_published
from sampler_clip import change_settings, result_frames, write_driven_clip
from transformer_files import original_naming, write_gguf, write_plain, write_scaled

CPU = torch.device("cpu")
BLOCKS, WIDTH = TRANSFORMER["num_layers"], TRANSFORMER["dim"]
POSED, DRIVEN = KINDS
SIZES = {
    "width": WIDTH,
    "ffn": TRANSFORMER["ffn_dim"],
    "text": TRANSFORMER["text_dim"],
    "image": IMAGE_WIDTH,
    "frequency": TRANSFORMER["freq_dim"],
    "blocks": BLOCKS,
    "face blocks": 0,
}
SHARD = "diffusion_pytorch_model.safetensors"
MATRIX = "blocks.3.cross_attn.q.weight"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny model in fp32, none of whose numbers is one of bf16."""
    folder = tmp_path_factory.mktemp("tiny-2")
    write_tiny_2(folder)
    return folder


@pytest.fixture(scope="module")
def base(folder):
    return loaded(folder)


@pytest.fixture(scope="module")
def posed(tmp_path_factory):
    """The tiny model of the first kind, and its tensors by their original names."""
    folder = tmp_path_factory.mktemp("tiny")
    write_tiny_model(folder, face_size=32)
    return folder, original_naming(folder / "transformer", transformer_names(5, 1))


def loaded(model: Path, source: Path | None = None, *loras, dtype=torch.float32, say=print):
    """Return the parameters of a model, filled from a file or from its own folder."""
    weights = empty_transformer(model / "transformer", dtype)
    return filled(weights, source or model / "transformer", *loras, say=say)


def filled(weights, source: Path, *loras, say=print) -> dict[str, torch.Tensor]:
    loras = [LoraFile(*lora) for lora in loras]
    fill_transformer(weights, source, CPU, Resident(weights), loras, say)
    return {name: parameter.detach() for name, parameter in weights.named_parameters()}


def original_weights(folder: Path, wrapped: bool) -> dict[str, torch.Tensor]:
    weights = WanAnimate2Transformer3DModel.from_pretrained(folder / "transformer")
    return driven_originals(weights, wrapped)


def write(path: Path, form: str, weights: dict) -> dict:
    """Write a file of some form; return the numbers that it stands for, by original name."""
    if form.startswith("Q"):
        pytest.importorskip("gguf")
        return write_gguf(path, weights, form)
    if form == "fp8":
        return write_scaled(path, weights)
    return write_plain(path, weights, torch.bfloat16, "model.diffusion_model." * (form != "bf16"))


def file_of(folder: Path, form: str) -> Path:
    return folder / ("wan.gguf" if form.startswith("Q") else "wan.safetensors")


@pytest.mark.parametrize("form", ["bf16", "prefixed", "fp8", "Q8_0"])
def test_both_namings_load_to_the_same_tensors(folder, tmp_path, form):
    path, names, found = file_of(tmp_path, form), driven_names(BLOCKS), []
    for wrapped in (True, False):
        numbers = write(path, form, original_weights(folder, wrapped))
        assert ("blocks.0.block.ffn.0.weight" in numbers) == wrapped
        check_transformer_file(path)
        fault_at_a_glance.cache_clear()
        assert fault_at_a_glance(path, DRIVEN) == ""
        parameters = loaded(folder, path)
        assert len(numbers) == len(parameters)
        for name, tensor in numbers.items():
            assert torch.equal(parameters[names[name][0]], tensor.float()), name
        found.append(parameters)
    assert all(torch.equal(found[0][name], tensor) for name, tensor in found[1].items())


def test_a_clip_from_one_file_is_that_of_the_folder_to_the_bit(folder, tmp_path):
    model, file = tmp_path / "model", tmp_path / "wan.safetensors"
    shutil.copytree(folder, model)
    weights = {k: v.bfloat16().float() for k, v in load_copy(folder / "transformer").items()}
    save_file(weights, model / "transformer" / SHARD, {"format": "pt"})
    write(file, "bf16", original_weights(model, wrapped=True))
    path = write_driven_clip(tmp_path / "clip", model, 5, segment_frames=5)
    frames = []
    for settings in ({}, {"transformer_file": str(file)}):
        change_settings(path, **settings)
        shutil.rmtree(tmp_path / "clip/.journal", ignore_errors=True)
        run_job(read_job(path), Machine(CPU, torch.float32), Progress("test", quiet=True))
        frames.append(result_frames(path))
        (model / "transformer" / SHARD).unlink(missing_ok=True)
    assert frames[0].std() > 0 and np.array_equal(*frames)


def test_the_published_file_has_the_names_and_sizes_of_diffusers_class(tmp_path):
    """As its key names are documented, with the sizes of the published model."""
    with torch.device("meta"):
        published = WanAnimate2Transformer3DModel()
    tensors = driven_originals(published, wrapped=True)
    assert tensors["blocks.0.block.self_attn.q.weight"].shape == (5120, 5120)
    assert tensors["patch_embedding.weight"].shape == (5120, 36, 1, 2, 2)
    assert {"head.modulation", "img_emb.proj.4.bias", "blocks.39.block.modulation"} < set(tensors)
    model, names = original_transformer(tmp_path, tensors)
    assert type(model) is type(published)
    sizes = {k: v for k, v in published.config.items() if not k.startswith("_")}
    assert {k: model.config[k] for k in sizes} == sizes
    check_transformer(tmp_path, tensors, model, names)
    del tensors["blocks.7.block.cross_attn.k_img.bias"]
    missing = r"not a Wan-Animate-2 checkpoint: missing blocks\.7\.cross_attn\.add_k_proj\.bias"
    with pytest.raises(ClipError, match=missing):
        check_transformer(tmp_path, tensors, model, names)


@pytest.mark.parametrize(
    "changes, problem",
    [
        ({MATRIX: None}, r"missing blocks\.3\.cross_attn\.to_q\.weight"),
        ({MATRIX: torch.zeros(3, 64)}, r"misshapen blocks\.3\.cross_attn\.to_q\.weight \(3, 64\)"),
        ({"alien": torch.zeros(3)}, "unexpected alien"),
        # A text-to-video model sees the noise alone.
        (
            {"patch_embedding.weight": torch.zeros(WIDTH, 16, 1, 2, 2)},
            r"misshapen patch_embedding\.weight \(64, 16, 1, 2, 2\)",
        ),
        ({"patch_embedding.weight": torch.zeros(195, 36, 1, 2, 2)}, "heads of 128 do not fill its"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_by_tensor(folder, tmp_path, changes, problem):
    weights = original_weights(folder, wrapped=False) | changes
    path = tmp_path / "wan.safetensors"
    save_file({name: tensor for name, tensor in weights.items() if tensor is not None}, path)
    with pytest.raises(ClipError, match=f"{path} is not a Wan-Animate-2 checkpoint: .*{problem}"):
        check_transformer_file(path)
    if "heads" not in problem:
        with pytest.raises(ClipError, match=f"Wan-Animate-2 checkpoint: .*{problem}"):
            loaded(folder, path)


@pytest.mark.parametrize("form", ["bf16", "Q8_0"])
@pytest.mark.parametrize("wrapped", [True, False])
def test_a_file_of_the_other_kind_is_refused_by_name(folder, posed, tmp_path, form, wrapped):
    posed_folder, posed_weights = posed
    (tmp_path / "posed").mkdir()
    own, other = file_of(tmp_path, form), file_of(tmp_path / "posed", form)
    write(own, form, original_weights(folder, wrapped))
    write(other, form, posed_weights)
    for model, path, kind, found in (
        (folder, other, DRIVEN, "Wan2.2-Animate"),
        (posed_folder, own, POSED, "Wan-Animate-2"),
    ):
        fault = f"has the layers of {found}, not those of {kind.title}: use a file of that model"
        assert fault_at_a_glance(path, kind) == fault
        with pytest.raises(ClipError, match=f"{path} {fault}"):
            loaded(model, path)


@pytest.mark.parametrize(
    "change, problem",
    [
        ({"blocks.2.modulation": None}, r"missing blocks\.2\.modulation"),
        ({"head.head.bias": torch.zeros(7)}, r"misshapen head\.head\.bias \(7,\) instead of \(64,"),
        ({"head.head.bias": torch.zeros(64).to(torch.float8_e4m3fn)}, "head.head.bias .* F8_E4M3"),
    ],
)
def test_the_architecture_names_what_does_not_fit(folder, tmp_path, change, problem):
    check_architecture(folder)
    for part in ("transformer", "vae"):
        shutil.copytree(folder / part, tmp_path / part)
    tensors = load_file(tmp_path / "transformer" / SHARD) | change
    kept = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    save_file(kept, tmp_path / "transformer" / SHARD)
    with pytest.raises(ClipError, match=problem):
        check_architecture(tmp_path)


def test_settings_call_the_kinds_by_their_names():
    assert named_kind("posed") is POSED and named_kind("driven") is DRIVEN


@pytest.mark.parametrize("precision", ["bf16", "fp8"])
def test_prepared_copies_are_what_is_loaded_without_them(folder, tmp_path, precision):
    (tmp_path / "transformer").mkdir()
    for path in (folder / "transformer").iterdir():
        (tmp_path / "transformer" / path.name).symlink_to(path)
    assert "rounded numbers" in prepare(tmp_path, precision)
    both = []
    for source in (tmp_path / "transformer", tmp_path / COPIES[precision]):
        weights = empty_transformer(tmp_path / "transformer", torch.bfloat16)
        if precision == "fp8":
            convert_to_fp8(weights, fused=False)
        both.append(filled(weights, source))
    stored = load_copy(tmp_path / COPIES[precision])
    assert both[0].keys() == both[1].keys() == stored.keys()
    for name, tensor in both[0].items():
        assert torch.equal(tensor.view(torch.uint8), both[1][name].view(torch.uint8)), name
        if FP32_PARTS.search(name):
            assert stored[name].dtype == torch.float32
    rows = [name for name, t in stored.items() if t.dtype == torch.float8_e4m3fn]
    assert len(rows) == (8 * BLOCKS if precision == "fp8" else 0)


def load_copy(folder: Path) -> dict[str, torch.Tensor]:
    return {k: v for path in folder.glob("*.safetensors") for k, v in load_file(path).items()}


@pytest.mark.parametrize("name", PUBLISHED["loras"])
def test_every_key_of_a_published_lora_is_merged(folder, base, tmp_path, name):
    """Those for Wan 14B are used with this model, whose layers are the same."""
    lora = PUBLISHED["loras"][name]
    path, differences = write_published(lora, tmp_path, SIZES)
    merged = loaded(folder, None, (path, 0.7, "left_out" not in lora))
    expected, names = {k: v.double() for k, v in base.items()}, driven_names(BLOCKS)
    for original, difference in differences.items():
        (target,) = names[original]
        expected[target] = expected[target] + 0.7 * difference
    for parameter, value in merged.items():
        torch.testing.assert_close(value.double(), expected[parameter], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "layer",
    [
        "diffusion_model.blocks.1.self_attn.q",
        "diffusion_model.blocks.1.block.self_attn.q",
        "pipe.dit.blocks.1.block.self_attn.q",
        "lora_unet__blocks_1_self_attn_q",
        "lora_unet__blocks_1_block_self_attn_q",
        "transformer.blocks.1.self_attn.to_q",
        # As diffusers calls the layer in the models that most LoRAs were made for.
        "transformer.blocks.1.attn1.to_q",
    ],
)
def test_every_naming_of_a_layer_is_merged(folder, base, tmp_path, layer):
    down, up = torch.randn(RANK, WIDTH), torch.randn(WIDTH, RANK)
    save_file(
        {f"{layer}.lora_A.weight": down, f"{layer}.lora_B.weight": up}, tmp_path / "l.safetensors"
    )
    changes = changed(base, loaded(folder, None, (tmp_path / "l.safetensors", 0.5)))
    assert changes.keys() == {"blocks.1.self_attn.to_q.weight"}
    torch.testing.assert_close(*changes.values(), 0.5 * up @ down, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("key", "shape", "target"),
    [
        ("diffusion_model.blocks.1.diff_m", (1, 6, WIDTH), "blocks.1.modulation"),
        ("diffusion_model.blocks.1.modulation.diff", (1, 6, WIDTH), "blocks.1.modulation"),
        ("diffusion_model.head.diff_m", (1, 2, WIDTH), "head.modulation"),
        ("diffusion_model.blocks.1.norm3.diff_b", (WIDTH,), "blocks.1.norm3.bias"),
        ("diffusion_model.blocks.1.cross_attn.norm_k_img.diff", (WIDTH,), "norm_added_k.weight"),
        ("transformer.blocks.1.ffn.net.2.diff_b", (WIDTH,), "blocks.1.ffn.2.bias"),
        ("transformer.scale_shift_table.diff", (1, 2, WIDTH), "head.modulation"),
    ],
)
def test_whole_differences_are_added(folder, base, tmp_path, key, shape, target):
    difference = torch.randn(shape)
    save_file({key: difference}, tmp_path / "lora.safetensors")
    changes = changed(base, loaded(folder, None, (tmp_path / "lora.safetensors", 1.0)))
    assert [name for name in changes if name.endswith(target)] == list(changes)
    torch.testing.assert_close(*changes.values(), difference, atol=1e-5, rtol=0)


def changed(base: dict, merged: dict) -> dict[str, torch.Tensor]:
    """Return by how much parameters differ, those that do."""
    return {k: v - base[k] for k, v in merged.items() if not torch.equal(v, base[k])}


def test_a_lora_of_the_first_models_face_layers_is_refused_by_the_models_name(folder, tmp_path):
    key = "diffusion_model.face_adapter.fuser_blocks.0.linear2.diff"
    save_file({key: torch.zeros(WIDTH, WIDTH)}, tmp_path / "lora.safetensors")
    with pytest.raises(ClipError, match=f"does not fit Wan-Animate-2: keys without a place.*{key}"):
        loaded(folder, None, (tmp_path / "lora.safetensors", 1.0))


def test_the_index_and_the_parts_are_those_of_the_kind(folder, posed):
    for model, kind in ((folder, DRIVEN), (posed[0], POSED)):
        index = json.loads((model / "model_index.json").read_text())
        assert index["_class_name"] == kind.pipeline
        assert index["transformer"] == ["diffusers", kind.class_name]
        assert index["scheduler"] == ["diffusers", kind.scheduler]
        parts = {path.name for path in model.iterdir() if path.is_dir()}
        assert parts == index.keys() - {"_class_name"}
        assert ("image_processor" in parts) == kind.processor
