"""Merged LoRAs equal unmerged ones, whatever the file calls its layers."""

import json

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from safetensors.torch import load_file, save_file

from animate.errors import ClipError
from animate.model.checkpoint import load_transformer
from animate.model.original_names import transformer_names
from animate.model.tiny import TRANSFORMER, write_tiny_model
from animate.model.transformer import SamplingTransformer

CPU = torch.device("cpu")
RANK = 4
FACTOR = 0.7
LAYERS = ("self_attn.q", "self_attn.o", "cross_attn.v_img", "cross_attn.k", "ffn.0", "ffn.2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    write_tiny_model(folder)
    return folder


def load(folder, *loras):
    return load_transformer(folder / "transformer", torch.float32, CPU, loras)


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
def plain(folder):
    """The forward without a LoRA."""
    return forward(load(folder))


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


def test_whole_differences_are_added(folder, tmp_path):
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
    before, after = load(folder), load(folder, (tmp_path / "diff.safetensors", 0.5))
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


def test_convolutions_are_merged(folder, tmp_path):
    down, up = torch.randn(RANK, 36, 1, 2, 2), torch.randn(64, RANK, 1, 1, 1)
    tensors = {"diffusion_model.patch_embedding.lora_down.weight": down}
    tensors["diffusion_model.patch_embedding.lora_up.weight"] = up
    save_file(tensors, tmp_path / "conv.safetensors")
    before, after = load(folder), load(folder, (tmp_path / "conv.safetensors", 1.0))
    change = after.patch_embedding.weight - before.patch_embedding.weight
    expected = torch.einsum("orxyz,rithw->oithw", up, down)
    assert torch.allclose(change, expected, atol=1e-4)


def test_alien_lora_is_refused_with_its_keys(folder, tmp_path):
    tensors = {"lora_unet_single_blocks_0_linear1.lora_down.weight": torch.zeros(4, 64)}
    tensors["lora_unet_single_blocks_0_linear1.lora_up.weight"] = torch.zeros(64, 4)
    save_file(tensors, tmp_path / "flux.safetensors")
    with pytest.raises(ClipError, match=r"2 of 2 keys .* lora_unet_single_blocks_0_linear1"):
        load(folder, (tmp_path / "flux.safetensors", 1.0))


@pytest.mark.parametrize(
    "key", ["blocks.0.self_attn.q.dora_scale", "blocks.99.self_attn.q.lora_A.weight"]
)
def test_one_key_without_a_place_is_refused(folder, tmp_path, key):
    path = tmp_path / "lora.safetensors"
    diffusers_file(path)
    save_file(load_file(path) | {key: torch.zeros(4, 64)}, path)
    with pytest.raises(ClipError, match=f"1 of .* {key}"):
        load(folder, (path, 1.0))


@pytest.mark.parametrize(
    ("down", "up"),
    [((4, 5120), (5120, 4)), ((4, 128), (64, 4)), ((8, 64), (128, 4))],
    ids=["larger model", "turned", "unequal ranks"],
)
def test_lora_of_another_size_is_refused(folder, tmp_path, down, up):
    tensors = {"blocks.0.ffn.0.lora_A.weight": torch.zeros(down)}
    tensors["blocks.0.ffn.0.lora_B.weight"] = torch.zeros(up)
    save_file(tensors, tmp_path / "big.safetensors")
    with pytest.raises(ClipError, match=r"another model: blocks\.0\.ffn\.0"):
        load(folder, (tmp_path / "big.safetensors", 1.0))


def test_file_without_a_single_difference_is_refused(folder, tmp_path):
    torch.save({}, tmp_path / "empty.ckpt")
    with pytest.raises(ClipError, match="0 of 0 keys have no place"):
        load(folder, (tmp_path / "empty.ckpt", 1.0))


def test_file_nested_in_another_way_is_refused(folder, tmp_path):
    torch.save({"model": {"blocks.0.ffn.0.diff": torch.zeros(2)}}, tmp_path / "odd.ckpt")
    with pytest.raises(ClipError, match="1 of 1 keys have no place, the first are model"):
        load(folder, (tmp_path / "odd.ckpt", 1.0))


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


def test_unreadable_lora_is_named(folder, tmp_path):
    (tmp_path / "bad.safetensors").write_text("not weights")
    with pytest.raises(ClipError, match=r"bad\.safetensors cannot be read"):
        load(folder, (tmp_path / "bad.safetensors", 1.0))
