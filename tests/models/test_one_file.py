"""One file in place of the transformer's shards: only it is fetched, and its header looked at."""

import json

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from animate.config.settings import ClipSettings
from animate.config.table import Clip
from animate.demo.clips import write_demo
from animate.errors import ClipError
from animate.hub.declared.declaration import read_declaration, transformer_part
from animate.hub.install import Installation
from animate.weights.original_names import transformer_names
from models.client import SCRIPTS
from models.hub_server import Hub
from models.layouts import LAYERS, REPOSITORIES, files_of, write_diffusers
from transformer_files import original_naming, write_gguf, write_scaled
from workflow.project import new_project

MODEL, KIJAI = "wan2.2-animate-14b", "Kijai/WanVideo_comfy_fp8_scaled"
FILE = "Wan22Animate/Wan2_2-Animate-14B_fp8_scaled_e4m3fn_KJ_v2.safetensors"
GGUF = "Wan22Animate/Wan2.2-Animate-14B-Q8_0.gguf"
SETTINGS = """
model: wan2.2-animate-14b
defaults:
  preset: draft
  steps: 1
  segment_frames: 5
  resolution_area: 64x64
  fps: 25
"""


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The repository in the Diffusers layout, and one with its transformer in one file."""
    folder = tmp_path_factory.mktemp("published")
    write_diffusers(folder / "diffusers")
    weights = original_naming(folder / "diffusers" / "transformer", transformer_names(LAYERS, 1))
    (folder / "one" / FILE).parent.mkdir(parents=True)
    write_scaled(folder / "one" / FILE, weights)
    (folder / "one" / "README.md").write_text("others\n")
    (folder / "one" / "other.safetensors").write_bytes(b"another model" * 100)
    return {REPOSITORIES[0]: files_of(folder / "diffusers"), KIJAI: files_of(folder / "one")}


@pytest.fixture
def hub(published, monkeypatch):
    hub = Hub()
    for name, files in published.items():
        hub.push(name, files)
    address = f"{hub.endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.endpoint)
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", address)
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    yield hub
    hub.close()


def clip(**settings):
    return Clip("x", "v.mp4", "r.png", "animate", ClipSettings(**settings))


@pytest.fixture
def install(tmp_path):
    """Return a function that installs what a clip needs; `parts` are added to models.yaml."""

    def install(clip, **parts):
        document = yaml.safe_load((SCRIPTS.parents[1] / "config" / "models.yaml").read_text())
        document["cache"] = str(tmp_path / "cache")
        document["models"]["transformers"]["parts"] |= parts
        (tmp_path / "models.yaml").write_text(yaml.safe_dump(document))
        declaration = read_declaration(tmp_path / "models.yaml")
        for name in (MODEL, "transformers"):
            if needed := declaration.models[name].needed_parts([clip]):
                folder = tmp_path / "models" / name
                where = declaration, tmp_path / "lock.yaml", name, needed, folder
                Installation(*where).install()
        return tmp_path / "models"

    return install


def fetched(hub, suffix):
    return {request.path for request in hub.requests if request.path.endswith(suffix)}


def test_only_the_one_file_is_fetched_and_nothing_of_the_shards(hub, install, published):
    models = install(clip(transformer_file="fp8_scaled"))
    assert (models / "transformers" / FILE).read_bytes() == published[KIJAI][FILE]
    transformer = models / MODEL / "transformer"
    assert [path.name for path in transformer.iterdir()] == ["config.json"]
    weights = {f"{part}/model.safetensors" for part in ("text_encoder", "image_encoder")}
    weights |= {"vae/diffusion_pytorch_model.safetensors", FILE}
    assert fetched(hub, ".safetensors") == weights
    length, header, whole = hub.downloads(FILE)
    assert (length.sent, whole.sent) == (8, len(published[KIJAI][FILE]))
    assert header.sent < 0.1 * whole.sent
    count = len(hub.requests)
    install(clip(transformer_file="fp8_scaled"))
    assert len(hub.requests) == count
    # A clip without it brings in the shards, and only those.
    install(clip())
    added = {request.path for request in hub.requests[count:]}
    assert {path for path in added if path.endswith(".safetensors")} == {
        "transformer/diffusion_pytorch_model.safetensors"
    }
    record = json.loads((models / "transformers" / "sources.json").read_text())
    assert record["fp8_scaled"]["files"].keys() == {FILE}


def without_faces(folder, content):
    (folder / "x").write_bytes(content)
    stored = load_file(folder / "x")
    kept = {name: t for name, t in stored.items() if not name.startswith("face_adapter")}
    save_file(kept, folder / "x")
    return (folder / "x").read_bytes()


@pytest.mark.parametrize(
    "change, problem",
    [
        (without_faces, "missing face_adapter.fuser_blocks.0.q_norm.weight"),
        (lambda folder, content: content[:-1], "is not a sound safetensors file"),
        (lambda folder, content: b"<html>" + content[6:], "is not a sound safetensors file"),
    ],
)
def test_wrong_file_is_refused_before_it_is_fetched(
    hub, install, published, tmp_path, change, problem
):
    content = change(tmp_path, published[KIJAI][FILE])
    hub.push(KIJAI, published[KIJAI] | {FILE: content})
    with pytest.raises(ClipError, match=problem) as caught:
        install(clip(transformer_file="fp8_scaled"))
    assert f"repository {KIJAI}, {FILE}: " in str(caught.value)
    assert sum(request.sent for request in hub.downloads(FILE)) < 0.1 * len(content)


def test_gguf_of_a_part_of_ones_own_is_looked_at_and_fetched(hub, install, published, tmp_path):
    pytest.importorskip("gguf")
    part = {"purpose": "own", "repository": KIJAI, "transformer": True, "files": [GGUF]}
    part["when"] = {"transformer_file": ["own_q8"]}
    (tmp_path / "diffusers").mkdir()
    for name, content in published[REPOSITORIES[0]].items():
        if name.startswith("transformer/"):
            (tmp_path / "diffusers" / name.partition("/")[2]).write_bytes(content)
    weights = original_naming(tmp_path / "diffusers", transformer_names(LAYERS, 1))
    write_gguf(tmp_path / "x.gguf", weights, "Q8_0")
    content = (tmp_path / "x.gguf").read_bytes()
    hub.push(KIJAI, published[KIJAI] | {GGUF: content[:-1]})
    with pytest.raises(ClipError, match=r"Q8_0\.gguf: .* is not a sound GGUF file"):
        install(clip(transformer_file="own_q8"), own=part)
    assert sum(request.sent for request in hub.downloads(GGUF)) < 0.1 * len(content)
    hub.push(KIJAI, published[KIJAI] | {GGUF: content})
    (tmp_path / "lock.yaml").unlink()
    models = install(clip(transformer_file="own_q8"), own=part)
    assert (models / "transformers" / GGUF).read_bytes() == content
    assert not hub.downloads(FILE)


def test_name_that_is_not_declared_is_refused_with_those_that_are():
    declaration = read_declaration(SCRIPTS.parents[1] / "config" / "models.yaml")
    assert transformer_part(declaration, clip(transformer_file="fp8_scaled")) == (
        "fp8_scaled",
        FILE,
    )
    assert transformer_part(declaration, clip()) is None
    assert transformer_part(declaration, clip(transformer_file="a/b.gguf")) is None
    with pytest.raises(ClipError, match=r"'fp8' is neither .* which has fp8_scaled, bf16"):
        transformer_part(declaration, clip(transformer_file="fp8"))


@pytest.mark.parametrize(
    "model, named, needed",
    [
        ("wan-animate-2", "bf16", "wan2.2-animate-14b"),
        ("wan2.2-animate-14b", "animate_2_bf16", "wan-animate-2"),
        ("wan-animate-2", "animate_2_distilled_bf16", "wan-animate-2-distilled"),
    ],
)
def test_a_file_of_another_model_is_refused_by_name(model, named, needed):
    declaration = read_declaration(SCRIPTS.parents[1] / "config" / "models.yaml")
    name, _ = transformer_part(declaration, clip(transformer_file=named, model=needed))
    assert name == named
    with pytest.raises(
        ClipError, match=f"'{named}', transformer .* is for clips with model {needed}:"
    ):
        transformer_part(declaration, clip(transformer_file=named, model=model))


@pytest.mark.slow
def test_clips_are_sampled_from_it_and_from_the_shards_when_it_is_left_out(
    hub, tmp_path, monkeypatch
):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf_home"))
    project = new_project(tmp_path / "project")
    write_demo(project.folder / "demo")
    (project.folder / "config" / "models.lock.yaml").unlink()
    (project.folder / "quick.yaml").write_text(SETTINGS)
    row = {"clip": "dance", "video": "../demo/driving.mp4", "reference": "../demo/character.png"}
    row |= {"mode": "animate", "end": "0.2"}
    project.write_table(row | {"transformer_file": "fp8_scaled"})
    project.snakemake()
    assert fetched(hub, "transformer/diffusion_pytorch_model.safetensors") == set()
    record = json.loads((project.folder / "results" / "dance" / "dance.json").read_text())
    used = record["sampling"]["inputs"]["transformer_file"]
    assert used["path"] == f"models/transformers/{FILE}"
    assert len(used["sha256"]) == 64
    assert record["weights"]["models/transformers"]["fp8_scaled"]["files"] == {FILE: used["sha256"]}
    assert project.pending_jobs() == {}
    project.write_table(row | {"transformer_file": "fp8"})
    done = project.snakemake("--dry-run", check=False)
    assert "'fp8' is neither" in done.stdout + done.stderr
    project.write_table(row)
    pending = project.pending_jobs()
    assert pending[""] == {"prepare": 1} and pending["dance"]["sample"] == 1
    project.snakemake()
    assert fetched(hub, "transformer/diffusion_pytorch_model.safetensors")
    own = tmp_path / "own.safetensors"
    own.write_bytes(next((tmp_path / "hf_home").rglob(FILE.rpartition("/")[2])).read_bytes())
    project.write_table(row | {"transformer_file": str(own)})
    assert project.pending_jobs()["dance"]["sample"] == 1
    project.snakemake()
    assert project.pending_jobs() == {}
    save_file({"x": torch.zeros(1)}, own)
    done = project.snakemake("--dry-run", check=False)
    told = f"'transformer_file': {own} has no patch_embedding.weight: use a file of"
    assert told in done.stdout + done.stderr
