"""A transformer in one file of original naming stands for what it was dequantised from."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from animate.config.job import read_job
from animate.config.settings import SamplingSettings
from animate.devices.machine import Machine
from animate.errors import ClipError
from animate.journal.key import input_hashes, job_key
from animate.parallel.loading import Resident, fill_transformer
from animate.sampling.progress import Progress
from animate.sampling.run import run_job
from animate.sampling.weights import early_weights, job_transformer
from animate.serving.loaded import loaded_key
from animate.weights.architecture import check_transformer_file
from animate.weights.checkpoint import empty_transformer
from animate.weights.original_names import transformer_names
from animate.weights.prepared import TRANSFORMER
from animate.weights.storage.staging import stage_model
from animate.weights.transformer_file.glance import fault_at_a_glance
from golden_model import original_weights, transformer_part
from sampler_clip import change_settings, result_frames, write_clip, write_model
from transformer_files import (
    FP8,
    PREFIX,
    original_naming,
    write_gguf,
    write_plain,
    write_scaled,
)

CPU = torch.device("cpu")
NAMES = transformer_names(5, 1)
MATRIX = "blocks.3.cross_attn.q.weight"
GGUF_LEVELS = ("Q8_0", "Q4_0", "Q4_K")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A tiny model whose transformer has no number that bf16 would round."""
    folder = write_model(tmp_path_factory.mktemp("model"))
    for path in (folder / TRANSFORMER).glob("*.safetensors"):
        rounded = {name: t.bfloat16().float() for name, t in load_file(path).items()}
        save_file(rounded, path, {"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def bare(model, tmp_path_factory):
    """The model as it is fetched beside one file: no shards of the transformer."""
    folder = tmp_path_factory.mktemp("bare") / "model"
    shutil.copytree(model, folder)
    for path in (folder / TRANSFORMER).glob("*.safetensors*"):
        path.unlink()
    return folder


@pytest.fixture(scope="module")
def weights(model):
    return original_naming(model / TRANSFORMER, NAMES)


def write(path, kind, weights):
    """Write a file of some kind; return the numbers that it stands for, by original name."""
    if kind in GGUF_LEVELS:
        pytest.importorskip("gguf")
        return write_gguf(path, weights, kind)
    if kind.startswith("fp8"):
        return write_scaled(path, weights, by_row=kind == "fp8 by row")
    prefix = PREFIX if kind == "prefixed" else ""
    return write_plain(path, weights, torch.half if kind == "fp16" else torch.bfloat16, prefix)


def loaded(folder, file):
    """Return the parameters of the model of a folder, filled from one file."""
    model = empty_transformer(folder / TRANSFORMER, torch.float32)
    fill_transformer(model, file, CPU, Resident(model))
    return dict(model.named_parameters())


@pytest.mark.parametrize("kind", ["bf16", "prefixed", "fp16", "fp8", "fp8 by row", *GGUF_LEVELS])
def test_each_parameter_is_its_dequantised_tensor(bare, weights, tmp_path, kind):
    path = tmp_path / ("x.gguf" if kind in GGUF_LEVELS else "x.safetensors")
    numbers = write(path, kind, weights)
    lossless = kind in ("bf16", "fp16", "prefixed")
    assert lossless == torch.equal(numbers[MATRIX], weights[MATRIX])
    parameters = loaded(bare, path)
    assert len(parameters) == sum(len(NAMES[name]) for name in numbers)
    for old, tensor in numbers.items():
        for new, part in zip(NAMES[old], tensor.chunk(len(NAMES[old])), strict=True):
            found = parameters.pop(new)
            assert torch.equal(found, part.reshape(found.shape)), (old, new)
    assert not parameters


def sample(path, staged=None):
    run_job(read_job(path), Machine(CPU, torch.float32, staged=staged), Progress("test"))
    return result_frames(path)


def test_clip_is_the_same_to_the_bit_as_from_the_folder_and_its_record_says_so(
    model, bare, weights, tmp_path
):
    file = tmp_path / "wan.safetensors"
    write(file, "bf16", weights)
    whole = write_clip(tmp_path / "whole", model, 9, segment_frames=5)
    single = write_clip(tmp_path / "single", bare, 9, segment_frames=5, transformer_file=str(file))
    expected = sample(whole)
    assert np.array_equal(sample(single), expected)
    record = json.loads((single.parent / "sampling.json").read_text())
    assert record["inputs"]["transformer_file"]["path"] == str(file)
    # From a node's own copy, too, which has the file and nothing of the shards.
    staged = stage_model(model, str(tmp_path), {}, pytest.fail, file)
    assert not list((staged / TRANSFORMER).glob("*.safetensors"))
    job = read_job(single)
    assert job_transformer(job, staged).parent == staged
    with early_weights(job, staged, CPU) as early:
        assert early.source.parent == staged
    shutil.rmtree(single.parent / ".journal")
    assert np.array_equal(sample(single, staged), expected)


def test_another_file_is_another_clip_and_a_moved_one_is_not(bare, weights, tmp_path):
    file, other = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    write(file, "bf16", weights)
    write(other, "fp8", weights)
    path = write_clip(tmp_path / "clip", bare, 5, transformer_file=str(file))

    def keys():
        job = read_job(path)
        return job_key(job, [], input_hashes(job)), loaded_key(path, [])

    key, ranks = keys()
    change_settings(path, transformer_file=str(other))
    assert keys()[0] != key and keys()[1] != ranks
    change_settings(path, transformer_file=str(file.rename(tmp_path / "c.safetensors")))
    assert keys()[0] == key
    # A pinned file is known by its SHA-256, fetched again or not.
    record = {"bf16": {"files": {"c.safetensors": "1a2b"}}}
    (tmp_path / "sources.json").write_text(json.dumps(record))
    assert keys()[0] != key
    key = keys()[0]
    write(tmp_path / "c.safetensors", "fp8", weights)
    assert keys()[0] == key


def changed(weights, **changes):
    """Return bf16 tensors with some replaced, or left out where None."""
    stored = {name: tensor.bfloat16() for name, tensor in weights.items()} | changes
    return {name: tensor for name, tensor in stored.items() if tensor is not None}


@pytest.mark.parametrize(
    "changes, problem",
    [
        ({MATRIX: None}, r"missing blocks\.3\.attn2\.to_q\.weight"),
        ({MATRIX: torch.zeros(3, 64)}, r"misshapen blocks\.3\.attn2\.to_q\.weight \(3, 64\)"),
        ({"alien": torch.zeros(3)}, "unexpected alien"),
        ({MATRIX: torch.zeros(64, 64, dtype=torch.int8)}, rf"stores {MATRIX} as I8, but"),
        ({"scaled.scale_weight": torch.ones(1), MATRIX: torch.zeros(64, 64, dtype=FP8)}, "without"),
        (
            {f"{MATRIX[:-6]}scale_weight": torch.ones(3), MATRIX: torch.zeros(64, 64, dtype=FP8)},
            r"scale_weight of shape \(3,\), which is neither",
        ),
    ],
)
def test_wrong_file_is_refused_by_name_and_tensor(bare, weights, tmp_path, changes, problem):
    path = tmp_path / "wan.safetensors"
    save_file(changed(weights, **changes), path)
    with pytest.raises(ClipError, match=problem) as caught:
        loaded(bare, path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("kind", ["fp8", "Q8_0"])
@pytest.mark.parametrize("cut", ["header", "end", "nothing but zeros"])
def test_damaged_file_is_refused_by_name(bare, weights, tmp_path, kind, cut):
    path = tmp_path / ("x.gguf" if kind in GGUF_LEVELS else "x.safetensors")
    write(path, kind, weights)
    content = path.read_bytes()
    ends = {"header": 1000, "end": len(content) - 1}
    path.write_bytes(content[: ends[cut]] if cut in ends else bytes(10_000))
    with pytest.raises(ClipError, match=rf"{path} is not a sound (GGUF|safetensors) file"):
        loaded(bare, path)


@pytest.mark.parametrize("kind", ["prefixed", "fp8", "Q8_0"])
def test_glance_passes_a_whole_file_and_tells_a_cut_or_foreign_one(weights, tmp_path, kind):
    path = tmp_path / ("x.gguf" if kind in GGUF_LEVELS else "x.safetensors")
    write(path, kind, weights)
    assert fault_at_a_glance(path) == ""
    content = path.read_bytes()
    other = tmp_path / f"other{path.suffix}"
    other.write_bytes(b"<html>" + content[6:])
    assert "is no" in fault_at_a_glance(other)
    if kind in GGUF_LEVELS:
        return
    for name, end in (("cut", len(content) - 1), ("header", 1000), ("nothing", 0)):
        cut = path.with_stem(name)
        cut.write_bytes(content[:end])
        assert fault_at_a_glance(cut).endswith("get the file again")
    video = {name: t for name, t in weights.items() if not name.startswith("face_adapter.")}
    write_plain(path.with_stem("i2v"), video, torch.bfloat16)
    assert "has no face_adapter.fuser_blocks.0" in fault_at_a_glance(path.with_stem("i2v"))


def test_file_without_tensors_is_refused(bare, tmp_path):
    save_file({}, tmp_path / "wan.safetensors")
    with pytest.raises(ClipError, match=r"wan\.safetensors is not a .*: missing "):
        loaded(bare, tmp_path / "wan.safetensors")


def test_file_of_neither_form_is_refused(bare, tmp_path):
    with pytest.raises(ClipError, match=r"x\.pth is neither a \.safetensors nor a \.gguf file"):
        (tmp_path / "x.pth").touch()
        loaded(bare, tmp_path / "x.pth")


def test_whole_model_is_told_by_its_headers_alone(tmp_path):
    """As before a download: of the official tiny model, and of one without its face adapter."""
    path, weights = tmp_path / "wan.safetensors", original_weights(transformer_part())
    write_scaled(path, weights)
    check_transformer_file(path)
    other = {name: t for name, t in weights.items() if not name.startswith("face_adapter.")}
    write_scaled(path, other)
    with pytest.raises(ClipError, match=r"not a Wan2\.2-Animate checkpoint: missing face_adapter"):
        check_transformer_file(path)


@pytest.mark.parametrize("value", ["", "fp8_scaled", "a b/c.safetensors", "../x.gguf"])
def test_setting_takes_a_name_or_a_file(value):
    assert SamplingSettings(transformer_file=value).transformer_file == value


@pytest.mark.parametrize("value", ["weights/x.pth", "a/b", "x y"])
def test_setting_refuses_what_is_neither(value):
    with pytest.raises(ValueError, match="transformer_file"):
        SamplingSettings(transformer_file=value)
