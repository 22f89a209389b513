"""The whole workflow on a downloaded model: both layouts, a lost cache, other pins."""

import json
import shutil

import pytest

from animate.demo.clips import write_demo
from models.hub_server import Hub
from models.layouts import REPOSITORIES, files_of, write_diffusers, write_lora, write_original
from workflow.project import new_project

pytestmark = pytest.mark.slow
SETTINGS = """
model: {model}
defaults:
  preset: draft
  steps: 1
  segment_frames: 5
  resolution_area: 64x64
  fps: 25
"""
CLIP = {"video": "../demo/driving.mp4", "reference": "../demo/character.png", "end": "0.2"}
SWAP = {"clip": "swap", "mode": "replace", **CLIP}
LORA = "[{repo: maker/style, file: style.safetensors}]"
DANCE = {"clip": "dance", "mode": "animate", "prompt": "a new text", "loras": LORA, **CLIP}


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The files of both repositories, and of a LoRA's."""
    folder = tmp_path_factory.mktemp("published")
    write_diffusers(folder / "diffusers")
    write_original(folder / "diffusers", folder / "original")
    unused = {"process_checkpoint/sam2/sam2_hiera_large.pt": b"x" * 5000}
    write_lora(folder / "lora")
    both = files_of(folder / "diffusers"), files_of(folder / "original") | unused
    return dict(zip(REPOSITORIES, both, strict=True)) | {"maker/style": files_of(folder / "lora")}


@pytest.fixture
def hub(published, monkeypatch):
    hub = Hub()
    for name, files in published.items():
        hub.push(name, files)
    hub.push("maker/style", published["maker/style"], "v1")
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    yield hub
    hub.close()


@pytest.fixture
def project(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf_home"))
    project = new_project(tmp_path / "project")
    write_demo(project.folder / "demo")
    # As where the workflow is a module: nothing was ever pinned.
    (project.folder / "config" / "models.lock.yaml").unlink()
    choose_model(project, "wan2.2-animate-14b")
    project.write_table(SWAP)
    return project


def choose_model(project, model):
    (project.folder / "quick.yaml").write_text(SETTINGS.format(model=model))


def test_only_the_models_own_pins_convert_it_again(project, hub, published):
    choose_model(project, "wan2.2-animate-14b-original")
    project.snakemake("download")
    assert project.pending_jobs("download") == {"": {"download": 1}}
    for name in ("maker/style", REPOSITORIES[0]):
        hub.push(name, published[name] | {"vae/new.json": b"{}"})
    assert "->" not in project.snakemake("update_models").stdout.split(REPOSITORIES[1] + ":")[-1]
    assert project.pending_jobs("download") == {"": {"download": 1}}
    name = REPOSITORIES[1]
    hub.push(name, published[name] | {"google/umt5-xxl/README.md": b"new"})
    assert "->" in project.snakemake("update_models").stdout
    assert project.pending_jobs("download") == {"": {"download": 1}}, "the same weights"
    hub.push(name, published[name] | {"google/umt5-xxl/new.json": b"{}"})
    project.snakemake("update_models")
    again = {"download": 1, "download_original": 1, "convert": 1}
    assert project.pending_jobs("download") == {"": again}
    project.snakemake("download")
    assert project.pending_jobs("download") == {"": {"download": 1}}


def test_download_lost_cache_other_pins_other_layout(project, hub, tmp_path, published):
    video = project.folder / "results" / "swap" / "sampled.mp4"
    project.snakemake()
    unused = {"process_checkpoint/sam2/sam2_hiera_large.pt", "Wan2.1_VAE.pth"}
    assert not unused & {request.path for request in hub.requests}
    assert project.pending_jobs() == {}
    prepared = project.folder / "models" / "wan2.2-animate-14b" / "prepared"
    assert (prepared / "bf16" / "config.json").is_file()
    assert "bf16 copy" in project.snakemake("models_status").stdout

    shutil.rmtree(tmp_path / "hf_home")
    assert project.pending_jobs() == {}, "finished clips need no weights"
    shutil.rmtree(prepared)
    assert project.pending_jobs() == {}, "nor their copy"
    project.write_table(SWAP, DANCE)
    pending = project.pending_jobs()
    assert pending.keys() == {"", "dance"}
    assert pending[""] == {"prompt": 1, "download_files": 1}
    before = video.stat().st_mtime_ns, video.read_bytes()
    project.snakemake()
    assert video.stat().st_mtime_ns == before[0]
    assert not prepared.exists(), "who removes it does without"
    assert project.pending_jobs("--forcerun", "prepare") == {"": {"prepare": 1}}
    record = json.loads((project.folder / "results" / "dance" / "dance.json").read_text())
    style = record["weights"]["models/loras/maker/style/main"]["style.safetensors"]
    assert style["commit"] == hub.branches["maker/style", "main"]
    assert style["files"].keys() == {"style.safetensors", "adapter_config.json"}
    shutil.rmtree(tmp_path / "hf_home")
    assert project.pending_jobs() == {}, "a LoRA's link may dangle, too"

    count = len(hub.downloads("vae/config.json"))
    project.snakemake("download", "--forceall")
    assert len(hub.downloads("vae/config.json")) == count + 1
    assert project.pending_jobs() == {}

    name = REPOSITORIES[0]
    commit = hub.push(name, published[name] | {"vae/README.md": b"new"})
    assert commit in project.snakemake("update_models").stdout
    assert project.pending_jobs() == {}, "another commit with the same weights"
    commit = hub.push(name, published[name] | {"vae/new.json": b"{}"})
    assert project.pending_jobs() == {}, "the lock holds"
    assert commit in project.snakemake("update_models").stdout
    pending = project.pending_jobs()
    assert pending["swap"]["sample"] == pending["dance"]["sample"] == pending[""]["prepare"] == 1

    choose_model(project, "wan2.2-animate-14b-original")
    project.write_table(SWAP)
    project.snakemake()
    assert video.stat().st_mtime_ns != before[0]
    assert video.read_bytes() == before[1], "both layouts hold the same weights"
    assert project.pending_jobs() == {}

    hub.push(name, published[name] | {"vae/new.json": b"[]"})
    assert "->" in project.snakemake("update_models").stdout
    assert project.pending_jobs() == {}, "another repository's pin converts nothing again"
    name = REPOSITORIES[1]
    hub.push(name, published[name] | {"google/umt5-xxl/new.json": b"{}"})
    assert "->" in project.snakemake("update_models").stdout
    project.write_table(SWAP | {"loras": LORA.replace("file", "revision: v1, file")})
    pending = project.pending_jobs()
    made = {"download_original", "download_files", "convert", "prepare", "prompt"}
    assert pending[""] == dict.fromkeys(made, 1)
    assert pending["swap"]["sample"] == 1
    project.snakemake()
    assert project.pending_jobs() == {}, "a finished clip's new LoRA was pinned meanwhile"
