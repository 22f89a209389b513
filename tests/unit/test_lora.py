"""Merged LoRAs equal unmerged ones, whatever the file calls its layers."""

import argparse
import ctypes
import gc
import json
import math
import os
import re
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from safetensors.torch import load_file, save_file
from torch.serialization import get_safe_globals

from animate.config.job import read_job
from animate.demo.model import TRANSFORMER, write_tiny_model
from animate.devices.world import ALONE
from animate.errors import ClipError
from animate.model.transformer import SamplingTransformer
from animate.parallel.build import build_transformer
from animate.parallel.plan import Workload
from animate.sampling.weights import job_loras
from animate.weights.lora.merge import LoraFile, LoraStack
from animate.weights.original_names import transformer_names
from published_loras import DTYPES, PUBLISHED, RANK, published_shapes, write_published
from sampler_clip import write_clip
from whole_model import load_transformer

CPU = torch.device("cpu")
FACTOR = 0.7
TINY_SIZES = {
    "width": 64,
    "ffn": TRANSFORMER["ffn_dim"],
    "text": TRANSFORMER["text_dim"],
    "image": TRANSFORMER["image_dim"],
    "frequency": TRANSFORMER["freq_dim"],
    "blocks": TRANSFORMER["num_layers"],
    "face blocks": 1,
}
LAYERS = ("self_attn.q", "self_attn.o", "cross_attn.v_img", "cross_attn.k", "ffn.0", "ffn.2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    write_tiny_model(folder)
    return folder


def load(folder, *loras, say=print):
    loras = [LoraFile(*lora) for lora in loras]
    return load_transformer(folder / "transformer", torch.float32, CPU, loras, say)


def pairs() -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Return down and up matrices by the layer's original name."""
    generator = torch.Generator().manual_seed(5)
    width, hidden = 64, TRANSFORMER["ffn_dim"]
    result = {}
    for n in range(TRANSFORMER["num_layers"]):
        for layer in LAYERS:
            rows = hidden if layer == "ffn.0" else width
            columns = hidden if layer == "ffn.2" else width
            down = torch.randn(RANK, columns, generator=generator) * 0.1
            result[f"blocks.{n}.{layer}"] = (
                down,
                torch.randn(rows, RANK, generator=generator) * 0.1,
            )
    return result


def diffusers_layer(layer: str) -> str:
    names = transformer_names(TRANSFORMER["num_layers"], 1)
    return names[f"{layer}.weight"][0].removesuffix(".weight")


@pytest.mark.parametrize("name", PUBLISHED["loras"])
def test_every_key_of_a_published_lora_is_merged(folder, base, tmp_path, name):
    lora = PUBLISHED["loras"][name]
    path, differences = write_published(lora, tmp_path, TINY_SIZES)
    if "left_out" in lora:
        with pytest.raises(ClipError, match=lora["refusal"]):
            load(folder, (path, FACTOR))
    said = []
    merged = load(folder, (path, FACTOR, "left_out" not in lora), say=said.append)
    expected = {key: value.double() for key, value in base.named_parameters()}
    names = transformer_names(TRANSFORMER["num_layers"], 1)
    for original, difference in differences.items():
        targets = names[original]
        for target, part in zip(targets, difference.chunk(len(targets)), strict=True):
            expected[target] = expected[target] + FACTOR * part
    for parameter, value in merged.named_parameters():
        torch.testing.assert_close(value.double(), expected[parameter], atol=1e-5, rtol=0)
    left_out = lora.get("left_out", {})
    assert len(said) == bool(left_out)
    assert all(f"{len(left_out)} of" in line and key in line for line in said for key in left_out)


@pytest.mark.parametrize("name", [n for n, lora in PUBLISHED["loras"].items() if "bytes" in lora])
def test_recorded_keys_make_a_file_of_the_published_size(name):
    lora = PUBLISHED["loras"][name]
    shapes = {
        keys[role]: shape
        for _, keys, own in published_shapes(lora, PUBLISHED["sizes"], lora["rank"])
        for role, shape in own.items()
    }
    header: dict[str, dict] = {"__metadata__": lora["header"]} if lora["header"] else {}
    end = 0
    for key, shape in sorted(shapes.items()):
        start, end = end, end + math.prod(shape) * DTYPES[lora["dtype"]].itemsize
        header[key] = {"dtype": lora["dtype"], "shape": shape, "data_offsets": [start, end]}
    text = len(json.dumps(header, separators=(",", ":")))
    assert 8 + math.ceil(text / 8) * 8 + end == lora["bytes"]


def forward(weights) -> torch.Tensor:
    """Return a forward on fixed inputs."""
    generator = torch.Generator().manual_seed(1)

    def noise(*shape):
        return torch.randn(shape, generator=generator)

    model = SamplingTransformer(weights)
    with torch.inference_mode():
        constants = model.segment_constants(
            noise(1, 20, 3, 4, 4),
            noise(1, 16, 2, 4, 4),
            noise(1, 3, 5, 512, 512),
            noise(1, 257, 32),
            noise(1, 7, 32),
        )
        return model(noise(1, 16, 3, 4, 4), model.time_embedding(torch.tensor([500])), constants)


@pytest.fixture(scope="module")
def unmerged(folder):
    """The forward with the LoRA beside the weights, by PEFT itself; alpha is twice the rank."""
    weights = load(folder)
    targets = [diffusers_layer(layer) for layer in pairs()]
    config = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=targets)
    inject_adapter_in_model(config, weights)
    for layer, (down, up) in pairs().items():
        module = weights.get_submodule(diffusers_layer(layer))
        module.lora_A["default"].weight.data = down
        module.lora_B["default"].weight.data = up
        module.scaling["default"] *= FACTOR
    return forward(weights)


@pytest.fixture(scope="module")
def base(folder):
    """The weights without a LoRA."""
    return load(folder)


@pytest.fixture(scope="module")
def plain(base):
    """The forward without a LoRA."""
    return forward(base)


def peft_file(path):
    tensors = {}
    for layer, (down, up) in pairs().items():
        tensors[f"base_model.model.{layer}.lora_A.weight"] = down
        tensors[f"base_model.model.{layer}.lora_B.weight"] = up
    save_file(tensors, path)
    path.with_name("adapter_config.json").write_text(json.dumps({"lora_alpha": 2 * RANK}))


def diffusers_file(path):
    tensors = {}
    for layer, (down, up) in pairs().items():
        tensors[f"transformer.{diffusers_layer(layer)}.lora_A.weight"] = down
        tensors[f"transformer.{diffusers_layer(layer)}.lora_B.weight"] = 2 * up
    save_file(tensors, path)


def diffusers_file_with_settings(path):
    diffusers_file(path)
    tensors = load_file(path)
    ups = [name for name in tensors if ".lora_B." in name]
    settings = json.dumps({"transformer.r": RANK, "transformer.lora_alpha": 2 * RANK})
    save_file(
        tensors | {name: tensors[name] / 2 for name in ups},
        path,
        {"lora_adapter_metadata": settings},
    )


def lightx2v_file(path):
    tensors = {}
    for layer, (down, up) in pairs().items():
        tensors[f"diffusion_model.{layer}.lora_down.weight"] = down
        tensors[f"diffusion_model.{layer}.lora_up.weight"] = up
        tensors[f"diffusion_model.{layer}.alpha"] = torch.tensor(2.0 * RANK)
    save_file(tensors, path)


def musubi_file(path):
    tensors = {}
    for layer, (down, up) in pairs().items():
        name = "lora_unet_" + layer.replace(".", "_")
        tensors[f"{name}.lora_down.weight"] = down
        tensors[f"{name}.lora_up.weight"] = up
        tensors[f"{name}.alpha"] = torch.tensor(2.0 * RANK)
    save_file(tensors, path)


NAMINGS = (
    peft_file,
    diffusers_file,
    diffusers_file_with_settings,
    lightx2v_file,
    musubi_file,
)


@pytest.mark.parametrize("write", NAMINGS)
def test_merged_equals_unmerged(folder, plain, unmerged, tmp_path, write):
    path = tmp_path / "lora.safetensors"
    write(path)
    merged = forward(load(folder, (path, FACTOR)))
    assert (merged - unmerged).norm() / unmerged.norm() < 1e-5
    assert (merged - plain).norm() / plain.norm() > 1e-2


def test_relighting_lora_is_merged(folder):
    path = folder / "relighting_lora.ckpt"
    state = torch.load(path, weights_only=True)["state_dict"]
    before, after = load(folder), load(folder, (path, 1.0))
    for layer in ("blocks.2.cross_attn.v", "blocks.4.ffn.2"):
        down, up = (state[f"{layer}.lora_{side}.weight"] for side in "AB")
        change = [m.get_submodule(diffusers_layer(layer)).weight for m in (after, before)]
        assert torch.allclose(change[0] - change[1], up @ down, atol=1e-5)


def test_whole_differences_are_added(folder, base, tmp_path):
    generator = torch.Generator().manual_seed(2)
    tensors = {
        "diffusion_model.blocks.1.norm3.diff": torch.randn(64, generator=generator),
        "diffusion_model.blocks.1.ffn.0.diff_b": torch.randn(128, generator=generator),
        "diffusion_model.blocks.1.modulation.diff_m": torch.randn(1, 6, 64, generator=generator),
        "diffusion_model.face_adapter.fuser_blocks.0.linear1_kv.diff": torch.randn(
            128, 64, generator=generator
        ),
    }
    save_file(tensors, tmp_path / "diff.safetensors")
    before, after = base, load(folder, (tmp_path / "diff.safetensors", 0.5))
    changes = {
        name: (new - old).detach() * 2
        for (name, old), new in zip(before.named_parameters(), after.parameters(), strict=True)
        if not torch.equal(old, new)
    }
    norm, bias, modulation, both = tensors.values()
    expected = {
        "blocks.1.norm2.weight": norm,
        "blocks.1.ffn.net.0.proj.bias": bias,
        "blocks.1.scale_shift_table": modulation,
        "face_adapter.0.to_k.weight": both[:64],
        "face_adapter.0.to_v.weight": both[64:],
    }
    assert changes.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.allclose(changes[name], value, atol=1e-5), name


def test_convolutions_are_merged(folder, base, tmp_path):
    down, up = torch.randn(RANK, 36, 1, 2, 2), torch.randn(64, RANK, 1, 1, 1)
    tensors = {"diffusion_model.patch_embedding.lora_down.weight": down}
    tensors["diffusion_model.patch_embedding.lora_up.weight"] = up
    save_file(tensors, tmp_path / "conv.safetensors")
    before, after = base, load(folder, (tmp_path / "conv.safetensors", 1.0))
    change = after.patch_embedding.weight - before.patch_embedding.weight
    expected = torch.einsum("orxyz,rithw->oithw", up, down)
    assert torch.allclose(change, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("key", "shape", "changed"),
    [
        ("diffusion_model.blocks.1.modulation.diff_m", (1, 6, 64), "blocks.1.scale_shift_table"),
        ("diffusion_model.blocks.1.modulation.diff", (1, 6, 64), "blocks.1.scale_shift_table"),
        ("diffusion_model.head.modulation.diff_m", (1, 2, 64), "scale_shift_table"),
        ("lycoris_blocks_1_attn1_to_q.diff", (64, 64), "blocks.1.attn1.to_q.weight"),
        ("lora_transformer_blocks_1_norm2.w_norm", (64,), "blocks.1.norm2.weight"),
        ("module.model.diffusion_model.head.head.diff_b", (64,), "proj_out.bias"),
        ("blocks.1.ffn.net.2.diff_b", (64,), "blocks.1.ffn.net.2.bias"),
    ],
)
def test_other_spellings_of_a_layer_are_taken(folder, base, tmp_path, key, shape, changed):
    difference = torch.randn(shape)
    save_file({key: difference}, tmp_path / "lora.safetensors")
    before, after = base, load(folder, (tmp_path / "lora.safetensors", 1.0))
    changes = {
        name: new - old
        for (name, old), new in zip(before.named_parameters(), after.parameters(), strict=True)
        if not torch.equal(old, new)
    }
    assert changes.keys() == {changed}
    assert torch.allclose(changes[changed], difference, atol=1e-5)


def test_bias_of_a_peft_lora_is_scaled_as_peft_does(folder, tmp_path):
    down, up = pairs()["blocks.1.self_attn.q"]
    bias = torch.randn(64)
    weights = load(folder)
    config = LoraConfig(
        r=RANK, lora_alpha=2 * RANK, lora_bias=True, target_modules=["blocks.1.attn1.to_q"]
    )
    inject_adapter_in_model(config, weights)
    module = weights.blocks[1].attn1.to_q
    module.lora_A["default"].weight.data = down
    module.lora_B["default"].weight.data = up
    module.lora_B["default"].bias.data = bias
    key = "base_model.model.blocks.1.self_attn.q"
    tensors = {f"{key}.lora_A.weight": down, f"{key}.lora_B.weight": up, f"{key}.lora_B.bias": bias}
    save_file(tensors, tmp_path / "lora.safetensors")
    (tmp_path / "adapter_config.json").write_text(json.dumps({"lora_alpha": 2 * RANK}))
    merged = load(folder, (tmp_path / "lora.safetensors", 1.0)).blocks[1].attn1.to_q
    inputs = torch.randn(3, 64)
    torch.testing.assert_close(merged(inputs), module(inputs), atol=1e-4, rtol=0)
    assert not torch.allclose(merged(inputs), module.base_layer(inputs), atol=1e-1)


@pytest.mark.parametrize("strict", [True, False])
def test_lora_of_another_model_is_refused_with_its_keys(folder, tmp_path, strict):
    tensors = {"lora_unet_single_blocks_0_linear1.lora_down.weight": torch.zeros(4, 64)}
    tensors["lora_unet_single_blocks_0_linear1.lora_up.weight"] = torch.zeros(64, 4)
    save_file(tensors, tmp_path / "flux.safetensors")
    with pytest.raises(ClipError, match=r"2 of 2 \(lora_unet_single_blocks_0_linear1") as error:
        load(folder, (tmp_path / "flux.safetensors", 1.0, strict))
    assert "made for Wan 14B image-to-video or Animate" in str(error.value)
    assert "strict: false" not in str(error.value), "it would not help"


STRANGE_KEYS = {
    "layer that the model does not have": ("blocks.99.self_attn.q.diff", (64, 64)),
    "half of a pair": ("blocks.0.self_attn.q.lora_down.weight", (4, 64)),
    "bias of a pair that is not there": ("blocks.0.self_attn.q.lora_up.bias", (64,)),
    "no kind of difference": ("blocks.0.self_attn.q.weight", (64, 64)),
    "block without its parameter": ("blocks.0.diff_b", (64,)),
    "second of its kind": ("blocks.0.modulation.diff_m.default", (1, 6, 64)),
    "alpha alone": ("blocks.0.norm3.alpha", ()),
}


@pytest.mark.parametrize(("key", "shape"), STRANGE_KEYS.values(), ids=STRANGE_KEYS)
def test_exactly_the_keys_without_a_place_are_named_and_left_out(folder, tmp_path, key, shape):
    path, good = tmp_path / "lora.safetensors", tmp_path / "good.safetensors"
    save_file({"blocks.0.modulation.diff_m": torch.randn(1, 6, 64)}, good)
    save_file(load_file(good) | {key: torch.ones(shape)}, path)
    found = rf"keys without a place: 1 of 2 \({re.escape(key)}\)"
    with pytest.raises(ClipError, match=found + r"\. Use a LoRA .* or set `strict: false`"):
        load(folder, (path, 1.0))
    said = []
    merged = load(folder, (path, 1.0, False), say=said.append)
    assert len(said) == 1
    assert re.search(found, said[0])
    assert str(path) in said[0]
    for name, value in load(folder, (good, 1.0)).named_parameters():
        assert torch.equal(value, merged.get_parameter(name)), name


def test_what_a_clip_leaves_out_stands_in_the_samplers_log(folder, tmp_path):
    path = tmp_path / "lora.safetensors"
    save_file({"head.diff_m": torch.ones(1, 2, 64), "other": torch.ones(1)}, path)
    lora = {"path": str(path), "weight": 0.5}
    jobs = [
        read_job(write_clip(tmp_path / name, folder, 2, loras=[lora | strict]))
        for name, strict in (("strict", {}), ("lenient", {"strict": False}))
    ]
    (strict,), (lenient,) = (job_loras(job) for job in jobs)
    assert strict == LoraFile(path, 0.5)
    assert lenient == LoraFile(path, 0.5, strict=False)
    said = []
    size = Workload(32, 32, 5)
    build_transformer(folder, torch.float32, CPU, [lenient], ALONE, size, said.append)
    assert any("keys without a place: 1 of 2 (other)" in line for line in said)


def test_only_the_first_of_many_keys_are_named(folder, tmp_path):
    keys = [f"blocks.{n}.self_attn.q.diff" for n in range(90, 99)]
    tensors = {key: torch.ones(64, 64) for key in ("blocks.0.ffn.2.bias", *keys)}
    save_file(tensors | {"head.diff_m": torch.ones(1, 2, 64)}, tmp_path / "lora.safetensors")
    with pytest.raises(ClipError, match=r"10 of 11 .* and 5 more"):
        load(folder, (tmp_path / "lora.safetensors", 1.0))


@pytest.mark.parametrize(
    ("down", "up"),
    [((4, 5120), (5120, 4)), ((4, 128), (64, 4)), ((8, 64), (128, 4))],
    ids=["larger model", "turned", "unequal ranks"],
)
def test_tensors_of_another_shape_are_named_and_left_out(folder, base, tmp_path, down, up):
    path = tmp_path / "lora.safetensors"
    tensors = {"blocks.0.ffn.0.lora_A.weight": torch.zeros(down)}
    tensors |= {
        "blocks.0.ffn.0.lora_B.weight": torch.zeros(up),
        "blocks.0.ffn.0.alpha": torch.ones(()),
    }
    save_file(tensors, path)
    shapes = f"blocks.0.ffn.0.lora_A.weight {down} and blocks.0.ffn.0.lora_B.weight {up}"
    for strict in (True, False):
        with pytest.raises(ClipError, match=rf"another shape: 3 of 3 \({re.escape(shapes)}"):
            load(folder, (path, 1.0, strict))
    save_file(tensors | {"head.diff_m": torch.ones(1, 2, 64)}, path)
    said = []
    merged = load(folder, (path, 1.0, False), say=said.append)
    assert "3 of 4" in said[0]
    assert torch.equal(
        merged.blocks[0].ffn.net[0].proj.weight, base.blocks[0].ffn.net[0].proj.weight
    )
    assert torch.allclose(merged.scale_shift_table, base.scale_shift_table + 1)


@pytest.mark.parametrize(
    ("form", "end"),
    [
        ("DoRA", "dora_scale"),
        ("DoRA", "lora_magnitude_vector.default.weight"),
        ("LoHa", "hada_w1_a"),
        ("LoKr", "lokr_w2"),
        ("LoCon with a core", "lora_mid.weight"),
        ("OFT", "oft_blocks"),
    ],
)
@pytest.mark.parametrize("strict", [True, False])
def test_other_forms_are_refused_by_name(folder, tmp_path, form, end, strict):
    path = tmp_path / "lora.safetensors"
    diffusers_file(path)
    save_file(load_file(path) | {f"blocks.0.self_attn.q.{end}": torch.ones(64, 1)}, path)
    with pytest.raises(
        ClipError, match=rf"is a {form} \(1 keys such as blocks.0.self_attn.q.{end}"
    ):
        load(folder, (path, 1.0, strict))


def test_file_without_a_single_difference_is_refused(folder, tmp_path):
    torch.save({}, tmp_path / "empty.ckpt")
    with pytest.raises(ClipError, match=r"does not fit Wan2\.2-Animate: it is empty"):
        load(folder, (tmp_path / "empty.ckpt", 1.0))


def test_file_nested_in_another_way_is_refused(folder, tmp_path):
    torch.save({"model": {"blocks.0.ffn.0.diff": torch.zeros(2)}}, tmp_path / "odd.ckpt")
    with pytest.raises(ClipError, match=r"keys without a place: 1 of 1 \(model\)"):
        load(folder, (tmp_path / "odd.ckpt", 1.0))


class Trap:
    """An object that makes a folder as soon as it is read."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


HARMLESS = {
    "options": argparse.Namespace(rank=4),
    "path": PurePosixPath("/data/clips"),
    "this machine's path": Path("/data/clips"),
    "numpy's number": np.float32(1),
    "array": np.arange(3),
    "types": [torch.bfloat16, torch.Size([1])],
}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
def test_what_trainers_store_beside_the_weights_is_left_aside(folder, base, tmp_path, zipped):
    path = tmp_path / "epoch.ckpt"
    content = {"state_dict": {"head.diff_m": torch.ones(1, 2, 64)}, "hyper_parameters": HARMLESS}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    merged = load(folder, (path, 1.0))
    assert torch.allclose(merged.scale_shift_table, base.scale_shift_table + 1)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
def test_a_checkpoint_runs_no_code(folder, tmp_path, zipped):
    path, made, allowed = tmp_path / "epoch.ckpt", tmp_path / "made", {*get_safe_globals()}
    content = {"state_dict": {"head.diff_m": torch.ones(1, 2, 64)}, "model": Trap(made)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    sentence = (
        r"holds \w+\.mkdir beside its weights" if zipped else "cannot be read: it is damaged, or"
    )
    with pytest.raises(ClipError, match=rf"^LoRA .*epoch\.ckpt {sentence}"):
        load(folder, (path, 1.0))
    assert not made.exists()
    assert {*get_safe_globals()} == allowed, "what is left aside here is allowed nowhere else"


@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt"])
def test_a_lora_is_not_held_in_memory(tmp_path, suffix):
    size, layers = 2048, range(16)
    tensors = {f"blocks.{n}.lora.diff": torch.ones(size, size) for n in layers}
    path = tmp_path / f"lora{suffix}"
    if suffix == ".ckpt":
        torch.save({"state_dict": tensors}, path)
    else:
        save_file(tensors, path)
    del tensors
    one = torch.ones(size, size)
    stack = LoraStack({}, {f"blocks.{n}.lora.weight": one.shape for n in layers})
    stack.merge("blocks.0.lora.weight", one)
    gc.collect()
    before = own_memory()
    stack.add(LoraFile(path), print)
    grown = own_memory() - before
    for n in layers:
        assert stack.merge(f"blocks.{n}.lora.weight", one)[0, 0] == 2
    assert max(grown, own_memory() - before) < path.stat().st_size / 4


def own_memory() -> int:
    """Return the bytes of this process that are not a file's, which memory-mapping keeps small.

    What C's allocator holds for the next tensors, as earlier tests have had it do, does not count.
    """
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
    (line,) = (
        line for line in Path("/proc/self/status").read_text().splitlines() if "RssAnon" in line
    )
    return int(line.split()[1]) * 1024


def test_settings_that_cannot_be_read_are_named(folder, tmp_path):
    peft_file(tmp_path / "lora.safetensors")
    (tmp_path / "adapter_config.json").write_text("{")
    with pytest.raises(ClipError, match=r"settings of LoRA .*lora\.safetensors cannot be read"):
        load(folder, (tmp_path / "lora.safetensors", 1.0))


def test_settings_of_another_lora_do_not_count(folder, plain, unmerged, tmp_path):
    (tmp_path / "adapter_config.json").write_text(json.dumps({"lora_alpha": 100 * RANK}))
    lightx2v_file(tmp_path / "lora.safetensors")
    merged = forward(load(folder, (tmp_path / "lora.safetensors", FACTOR)))
    assert (merged - unmerged).norm() / unmerged.norm() < 1e-5


@pytest.mark.parametrize("name", ["bad.safetensors", "bad.ckpt"])
def test_unreadable_lora_is_named(folder, tmp_path, name):
    (tmp_path / name).write_text("not weights")
    with pytest.raises(ClipError, match=rf"{name} cannot be read: \w.*$") as error:
        load(folder, (tmp_path / name, 1.0))
    assert "\n" not in str(error.value)
