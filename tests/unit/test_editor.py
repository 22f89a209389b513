"""The picture editor: diffusers' own FLUX.1 Kontext pipeline, tiny, with random weights."""

import json
import shutil

import numpy as np
import pytest
from safetensors.torch import load_file

from animate.config.settings import EditSettings
from animate.editing.editor import Editor, editing_size, into_standard_pose, write_prompts
from animate.editing.prompts import PROMPTS
from animate.errors import ClipError
from editors import write_editor
from skeletons import SIZE, clip, figure

PICTURE = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The pipeline's folder, and beside it the prompts."""
    folder = tmp_path_factory.mktemp("editor")
    write_editor(folder / "flux")
    write_prompts(folder / "prompts.safetensors", folder / "flux")
    return folder


def editor(folder, **settings) -> Editor:
    settings = EditSettings(retarget_steps=1, **settings)
    return Editor(folder / "flux", folder / "prompts.safetensors", settings, "cpu")


def test_pictures_follow_seed_prompt_and_picture(folder, monkeypatch):
    monkeypatch.setattr("animate.editing.editor.AREA", 192 * 256)
    edit = editor(folder)
    first = edit(PICTURE, "face")
    assert first.dtype == np.uint8 and first.shape == (192, 256, 3)
    assert (edit(PICTURE, "face") == first).all()
    assert (edit(PICTURE, "arms_wide") != first).any()
    assert (edit(255 - PICTURE, "face") != first).any()
    assert (editor(folder, retarget_seed=1)(PICTURE, "face") != first).mean() > 0.5


def test_text_encoders_are_read_once_and_not_beside_the_transformer(folder, tmp_path):
    found = load_file(folder / "prompts.safetensors")
    assert {name.partition(".")[0] for name in found} == set(PROMPTS)
    assert found["face.prompt_embeds"].shape == (512, 32)
    shutil.copytree(folder / "flux", tmp_path / "flux")
    for part in ("text_encoder", "text_encoder_2"):
        shutil.rmtree(tmp_path / "flux" / part)
    shutil.copy(folder / "prompts.safetensors", tmp_path)
    assert editor(tmp_path)


def test_a_pipeline_that_edits_nothing_is_refused(folder, tmp_path):
    shutil.copytree(folder / "flux", tmp_path / "flux")
    index = tmp_path / "flux" / "model_index.json"
    content = json.loads(index.read_text()) | {"_class_name": "FluxPipeline"}
    index.write_text(json.dumps(content))
    # Text and picture may belong together in another pipeline, so its prompts are not encoded.
    write_prompts(tmp_path / "prompts.safetensors", tmp_path / "flux")
    assert load_file(tmp_path / "prompts.safetensors") == {}
    with pytest.raises(ClipError, match="FluxPipeline, which edits no picture"):
        editor(tmp_path)
    (tmp_path / "flux/vae/config.json").unlink()
    with pytest.raises(ClipError, match="cannot be loaded"):
        editor(tmp_path)
    index.unlink()
    with pytest.raises(ClipError, match="is no pipeline of diffusers"):
        editor(tmp_path)


def test_the_edited_picture_is_as_large_as_the_other():
    asked = []

    def fake(picture, prompt):
        asked.append(prompt)
        return np.full((100, 50, 3), 7, np.uint8)

    person = clip([figure(SIZE)])
    edited = into_standard_pose(PICTURE, person, fake)
    assert edited.shape == PICTURE.shape and (edited == 7).all()
    into_standard_pose(PICTURE.transpose(1, 0, 2), person, fake)
    assert asked == ["standing_wide", "standing_tall"]


@pytest.mark.parametrize("size", [(1280, 720), (720, 1280), (64, 64), (300, 4000)])
def test_pictures_are_edited_at_about_a_megapixel_in_their_shape(size):
    width, height = editing_size(size)
    assert width % 16 == height % 16 == 0
    assert abs(width * height / 1024**2 - 1) < 0.1
    assert abs(width / height * size[1] / size[0] - 1) < 0.04
