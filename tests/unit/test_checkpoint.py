"""Checkpoints in original naming convert to what the official encoders return."""

import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan, WanAnimateTransformer3DModel
from safetensors.torch import load_file, save_file
from transformers import CLIPVisionConfig, CLIPVisionModel, UMT5Config, UMT5EncoderModel

from animate.demo.model import tiny_tokenizer
from animate.errors import ClipError
from animate.model import text
from animate.model.parts import load_part
from animate.model.text import tokenize
from animate.parallel.vae_split import SplitCodec
from animate.weights import convert
from animate.weights.convert import convert_checkpoint, convert_transformer
from animate.weights.layout import RELIGHTING_LORAS, relighting_lora
from animate.weights.original_names import (
    image_encoder_names,
    text_encoder_names,
    transformer_names,
)
from animate.weights.storage import writing
from animate.weights.storage.stored import stored_tensors
from golden_model import (
    DATA,
    encoder_parts,
    enlarge,
    original_weights,
    relative_error,
    transformer_part,
    write_original_transformer,
)
from wan_codec import WanCodec
from whole_model import load_transformer

TOLERANCE = 1e-5
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """The golden models in the original folder's layout."""
    folder = tmp_path_factory.mktemp("original")
    parts = {name: original_weights(part) for name, part in encoder_parts().items()}
    torch.save(parts["text_encoder"], folder / convert.TEXT_ENCODER)
    torch.save(parts["vae"], folder / convert.VAE)
    clip = {f"visual.{name}": tensor for name, tensor in parts["image_encoder"].items()}
    clip["textual.token_embedding.weight"] = torch.zeros(2)
    torch.save(clip, folder / convert.IMAGE_ENCODER)
    write_original_transformer(folder)
    tiny_tokenizer().save_pretrained(folder / convert.TOKENIZER)
    (folder / "relighting_lora.ckpt").write_bytes(b"lora")
    return folder


@pytest.fixture(scope="module")
def converted(original, tmp_path_factory):
    folder = tmp_path_factory.mktemp("converted")
    with pytest.MonkeyPatch.context() as patch:
        # Small shards, so that there are several.
        patch.setattr(writing, "SHARD_BYTES", 1 << 20)
        convert_checkpoint(original, folder, image_heads=4)
    return folder


@pytest.fixture(scope="module")
def golden():
    return {k: torch.from_numpy(v) for k, v in np.load(DATA / "encoders.npz").items()}


def test_text_encoder_equals_official(converted, golden, monkeypatch):
    ids = golden["token_ids"][0, : int(golden["token_mask"].sum())].tolist()
    monkeypatch.setattr(text, "tokenize", lambda folder, words: ids)
    result = text.encode_prompt(converted, "any")
    assert relative_error(result, golden["text_output"]) < TOLERANCE


def test_image_encoder_equals_official(converted, golden):
    encoder = load_part(CLIPVisionModel, converted / "image_encoder", torch.float32)
    with torch.inference_mode():
        output = encoder(pixel_values=enlarge(golden["image"], 7), output_hidden_states=True)
    assert relative_error(output.hidden_states[-2], golden["image_output"]) < TOLERANCE


@pytest.mark.parametrize("codec", [SplitCodec, WanCodec])
def test_vae_equals_official(converted, golden, codec):
    codec = codec(load_part(AutoencoderKLWan, converted / "vae", torch.float32))
    with torch.inference_mode():
        latents = codec.encode(golden["video"])
        decoded = torch.cat([*codec.decode(golden["latents"])], dim=2)
    assert relative_error(latents, golden["latents"]) < TOLERANCE
    assert relative_error(decoded, golden["decoded"].clamp(-1, 1)) < TOLERANCE


@pytest.mark.parametrize(
    ("kind", "part"),
    [
        (UMT5EncoderModel, "text_encoder"),
        (CLIPVisionModel, "image_encoder"),
        (AutoencoderKLWan, "vae"),
    ],
)
def test_part_that_lacks_a_tensor_is_refused(converted, tmp_path, kind, part):
    shutil.copytree(converted / part, tmp_path / part)
    path = max((tmp_path / part).glob("*.safetensors"))
    tensors = load_file(path)
    lost = min(tensors)
    del tensors[lost]
    save_file(tensors, path, {"format": "pt"})
    with pytest.raises(ClipError, match=re.escape(f"{part} is not complete, missing {lost}")):
        load_part(kind, tmp_path / part, torch.float32)
    path.write_bytes(b"not weights")
    with pytest.raises(ClipError, match=f"{path.name} is damaged"):
        load_part(kind, tmp_path / part, torch.float32)


def test_converted_folder_is_complete(converted, original):
    assert (converted / "model_index.json").is_file()
    assert len(list((converted / "transformer").glob("*.safetensors"))) > 3
    assert (converted / "relighting_lora.ckpt").read_bytes() == b"lora"
    assert tokenize(converted / "tokenizer", "an owl") == tokenize(
        original / convert.TOKENIZER, "an owl"
    )


def test_relighting_lora_is_taken_from_safetensors_where_there_are_both(tmp_path):
    assert relighting_lora(tmp_path) is None
    pickled, stored = (tmp_path / name for name in RELIGHTING_LORAS[::-1])
    pickled.write_bytes(b"pickled")
    assert relighting_lora(tmp_path) == pickled
    stored.parent.mkdir()
    stored.write_bytes(b"stored")
    assert relighting_lora(tmp_path) == stored


def test_characters_outside_the_vocabulary_differ(converted):
    ids = tokenize(converted / "tokenizer", "视频")
    assert ids[-1] == 1
    assert len(set(ids)) > 5


CONVERT_AND_MEASURE = """
import resource, sys
from pathlib import Path
from animate.weights import convert
from animate.weights.storage import writing
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
writing.SHARD_BYTES = 1 << 26
before = peak()
convert.convert_transformer(Path(sys.argv[1]), Path(sys.argv[2]))
print(peak() - before)
"""


@pytest.mark.slow
def test_conversion_needs_less_than_twice_the_largest_shard(tmp_path):
    part, hidden = transformer_part(), 50_000
    old = part["config"]["ffn_dim"]
    part["config"]["ffn_dim"] = hidden
    for name, shape in part["parameters"].items():
        if ".ffn." in name:
            part["parameters"][name] = [hidden if side == old else side for side in shape]
    write_original_transformer(tmp_path / "original", shards=1, part=part)
    (shard,) = (tmp_path / "original").glob("*.safetensors")
    command = [sys.executable, "-c", CONVERT_AND_MEASURE, tmp_path / "original", tmp_path / "new"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert shard.stat().st_size > 80e6
    assert int(run.stdout) < 2 * shard.stat().st_size


@pytest.fixture
def damaged(tmp_path):
    """Return a function that converts the golden transformer after a change to its tensors."""

    def convert_changed(change):
        write_original_transformer(tmp_path / "original", shards=1)
        path = next((tmp_path / "original").glob("*.safetensors"))
        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path)
        convert_transformer(tmp_path / "original", tmp_path / "converted")

    return convert_changed


def test_missing_tensor_is_named(damaged):
    with pytest.raises(ClipError, match=r"missing blocks\.3\.attn1\.to_q\.weight"):
        damaged(lambda tensors: tensors.pop("blocks.3.self_attn.q.weight"))


def test_unexpected_tensor_is_named(damaged):
    with pytest.raises(ClipError, match=r"unexpected blocks\.77\.alien"):
        damaged(lambda tensors: tensors.update({"blocks.77.alien": torch.zeros(1)}))


def test_misshapen_tensor_is_named(damaged):
    with pytest.raises(ClipError, match=r"misshapen proj_out\.weight \(64, 5\) instead of"):
        damaged(lambda tensors: tensors.update({"head.head.weight": torch.zeros(64, 5)}))


def test_tensor_that_cannot_be_split_is_named(damaged):
    name = "face_adapter.fuser_blocks.0.linear1_kv.bias"
    with pytest.raises(ClipError, match=rf"missing face_adapter\.0\.to_k\.bias.*unexpected {name}"):
        damaged(lambda tensors: tensors.update({name: torch.zeros(191)}))


def test_nothing_is_written_of_a_transformer_that_does_not_fit(damaged, tmp_path):
    with pytest.raises(ClipError, match="misshapen"):
        damaged(lambda tensors: tensors.update({"head.modulation": torch.zeros(7)}))
    assert not (tmp_path / "converted").exists()


@pytest.mark.parametrize("config", [None, "{}", '{"dim": 1, "num_heads": 1}', "damaged"])
def test_sizes_are_those_of_the_tensors_whatever_config_says(tmp_path, config):
    write_original_transformer(tmp_path / "original", shards=1)
    path = tmp_path / "original" / "config.json"
    path.unlink() if config is None else path.write_text(config)
    convert_transformer(tmp_path / "original", tmp_path / "converted")
    written = json.loads((tmp_path / "converted" / "config.json").read_text())
    sizes = {"num_attention_heads": 4, "attention_head_dim": 24, "added_kv_proj_dim": 96}
    sizes |= {"text_dim": 64, "freq_dim": 256, "ffn_dim": 128, "num_layers": 10}
    assert sizes.items() <= written.items()


def test_heads_that_do_not_fill_the_width_are_refused(damaged):
    name = "face_adapter.fuser_blocks.0.q_norm.weight"
    with pytest.raises(ClipError, match=rf"{name} has 36 numbers, which do not divide .* 96"):
        damaged(lambda tensors: tensors.update({name: torch.zeros(36)}))


def original_tensors(model, names):
    """Return a model's tensors, without memory, under their original names and shapes."""
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    return {
        old: torch.empty(sum(shapes[n][0] for n in new), *shapes[new[0]][1:], device="meta")
        for old, new in names.items()
        if new and new[0] in shapes
    }


def test_sizes_of_the_published_transformer(tmp_path):
    with torch.device("meta"):
        published = WanAnimateTransformer3DModel(added_kv_proj_dim=5120)
    tensors = original_tensors(published, transformer_names(40, 8))
    model, names = convert.original_transformer(tmp_path, tensors)
    for key in inspect.signature(WanAnimateTransformer3DModel).parameters:
        assert model.config[key] == published.config[key], key
    convert.check_transformer(tmp_path, tensors, model, names)
    del tensors["blocks.39.ffn.2.bias"]
    with pytest.raises(ClipError, match=r"missing blocks\.39\.ffn\.net\.2\.bias$"):
        convert.check_transformer(tmp_path, tensors, model, names)


# The sizes of google/umt5-xxl's encoder, and how the published folder states them.
UMT5 = {"vocab_size": 256384, "d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_layers": 24}
UMT5 |= {"num_heads": 64, "relative_attention_num_buckets": 32}
PUBLISHED_UMT5 = {
    "architectures": ["UMT5EncoderModel"],
    "dense_act_fn": "gelu_new",
    "dropout_rate": 0.1,
    "feed_forward_proj": "gated-gelu",
    "is_encoder_decoder": True,
    "is_gated_act": True,
    "layer_norm_epsilon": 1e-06,
    "model_type": "umt5",
    "num_decoder_layers": 24,
    "relative_attention_max_distance": 128,
    "scalable_attention": True,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.48.0.dev0",
}


def test_sizes_of_the_published_encoders(tmp_path):
    with torch.device("meta"):
        text = UMT5EncoderModel(UMT5Config(**UMT5))
    tensors = original_tensors(text, text_encoder_names(24))
    model, _ = convert.original_text_encoder(tmp_path, tensors)
    assert UMT5.items() <= model.config.to_dict().items()
    for key in ("dense_act_fn", "is_gated_act", "layer_norm_epsilon"):
        assert model.config.to_dict()[key] == PUBLISHED_UMT5[key]
    sizes = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32}
    sizes |= {"num_attention_heads": 16, "image_size": 224, "patch_size": 14, "hidden_act": "gelu"}
    with torch.device("meta"):
        image = CLIPVisionModel(CLIPVisionConfig(**sizes))
    tensors = original_tensors(image, image_encoder_names(32))
    tensors["pos_embedding"] = tensors["pos_embedding"][None]
    model, _ = convert.original_image_encoder(tmp_path, tensors)
    assert sizes.items() <= model.config.to_dict().items()


def test_text_encoder_as_published_ties_its_embedding(converted, golden, tmp_path, monkeypatch):
    """The published config says that nothing is tied, yet only `shared.weight` is stored."""
    folder = tmp_path / "text_encoder"
    shutil.copytree(converted / "text_encoder", folder)
    config = json.loads((folder / "config.json").read_text())
    sizes = {key: config[key] for key in UMT5}
    published = {**PUBLISHED_UMT5, **sizes, "torch_dtype": "float32"}
    (folder / "config.json").write_text(json.dumps(published))
    assert "encoder.embed_tokens.weight" not in stored_tensors(folder)
    ids = golden["token_ids"][0, : int(golden["token_mask"].sum())].tolist()
    monkeypatch.setattr(text, "tokenize", lambda folder, words: ids)
    assert relative_error(text.encode_prompt(tmp_path, "any"), golden["text_output"]) < TOLERANCE


def test_image_encoder_may_be_stored_with_the_prefix_of_older_versions(converted, tmp_path):
    shutil.copytree(converted / "image_encoder", tmp_path, dirs_exist_ok=True)
    for path in tmp_path.glob("*.safetensors*"):
        path.unlink()
    names = stored_tensors(converted / "image_encoder")
    tensors = {name: stored.read() for name, stored in names.items()}
    save_file({f"vision_model.{k}": v for k, v in tensors.items()}, tmp_path / "model.safetensors")
    loaded = load_part(CLIPVisionModel, tmp_path, torch.float32).state_dict()
    for name, tensor in tensors.items():
        assert torch.equal(loaded[name], tensor), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_number_types_are_kept(original, tmp_path, dtype):
    for file, kind, run in (
        (convert.TEXT_ENCODER, UMT5EncoderModel, convert.convert_text_encoder),
        (convert.IMAGE_ENCODER, CLIPVisionModel, partial(convert.convert_image_encoder, heads=4)),
        (convert.VAE, AutoencoderKLWan, convert.convert_vae),
    ):
        tensors = torch.load(original / file, weights_only=True)
        torch.save({name: tensor.to(dtype) for name, tensor in tensors.items()}, tmp_path / file)
        run(tmp_path / file, tmp_path / kind.__name__)
        stored = stored_tensors(tmp_path / kind.__name__)
        assert {tensor.read().dtype for tensor in stored.values()} == {dtype}
        load_part(kind, tmp_path / kind.__name__, torch.float32)
    assert load_part(UMT5EncoderModel, tmp_path / "UMT5EncoderModel", "auto").dtype == dtype


def test_checkpoint_is_mapped_not_read_and_the_old_format_is_read(original, tmp_path):
    tensors = convert._load(original / convert.VAE)
    assert convert.VAE in Path("/proc/self/maps").read_text()
    torch.save(tensors, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    convert.convert_vae(tmp_path / "old.pth", tmp_path / "vae")
    stored = stored_tensors(tmp_path / "vae")["encoder.conv_in.weight"].read()
    assert torch.equal(stored, tensors["encoder.conv1.weight"])


def test_blur_kernels_of_some_checkpoints_are_accepted(damaged):
    key = "motion_encoder.enc.net_app.convs.1.conv2.0.kernel"
    damaged(lambda tensors: tensors.update({key: torch.zeros(4, 4)}))


def test_damaged_file_is_named(converted, tmp_path):
    (tmp_path / "config.json").write_text((converted / "transformer/config.json").read_text())
    source = sorted((converted / "transformer").glob("*.safetensors"))[0]
    (tmp_path / "model.safetensors").write_bytes(source.read_bytes()[:-100])
    with pytest.raises(ClipError, match=r"model\.safetensors is damaged"):
        load_transformer(tmp_path, torch.float32, CPU)


def test_missing_shard_is_noticed(converted, tmp_path):
    for path in (converted / "transformer").iterdir():
        (tmp_path / path.name).symlink_to(path)
    sorted(tmp_path.glob("*.safetensors"))[1].unlink()
    with pytest.raises(ClipError, match="missing"):
        load_transformer(tmp_path, torch.float32, CPU)


def test_code_in_a_checkpoint_does_not_run(original, tmp_path):
    class Attack:
        def __reduce__(self):
            return json.loads, ("{}",)

    torch.save({"blocks.0": Attack()}, tmp_path / "evil.pth")
    with pytest.raises(ClipError, match="cannot be read"):
        convert.convert_vae(tmp_path / "evil.pth", tmp_path / "vae")


def test_the_wrong_file_is_refused_with_what_it_lacks(original, tmp_path):
    with pytest.raises(ClipError, match=r"missing token_embedding\.weight"):
        convert.convert_text_encoder(original / convert.VAE, tmp_path)
    with pytest.raises(ClipError, match=r"has no \.safetensors file"):
        convert.convert_transformer(tmp_path, tmp_path / "out")
    with pytest.raises(ClipError, match=r"misshapen encoder\.conv1\.weight \(3,\) instead of 5"):
        torch.save({"encoder.conv1.weight": torch.zeros(3)}, tmp_path / "x.pth")
        convert.convert_vae(tmp_path / "x.pth", tmp_path)


def test_parts_that_modulate_or_normalise_stay_fp32(converted):
    model = load_transformer(converted / "transformer", torch.bfloat16, CPU)
    kept = {name for name, p in model.named_parameters() if p.dtype == torch.float32}
    for part in ("scale_shift_table", "blocks.0.scale_shift_table", "blocks.0.norm2.weight"):
        assert part in kept
    assert "motion_encoder.motion_synthesis_weight" in kept
    assert "condition_embedder.time_embedder.linear_1.weight" in kept
    assert "blocks.0.attn1.to_q.weight" not in kept
    assert model.motion_encoder.res_blocks[0].conv2.blur_kernel.sum() == 1
