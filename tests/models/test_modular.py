"""Wan-Animate-2 from repositories of modular pipelines, which may lack the usual index."""

import json

import pytest
import torch
import yaml
from diffusers import WanAnimate2Transformer3DModel
from safetensors.torch import load, save

from animate.config.settings import ClipSettings
from animate.config.table import Clip
from animate.demo.model import write_tiny_model
from animate.demo.tiny2 import write_tiny_2
from animate.errors import ClipError
from animate.hub.declared.declaration import read_declaration
from animate.hub.install import Installation
from animate.weights.checkpoint import model_index
from animate.weights.original_names import transformer_names
from driven_models import driven_originals
from models.client import SCRIPTS
from models.hub_server import Hub
from models.layouts import files_of
from transformer_files import original_naming
from whole_model import load_transformer

MODELS = ("wan-animate-2", "wan-animate-2-distilled")
USUAL, MODULAR = "model_index.json", "modular_model_index.json"
TRANSFORMER = "transformer/diffusion_pytorch_model.safetensors"
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The files of such a repository, with both indexes."""
    folder = tmp_path_factory.mktemp("published")
    write_tiny_2(folder)
    index = json.loads((folder / USUAL).read_text())
    parts = {k: [*v, {"subfolder": k}] for k, v in index.items() if isinstance(v, list)}
    document = {"_class_name": index["_class_name"], "_blocks_class_name": "WanAnimate2Blocks"}
    (folder / MODULAR).write_text(json.dumps(document | parts))
    return files_of(folder)


@pytest.fixture
def hub(monkeypatch):
    hub = Hub()
    address = f"{hub.endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.endpoint)
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", address)
    yield hub
    hub.close()


@pytest.fixture(scope="module")
def one_files(tmp_path_factory):
    """The transformers of both kinds, each in one file."""
    folder = tmp_path_factory.mktemp("one")
    write_tiny_2(folder / "tiny-2")
    write_tiny_model(folder / "tiny", face_size=32)
    driven = WanAnimate2Transformer3DModel.from_pretrained(folder / "tiny-2" / "transformer")
    own = driven_originals(driven, wrapped=True)
    other = original_naming(folder / "tiny" / "transformer", transformer_names(5, 1))
    return [save({name: t.bfloat16() for name, t in tensors.items()}) for tensors in (own, other)]


@pytest.fixture
def install(hub, tmp_path):
    """Return a function that pushes files as a model's repository and installs the model."""
    document = yaml.safe_load((SCRIPTS.parents[1] / "config" / "models.yaml").read_text())
    (tmp_path / "models.yaml").write_text(yaml.safe_dump(document | {"cache": f"{tmp_path}/cache"}))
    declaration = read_declaration(tmp_path / "models.yaml")

    def install(name, files, chosen=None):
        declared = declaration.models[name].parts
        parts = {part: declared[part] for part in chosen or declared}
        hub.push(next(iter(parts.values())).repository, files)
        folder = tmp_path / "models" / name
        Installation(declaration, tmp_path / "lock.yaml", name, parts, folder).install()
        return folder

    return install


@pytest.mark.parametrize("model", MODELS)
def test_what_waits_for_the_model_finds_its_index_whatever_the_repository_has(
    install, published, model
):
    folder = install(model, {k: v for k, v in published.items() if k != USUAL})
    assert (folder / MODULAR).is_symlink() and not (folder / USUAL).is_symlink()
    index = model_index(folder)
    assert (folder / USUAL).read_bytes() == published[USUAL]
    assert all((folder / part).is_dir() for part in index if part != "_class_name")
    load_transformer(folder / "transformer", torch.float32, CPU)


def test_an_index_that_did_not_change_keeps_its_time(install, published):
    files = {k: v for k, v in published.items() if k != USUAL}
    index = install(MODELS[0], files) / USUAL
    before = index.stat().st_mtime_ns
    install(MODELS[0], files)
    assert index.stat().st_mtime_ns == before


def test_the_repositorys_own_index_counts_where_it_has_one(install, published):
    own = json.dumps({"_class_name": "WanAnimate2Pipeline"}).encode()
    folder = install(MODELS[0], published | {USUAL: own})
    assert (folder / USUAL).read_bytes() == own
    assert not (folder / MODULAR).exists()


def test_a_missing_tensor_is_named_before_anything_large_is_fetched(hub, install, published):
    stored = load(published[TRANSFORMER])
    del stored["blocks.4.modulation"]
    with pytest.raises(ClipError, match=r"Wan-Animate-2 checkpoint: missing blocks\.4\.modulation"):
        install(MODELS[0], published | {TRANSFORMER: save(stored)})
    assert sum(r.sent for r in hub.requests if r.path.endswith(".safetensors")) < 500_000


@pytest.mark.parametrize("model", MODELS)
def test_the_published_file_is_fetched_when_a_clip_names_it(
    hub, install, one_files, published, model
):
    distilled = model.endswith("distilled")
    part = "animate_2_distilled_bf16" if distilled else "animate_2_bf16"
    end = "_distillation" if distilled else ""
    file = f"wan_animate_2/wan_animate_2_bf16{end}.safetensors"
    clip = Clip("x", "v.mp4", "r.png", "animate", ClipSettings(transformer_file=part, model=model))
    declaration = read_declaration(SCRIPTS.parents[1] / "config" / "models.yaml")
    assert list(declaration.models["transformers"].needed_parts([clip])) == [part]
    assert list(declaration.models[model].needed_parts([clip])) == ["generation"]
    folder = install("transformers", {file: one_files[0]}, [part])
    assert (folder / file).read_bytes() == one_files[0]
    folder = install(model, published, ["generation"])
    assert [path.name for path in (folder / "transformer").iterdir()] == ["config.json"]


def test_a_file_of_the_other_kind_is_refused_by_its_header(hub, install, one_files):
    file = "wan_animate_2/wan_animate_2_bf16.safetensors"
    problem = "has the layers of Wan2.2-Animate, not those of Wan-Animate-2"
    with pytest.raises(ClipError, match=f"repository Wan-AI/Wan2.2-Animate-2-14B, .*{problem}"):
        install("transformers", {file: one_files[1]}, ["animate_2_bf16"])
    assert sum(r.sent for r in hub.downloads(file)) < 0.2 * len(one_files[1])
