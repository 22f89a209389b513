"""What the headers of the hub's files tell before the files are fetched."""

import json
import logging
import shutil
import struct

import pytest
import torch
from safetensors.torch import load, save

from animate.demo.model import write_tiny_model
from animate.errors import ClipError
from animate.hub.declared.declaration import read_declaration
from animate.hub.install import Installation
from models.client import SCRIPTS
from models.hub_server import LARGE, Hub
from models.layouts import REPOSITORIES, files_of, write_diffusers, write_original

DIFFUSERS, ORIGINAL = "wan2.2-animate-14b", "wan2.2-animate-14b-original"
TRANSFORMER = "transformer/diffusion_pytorch_model.safetensors"
SHARD = "diffusion_pytorch_model-00002-of-00004.safetensors"
FIRST = "diffusion_pytorch_model-00001-of-00004.safetensors"
SHARDS = f"{FIRST} and 3 more"
INDEX = "diffusion_pytorch_model.safetensors.index.json"
LORA = "relighting_lora/adapter_model.safetensors"
WEIGHTS = (".safetensors", ".pth")


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The files of both repositories, by the name of the model that uses them."""
    folder = tmp_path_factory.mktemp("published")
    write_tiny_model(folder / "tiny", face_size=64)
    write_diffusers(folder / "diffusers")
    write_original(folder / "diffusers", folder / "original")
    return {DIFFUSERS: files_of(folder / "tiny"), ORIGINAL: files_of(folder / "original")}


@pytest.fixture
def hub(monkeypatch):
    hub = Hub()
    # What HF_ENDPOINT sets when the library is loaded.
    address = f"{hub.endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.endpoint)
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", address)
    yield hub
    hub.close()


@pytest.fixture
def install(hub, published, tmp_path):
    """Return a function that pushes a model's files, some of them changed, and installs it."""
    text = (SCRIPTS.parents[1] / "config" / "models.yaml").read_text()
    (tmp_path / "models.yaml").write_text(text.replace("cache: null", f"cache: {tmp_path}/cache"))
    declaration = read_declaration(tmp_path / "models.yaml")

    def install(name, changes, parts=("generation", "transformer")):
        for repository in REPOSITORIES:
            files = dict(published[ORIGINAL if repository == REPOSITORIES[1] else DIFFUSERS])
            for file, change in changes.items():
                if file in files:
                    files[file] = change(files[file])
            hub.push(repository, files)
        declared = declaration.models[name].parts
        chosen = {part: declared[part] for part in parts if part in declared}
        lock, folder = tmp_path / "lock.yaml", tmp_path / "models" / name
        Installation(declaration, lock, name, chosen, folder).install()
        return folder

    return install


def tensors(change):
    """Return a function from a safetensors file's bytes to those with changed tensors."""
    return lambda content: save({**(stored := load(content)), **change(stored)}, {"format": "pt"})


def in_eight_bits(stored):
    return {name: tensor.to(torch.float8_e4m3fn) for name, tensor in stored.items()}


def without(name):
    return lambda content: save({k: v for k, v in load(content).items() if k != name})


def misplaced(name):
    """Return a function that adds a tensor to an index, in a file that lacks it."""

    def change(content):
        index = json.loads(content)
        index["weight_map"][name] = SHARD
        return json.dumps(index).encode()

    return change


def sent_of(hub, *suffixes):
    return sum(r.sent for r in hub.requests if r.path.endswith(suffixes))


BIAS = {"proj_out.bias": torch.zeros(7)}


@pytest.mark.parametrize(
    "model, file, change, problem",
    [
        (DIFFUSERS, TRANSFORMER, tensors(lambda stored: BIAS), r"misshapen proj_out\.bias \(7,\)"),
        (DIFFUSERS, TRANSFORMER, without("proj_out.bias"), r"missing proj_out\.bias; correct its"),
        (
            DIFFUSERS,
            "vae/diffusion_pytorch_model.safetensors",
            tensors(in_eight_bits),
            "as F8_E4M3, not one of",
        ),
        (
            DIFFUSERS,
            "text_encoder/model.safetensors",
            lambda content: b"<html>" + content[6:],
            "is not a sound safetensors file",
        ),
        (
            DIFFUSERS,
            "image_encoder/model.safetensors",
            lambda content: content[:-1],
            "is not a sound safetensors file .*file not fully covered",
        ),
        (ORIGINAL, INDEX, misplaced("head.alien"), rf"missing head\.alien \({SHARD}\)"),
        (ORIGINAL, SHARD, without("blocks.3.ffn.2.bias"), r"missing blocks\.3\.ffn\.2\.bias \("),
        (ORIGINAL, SHARD, tensors(in_eight_bits), "as F8_E4M3, not one of"),
        (
            ORIGINAL,
            LORA,
            lambda content: struct.pack("<Q", 99_999) + content[8:],
            "is not a sound safetensors file .*invalid header length",
        ),
    ],
)
def test_mismatch_is_refused_before_anything_large_is_fetched(
    hub, install, model, file, change, problem
):
    parts = ("generation", "transformer", *(["relighting"] if file == LORA else []))
    with pytest.raises(ClipError, match=problem) as caught:
        install(model, {file: change}, parts)
    repository = REPOSITORIES[model == ORIGINAL]
    assert f"repository {repository}, " in str(caught.value)
    assert (SHARDS if file in (SHARD, INDEX) else file) in str(caught.value)
    assert sent_of(hub, *WEIGHTS) < 500_000
    for request in hub.requests:
        body = hub.repositories[repository][hub.branches[repository, "main"]].get(request.path)
        is_weights = request.path.endswith(WEIGHTS) and len(body) > LARGE
        assert not (is_weights and request.sent >= len(body)), request


def test_sound_model_is_fetched_whole_after_a_look_at_its_headers(hub, install):
    folder = install(DIFFUSERS, {})
    assert (folder / "model_index.json").is_file()
    first, second, whole = hub.downloads(TRANSFORMER)
    assert (first.start, first.sent, second.start) == (0, 8, 8)
    assert second.sent < whole.sent == len((folder / TRANSFORMER).read_bytes())


def test_tensor_that_the_index_does_not_name_is_no_fault(install):
    install(ORIGINAL, {SHARD: tensors(lambda stored: {"alien": torch.zeros(1)})})


def test_pickles_are_not_looked_into(hub, install):
    install(ORIGINAL, {})
    for name in ("Wan2.1_VAE.pth", "models_t5_umt5-xxl-enc-bf16.pth"):
        assert len(hub.downloads(name)) == 1
    assert len(hub.downloads(SHARD)) == 3


def test_server_that_ignores_ranges_is_not_read_and_the_check_comes_after(hub, install, caplog):
    hub.faults.whole_files_only = True
    hub.faults.bytes_per_second = 50_000_000
    with caplog.at_level(logging.WARNING), pytest.raises(ClipError, match="misshapen"):
        install(DIFFUSERS, {TRANSFORMER: tensors(lambda stored: BIAS)})
    (warning,) = [r.message for r in caplog.records if "sends no parts of files" in r.message]
    assert REPOSITORIES[0] in warning
    asked = [r for r in hub.requests if r.path.endswith(WEIGHTS) and r.status == 200]
    assert len(asked) == 5, "one look, then each of the four files"


def test_of_a_whole_file_that_was_not_asked_for_next_to_nothing_is_read(hub, install):
    hub.faults.whole_files_only = True
    large = {"alien": torch.zeros(20_000_000)}
    folder = install(ORIGINAL, {FIRST: tensors(lambda stored: large)})
    look, whole = hub.downloads(FIRST)
    assert look.sent < 0.3 * whole.sent
    assert whole.sent == (folder / "original" / FIRST).stat().st_size


def test_nothing_is_asked_where_everything_is_in_the_cache(hub, install, tmp_path):
    folder = install(DIFFUSERS, {})
    before = len(hub.requests)
    shutil.rmtree(folder)
    install(DIFFUSERS, {})
    shutil.rmtree(next((tmp_path / "cache").glob("models--*/snapshots")))
    install(DIFFUSERS, {})
    assert len(hub.requests) == before


def test_folder_that_was_fetched_in_part_is_checked_with_what_is_there(hub, install, tmp_path):
    """A shard in the cache is read from there, the others' headers from the hub."""
    install(ORIGINAL, {})
    (tmp_path / "models" / ORIGINAL / "original" / SHARD).resolve().unlink()
    before = len(hub.requests)
    install(ORIGINAL, {})
    assert {r.path for r in hub.requests[before:]} == {SHARD}
