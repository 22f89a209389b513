"""A LoRA of the hub is pinned, verified and linked as any model, its PEFT settings with it."""

import os
import shutil

import pytest

from animate.config.settings import ClipSettings
from animate.config.table import Clip
from animate.hub.declared.declaration import hub_loras, read_declaration, with_loras
from models.client import SCRIPTS

NEED = "loras/Maker/Model/main:b/c.bin"


@pytest.fixture
def lora(client):
    """Return the folder that shows the LoRA, and a function that downloads it."""
    folder = client.folder / "models" / "loras" / "Maker" / "Model" / "main"
    return folder, lambda *options: client.run("download_model", "--needs", NEED, *options)


def test_file_is_pinned_fetched_once_and_linked_from_the_declared_cache(lora, client, hub):
    folder, download = lora
    hub.faults.statuses["b/c.bin"] = [503]
    download()
    path = folder / "b" / "c.bin"
    assert path.read_bytes() == hub.files["b/c.bin"]
    assert path.resolve().is_relative_to(client.folder / "cache")
    locked = client.lock()["Maker/Model@main"]
    assert locked["commit"] == hub.commit
    assert locked["files"]["b/c.bin"]["size"] == len(hub.files["b/c.bin"])
    assert not hub.downloads("a.bin")
    count = len(hub.requests)
    download()
    assert len(hub.requests) == count


def test_pin_holds_until_it_is_updated_and_then_the_new_file_is_shown(lora, client, hub):
    folder, download = lora
    download()
    before = hub.files["b/c.bin"]
    hub.files["b/c.bin"] = os.urandom(5000)
    hub.push("Maker/Model", hub.files)
    shutil.rmtree(client.folder / "cache")
    download()
    assert (folder / "b" / "c.bin").read_bytes() == before
    output = client.run("update_models", "--needs", NEED)
    assert "changed b/c.bin: 300000 -> 5000 bytes" in output
    download()
    assert (folder / "b" / "c.bin").read_bytes() == hub.files["b/c.bin"]


def test_wrong_byte_is_caught(lora, hub):
    folder, download = lora
    hub.faults.wrong_bytes["b/c.bin"] = 1
    download()
    assert (folder / "b" / "c.bin").read_bytes() == hub.files["b/c.bin"]


def test_settings_beside_a_peft_file_come_with_it(lora, client, hub):
    folder, download = lora
    hub.files |= {"b/adapter_config.json": b'{"lora_alpha": 8}', "adapter_config.json": b"{}"}
    hub.push("Maker/Model", hub.files)
    download()
    assert (folder / "b" / "adapter_config.json").read_bytes() == b'{"lora_alpha": 8}'
    assert not (folder / "adapter_config.json").exists()
    del hub.files["b/adapter_config.json"]
    hub.push("Maker/Model", hub.files)
    client.run("update_models", "--needs", NEED)
    download()
    assert not os.path.lexists(folder / "b" / "adapter_config.json")


def test_second_file_of_a_pinned_repository_leaves_the_first_pinned(lora, client, hub):
    _, download = lora
    download()
    hub.push("Maker/Model", hub.files | {"new.bin": b"n"})
    client.run("download_model", "--needs", "loras/Maker/Model/main:a.bin")
    locked = client.lock()["Maker/Model@main"]
    assert locked["commit"] == hub.commit
    assert locked["files"].keys() == {"a.bin", "b/c.bin"}


def test_a_file_that_is_not_there_is_named(client):
    message = client.fail("download_model", "--needs", "loras/Maker/Model/main:none.bin")
    assert "Maker/Model@main has no file 'none.bin'" in message
    assert "`loras` of the clip" in message


def test_status_and_verification_include_it(lora, client):
    _, download = lora
    download()
    assert "1 of 1 pinned files were good" in client.run("verify_models", "--needs", NEED)
    assert "loras/Maker/Model/main" in client.run("models_status", "--needs", NEED)


def test_clips_declare_their_loras_once():
    def clip(*files):
        loras = [{"repo": "m/n", "file": file, "revision": "v1"} for file in files]
        settings = ClipSettings(loras=[*loras, {"path": "own.bin"}])
        return Clip("x", "v.mp4", "r.png", "animate", settings)

    files = hub_loras([clip("a.bin"), clip("a.bin", "b.bin")])
    assert files == {"loras/m/n/v1": ["a.bin", "b.bin"]}
    declaration = read_declaration(SCRIPTS.parents[1] / "config" / "models.yaml")
    declared = with_loras(declaration, files | {"preprocess": ["sam2"]})
    assert declared.models.keys() - declaration.models.keys() == {"loras/m/n/v1"}
    assert declared.repositories["m/n@v1"].revision == "v1"
