"""Weights on their way to the device before the model that takes them is built."""

import json
import shutil
import time
import weakref

import pytest
import torch

from animate.config.job import read_job
from animate.config.lora_choice import LoraFile
from animate.devices.machine import Machine
from animate.devices.world import ALONE
from animate.errors import ClipError
from animate.kernels.fp8 import convert_to_fp8
from animate.parallel import build, loading
from animate.parallel.build import build_transformer
from animate.parallel.loading import Resident, fill_transformer
from animate.parallel.plan import REPLICATED, Plan, Workload
from animate.parallel.vae_bands import BandedVaeStream
from animate.parallel.vae_stream import VaeStream
from animate.sampling.conditions.latents import nothing
from animate.sampling.models import KeptModels, load_models
from animate.sampling.weights import early_weights
from animate.weights.checkpoint import empty_transformer
from animate.weights.prepare import prepare
from animate.weights.prepared import TRANSFORMER, transformer_folder
from animate.weights.storage import early as early_module
from animate.weights.storage import writing
from animate.weights.storage.early import EarlyWeights
from animate.weights.storage.stored import stored_tensors
from sampler_clip import write_clip, write_model

CPU = torch.device("cpu")
SEGMENT = Workload(32, 32, 5)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model"))


def load(model, early=None):
    said = []
    loaded = build_transformer(
        model, torch.float32, CPU, [], ALONE, SEGMENT, said.append, early=early
    )
    return loaded.model.state_dict()


def test_early_weights_are_those_that_a_job_reads(model, monkeypatch):
    expected = load(model)
    with EarlyWeights(model / TRANSFORMER, CPU) as early:
        monkeypatch.setattr(loading, "read_tensors", pytest.fail)
        found = load(model, early)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_a_model_that_is_not_loaded_leaves_none_of_them_in_memory(model, tmp_path):
    (tmp_path / "empty.safetensors").touch()
    with EarlyWeights(model / TRANSFORMER, CPU) as early:
        coming = [weakref.ref(tensor.target) for tensor in early._coming._coming]
        kept = KeptModels(Machine(CPU, torch.float32), early)
        with pytest.raises(ClipError, match="empty"):
            kept.get(model, [LoraFile(tmp_path / "empty.safetensors")], SEGMENT, lambda said: None)
        assert coming and not any(tensor() is not None for tensor in coming)
    # What was begun for the first clip is no help for the next.
    assert kept.get(model, [], SEGMENT, lambda said: None)


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"_class_name": "WanAnimate2Transformer3DModel"}, "is not a Wan-Animate-2 checkpoint"),
        ({"_class_name": "UNet"}, "describes a UNet"),
        ([], r"config\.json cannot be read"),
    ],
)
def test_a_model_of_another_kind_is_refused(model, tmp_path, config, problem):
    shutil.copytree(model / TRANSFORMER, tmp_path / TRANSFORMER)
    path = tmp_path / TRANSFORMER / "config.json"
    whole = json.loads(path.read_text())
    path.write_text(json.dumps(whole | config if config else config))
    with pytest.raises(ClipError, match=problem):
        load(tmp_path)


def test_reading_begins_before_anybody_asks(model, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(model / TRANSFORMER, folder)
    stored = list(stored_tensors(model / TRANSFORMER).values())
    with EarlyWeights(folder, CPU) as early:
        until = time.monotonic() + 30
        while not all(p.done() for c in early._coming._coming for p in c.pieces):
            assert time.monotonic() < until
            time.sleep(0.01)
        for file in folder.glob("*.safetensors"):
            with file.open("r+b") as opened:
                opened.truncate(0)
        some = stored[1::3]
        for tensor, expected in zip(early.read(some), some, strict=True):
            assert torch.equal(tensor, expected.read())


def test_the_vae_works_before_the_weights_are_taken(model, monkeypatch):
    events, encode, read = [], VaeStream.encode, EarlyWeights.read
    monkeypatch.setattr(VaeStream, "encode", lambda *a: events.append("encoded") or encode(*a))
    monkeypatch.setattr(EarlyWeights, "read", lambda *a: events.append("read") or read(*a))
    video, machine = nothing(5, 32, 32, CPU), Machine(CPU, torch.float32)
    options = model, [], SEGMENT, machine, lambda said: None
    with EarlyWeights(model / TRANSFORMER, CPU) as early:
        found = load_models(*options, early, first=video)
    assert events == ["encoded", "read"]
    latents = found.codec.encode(video)
    assert events == ["encoded", "read"], "they are known"
    # Without early weights nothing would be done meanwhile.
    plain = load_models(*options, first=video)
    assert events == ["encoded", "read"]
    assert torch.equal(plain.codec.encode(video), latents)
    expected = plain.transformer.state_dict()
    for name, tensor in found.transformer.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


@pytest.mark.parametrize("by_frames", [False, True])
def test_the_vae_that_works_first_takes_bands_where_the_plan_says_so(model, monkeypatch, by_frames):
    plan = Plan(REPLICATED, 0, by_frames=by_frames)
    monkeypatch.setattr(build, "common_plan", lambda *options: plan)
    encoded = []
    for kind in (VaeStream, BandedVaeStream):
        monkeypatch.setattr(kind, "encode", recorded(kind.encode, encoded))
    options = model, [], SEGMENT, Machine(CPU, torch.float32), lambda said: None
    with EarlyWeights(model / TRANSFORMER, CPU) as early:
        found = load_models(*options, early, first=nothing(5, 32, 32, CPU))
    assert encoded == [BandedVaeStream if by_frames else VaeStream]
    assert found.made_by.get("by_frames", False) is by_frames


def recorded(encode, kinds: list):
    """Return `encode`, which tells the kinds of VAE that are called."""

    def encode_and_tell(stream, *given):
        kinds.append(type(stream))
        return encode(stream, *given)

    return encode_and_tell


def test_weights_of_another_folder_are_not_taken(model, tmp_path):
    other = write_model(tmp_path, seed=1)
    with EarlyWeights(other / TRANSFORMER, CPU) as early:
        found = load(model, early)
    expected = load(model)
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_a_file_cut_meanwhile_is_named_by_who_loads(model, tmp_path, monkeypatch):
    copy = tmp_path / "model"
    shutil.copytree(model, copy)
    monkeypatch.setattr(early_module, "AHEAD", 1)
    with EarlyWeights(copy / TRANSFORMER, CPU) as early:
        (file,) = (copy / TRANSFORMER).glob("*.safetensors")
        with file.open("r+b") as opened:
            opened.truncate(file.stat().st_size - 1)
        with pytest.raises(ClipError, match="is damaged"):
            load(copy, early)


def test_what_is_wrong_with_the_folder_is_left_to_who_loads(model, tmp_path):
    path = write_clip(tmp_path, model, 5, size=(32, 32))
    settings = json.loads(path.read_text())
    settings["model"] = str(tmp_path / "nowhere")
    path.write_text(json.dumps(settings))
    job = read_job(path)
    with early_weights(job, job.model, CPU) as early:
        assert early is None


def test_rows_and_factors_come_together_from_whatever_files(model, tmp_path, monkeypatch):
    shutil.copytree(model, tmp_path / "model")
    # Names are listed file by file, factors before rows; some pairs lie in two files.
    monkeypatch.setattr(writing, "SHARD_BYTES", 1 << 14)
    prepare(tmp_path / "model", "fp8")
    copy = transformer_folder(tmp_path / "model", "fp8")
    assert copy.name == "fp8"

    def loaded(early=None):
        weights = empty_transformer(copy, torch.bfloat16)
        convert_to_fp8(weights, fused=False)
        fill_transformer(weights, copy, CPU, Resident(weights), early=early)
        return {name: p.view(torch.uint8) for name, p in weights.named_parameters() if p.ndim}

    expected = loaded()
    with EarlyWeights(copy, CPU) as early:
        found = loaded(early)
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
