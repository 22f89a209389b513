"""Picture editors of the hub: fetched by the clips that edit, refused before anything starts."""

from pathlib import Path

import pytest
import yaml

from animate.config.settings import ClipSettings
from animate.config.table import Clip
from animate.hub.access import access_problem
from animate.hub.declared.declaration import Declaration, editor_problem, read_declaration

CONFIG = Path(__file__).parents[2] / "config"
FLUX = "flux-kontext"


@pytest.fixture
def declaration(monkeypatch, tmp_path) -> Declaration:
    """What the project declares, with an empty cache and no token."""
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    found = read_declaration(CONFIG / "models.yaml")
    return found.model_copy(update={"cache": tmp_path})


def clip(mode: str = "animate", **settings) -> Clip:
    return Clip("x", "v.mp4", "r.png", mode, ClipSettings(**settings))


def test_only_clips_that_edit_need_an_editor(declaration):
    model = declaration.models[FLUX]
    assert model.layout == "editor"
    for other in (clip(), clip(retarget="basic"), clip("replace", retarget="flux")):
        assert model.needed_parts([other]) == {}
    edits = clip(retarget="flux")
    assert list(model.needed_parts([edits])) == ["editor"]
    assert declaration.models["qwen-image-edit"].needed_parts([edits]) == {}
    qwen = clip(retarget="flux", retarget_model="qwen-image-edit")
    assert list(declaration.models["qwen-image-edit"].needed_parts([qwen])) == ["editor"]
    assert model.needed_parts([qwen]) == {}


def test_an_editor_that_nobody_declares_is_refused(declaration):
    assert editor_problem(declaration, clip(retarget="flux")) == ""
    for name in ("flux", "wan2.2-animate-14b"):
        problem = editor_problem(declaration, clip(retarget="flux", retarget_model=name))
        assert f"'{name}'" in problem and "flux-kontext, qwen-image-edit" in problem
        assert editor_problem(declaration, clip(retarget="basic", retarget_model=name)) == ""
    assert editor_problem(declaration, clip(retarget="flux", retarget_model="./mine")) == ""


def test_terms_ask_for_a_token_before_anything_starts(declaration, monkeypatch, tmp_path):
    part = declaration.models[FLUX].parts["editor"]
    problem = access_problem(declaration, part)
    assert "FLUX.1-Kontext-dev asks for a token" in problem and "no commercial use" in problem
    assert access_problem(declaration, declaration.models["qwen-image-edit"].parts["editor"]) == ""
    with monkeypatch.context() as changed:
        changed.setattr("huggingface_hub.get_token", lambda: "a token")
        assert access_problem(declaration, part) == ""
    with monkeypatch.context() as changed:
        changed.setenv("HF_HUB_OFFLINE", "1")
        assert access_problem(declaration, part) == ""
    (tmp_path / "models--black-forest-labs--FLUX.1-Kontext-dev").mkdir()
    assert access_problem(declaration, part) == ""


def test_a_folder_in_place_needs_no_token(declaration, tmp_path):
    text = yaml.safe_load((CONFIG / "models.yaml").read_text())
    text["repositories"]["black-forest-labs/FLUX.1-Kontext-dev"]["path"] = str(tmp_path)
    (tmp_path / "models.yaml").write_text(yaml.safe_dump(text))
    own = read_declaration(tmp_path / "models.yaml")
    assert access_problem(own, own.models[FLUX].parts["editor"]) == ""
