"""Which kind of transformer a folder holds, by its config.json."""

import inspect
import json
from pathlib import Path

import diffusers
import pytest
import torch

from animate.demo.model import write_tiny_model
from animate.demo.tiny2 import write_tiny_2
from animate.errors import ClipError
from animate.weights.architecture import check_architecture
from animate.weights.checkpoint import empty_transformer
from animate.weights.kinds import KINDS, folder_kind


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def kind(request):
    return request.param


@pytest.fixture
def nameless(tmp_path, kind):
    """A tiny model of a kind whose transformer's config.json does not name its class."""
    (write_tiny_2 if kind.name == "driven" else write_tiny_model)(tmp_path)
    path = tmp_path / "transformer/config.json"
    config = json.loads(path.read_text())
    assert config.pop("_class_name") == kind.class_name
    path.write_text(json.dumps(config))
    return tmp_path


def test_a_config_that_names_no_class_is_known_by_its_own_keys(nameless, kind):
    folder = nameless / "transformer"
    assert folder_kind(folder) is kind
    assert type(empty_transformer(folder, torch.float32)).__name__ == kind.class_name
    check_architecture(nameless)


def test_no_other_class_of_diffusers_has_the_keys_of_a_kind(kind):
    class_of = getattr(diffusers, kind.class_name)
    assert kind.own_keys <= inspect.signature(class_of).parameters.keys()
    own = Path(inspect.getfile(class_of))
    texts = {path: path.read_text("utf-8") for path in own.parent.glob("*.py")}
    # It would be found by all of its keys.
    having = [path for path, text in texts.items() if all(key in text for key in kind.own_keys)]
    assert having == [own]


def test_a_config_that_does_not_tell_the_kind_is_refused_with_what_to_add(nameless, kind):
    path = nameless / "transformer/config.json"
    config = json.loads(path.read_text())
    less = {key: value for key, value in config.items() if key != min(kind.own_keys)}
    more = config | dict.fromkeys(frozenset().union(*(other.own_keys for other in KINDS)), 1)
    for keys in (less, more, {}):
        path.write_text(json.dumps(keys))
        with pytest.raises(ClipError) as raised:
            folder_kind(path.parent)
        said = str(raised.value)
        assert said.startswith(f"{path} has no _class_name, and its other keys do not tell")
        assert '"_class_name": "WanAnimateTransformer3DModel" (Wan2.2-Animate) or' in said
        assert '"_class_name": "WanAnimate2Transformer3DModel" (Wan-Animate-2)' in said


def test_a_class_that_is_named_decides_whatever_the_other_keys_are(nameless, kind):
    path = nameless / "transformer/config.json"
    config = json.loads(path.read_text())
    for name in ("WanTransformer3DModel", None):
        path.write_text(json.dumps(config | {"_class_name": name}))
        with pytest.raises(ClipError, match=f"{path} describes a {name}, not one of"):
            folder_kind(path.parent)
