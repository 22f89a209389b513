"""The picture editor: diffusers' own FLUX.1 Kontext pipeline, tiny, with random weights."""

import json
import shutil

import numpy as np
import pytest
import torch
from diffusers import FluxTransformer2DModel
from diffusers.pipelines.qwenimage.pipeline_qwenimage_edit import calculate_dimensions
from PIL import Image
from safetensors.torch import load_file

from animate.config.settings import EditSettings
from animate.devices.machine import SMALL_MODEL
from animate.editing.canvas import canvas_for
from animate.editing.editor import Editor, fp8_bytes, into_standard_pose, write_prompts
from animate.editing.pipeline import EditingPipeline
from animate.editing.prompts import PROMPTS
from animate.errors import ClipError
from editors import TINY, write_editor
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
    monkeypatch.setattr("animate.editing.canvas.AREA", 192 * 256)
    edit = editor(folder)
    first = edit(PICTURE, "face")
    assert first.dtype == np.uint8 and first.shape == PICTURE.shape
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
    shutil.copy(folder / "prompts.safetensors", tmp_path)
    renamed(tmp_path / "flux", "FluxPipeline")
    refused(tmp_path, r"FluxPipeline, which edits no picture .* takes no image")
    renamed(tmp_path / "flux", "NoSuchPipeline")
    refused(tmp_path, "NoSuchPipeline, which diffusers .* does not have")
    renamed(tmp_path / "flux", "FluxKontextPipeline")
    (tmp_path / "flux/vae/config.json").unlink()
    with pytest.raises(ClipError, match="cannot be loaded"):
        editor(tmp_path)
    (tmp_path / "flux/model_index.json").write_text("[]")
    refused(tmp_path, "is no pipeline of diffusers")
    (tmp_path / "flux/model_index.json").unlink()
    refused(tmp_path, "is no pipeline of diffusers")


def refused(folder, sentence: str) -> None:
    """Check that the job without a GPU and the one with it say the same."""
    with pytest.raises(ClipError, match=sentence):
        write_prompts(folder / "other.safetensors", folder / "flux")
    assert not (folder / "other.safetensors").exists()
    with pytest.raises(ClipError, match=sentence):
        editor(folder)


def renamed(folder, name: str, **parts) -> None:
    index = folder / "model_index.json"
    content = json.loads(index.read_text()) | {"_class_name": name} | parts
    index.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("name", "unread"),
    [
        ("FluxKontextPipeline", []),
        ("QwenImageEditPipeline", []),
        ("Flux2KleinKVPipeline", ["retarget_guidance"]),
        ("HeliosPyramidPipeline", ["retarget_steps"]),
    ],
)
def test_settings_that_a_pipeline_does_not_take_are_named(tmp_path, name, unread):
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": name}))
    assert EditingPipeline.in_folder(tmp_path).unread == unread


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("KandinskyV22InpaintCombinedPipeline", r"needs more .* \(mask_image\)"),
        ("LEditsPPPipelineStableDiffusion", "takes no image, prompt"),
    ],
)
def test_a_pipeline_that_takes_something_else_is_refused(tmp_path, name, said):
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": name}))
    with pytest.raises(ClipError, match=said):
        EditingPipeline.in_folder(tmp_path)


def test_fp8_is_of_the_transformer_and_refused_where_there_is_none(folder, tmp_path):
    assert EditingPipeline.in_folder(folder / "flux").has_fp8
    (tmp_path / "flux").mkdir()
    for place in (["transformers", "T5EncoderModel"], [None, None], ["mine", "FluxTransformer2D"]):
        renamed_parts = {"_class_name": "FluxKontextPipeline", "transformer": place}
        (tmp_path / "flux/model_index.json").write_text(json.dumps(renamed_parts))
        # Nothing else is in the folder, so it is refused before anything is loaded.
        with pytest.raises(ClipError, match="without a transformer of diffusers"):
            Editor(tmp_path / "flux", tmp_path / "none", EditSettings(), "cpu", "fp8")


def test_what_fp8_needs_is_what_the_transformer_has_in_fp8(folder):
    transformer = FluxTransformer2DModel(**TINY["transformer"]).to(torch.bfloat16)
    planned = fp8_bytes(transformer)
    whole = sum(p.numel() * p.element_size() for p in transformer.parameters())
    transformer.enable_layerwise_casting(torch.float8_e4m3fn, torch.bfloat16)
    stored = sum(p.numel() * p.element_size() for p in transformer.parameters())
    # Norms stay in bf16, and in FLUX they have large weights.
    assert whole / 2 < planned == stored < whole


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_no_editor_falls_back_to_the_cpu_unasked(folder, tmp_path):
    with pytest.raises(ClipError, match=r"does not start: .* `detectors: cpu` in config.yaml"):
        Editor(folder / "flux", folder / "prompts.safetensors", EditSettings(), "cuda")
    shutil.copy(folder / "flux/model_index.json", tmp_path)
    (tmp_path / "transformer").mkdir()
    with (tmp_path / "transformer/large.safetensors").open("wb") as file:
        file.truncate(SMALL_MODEL + 1)
    with pytest.raises(ClipError, match=r"no GPU was found .* `detectors: cpu` in config.yaml"):
        Editor(tmp_path, folder / "prompts.safetensors", EditSettings(), "auto")


def test_the_edited_picture_is_asked_for_by_its_shape():
    asked = []

    def fake(picture, prompt):
        asked.append(prompt)
        return picture + 7

    person = clip([figure(SIZE)])
    assert (into_standard_pose(PICTURE, person, fake) == PICTURE + 7).all()
    into_standard_pose(PICTURE.transpose(1, 0, 2), person, fake)
    assert asked == ["standing_wide", "standing_tall"]


@pytest.mark.parametrize("size", [(1280, 720), (500, 900), (300, 4000), (30000, 10)])
def test_pictures_are_edited_on_a_canvas_that_keeps_their_shape(size):
    canvas = canvas_for(size)
    width, height = canvas.size
    assert width % 32 == height % 32 == 0
    assert abs(width * height / 1024**2 - 1) < 0.04 and 0.4 < width / height < 2.5
    # Qwen-Image-Edit brings the picture to a size of its own, which has to be this one.
    assert calculate_dimensions(1024 * 1024, width / height)[:2] == canvas.size
    left, top, right, bottom = canvas.box
    zoom = min(width / size[0], height / size[1])
    for scaled, side in ((right - left, size[0]), (bottom - top, size[1])):
        assert abs(scaled - max(zoom * side, 1)) <= 0.5


@pytest.mark.parametrize("size", [(160, 90), (37, 100), (30, 400)])
def test_a_picture_comes_back_from_the_canvas_as_it_was(size):
    x, y = np.meshgrid(*(np.linspace(0, 255, side) for side in size))
    picture = np.stack([x, y, (x + y) / 2], axis=2).astype(np.uint8)
    canvas = canvas_for(size)
    painted = canvas.paint(picture)
    assert painted.shape == (*canvas.size[::-1], 3)
    back = canvas.cut_out(painted, size)
    assert back.shape == picture.shape
    assert np.abs(back.astype(int) - picture).max() <= 3
    # Nothing of the margin comes in, and an editor may answer in another size.
    left, top, right, bottom = canvas.box
    outside = np.zeros(painted.shape, np.uint8)
    outside[top:bottom, left:right] = 200
    half = np.asarray(Image.fromarray(outside).resize([side // 2 for side in canvas.size]))
    assert canvas.cut_out(outside, size).min() == 200
    assert np.median(canvas.cut_out(half, size)) == 200
    with pytest.raises(ClipError, match="changes proportions"):
        canvas.cut_out(painted[: len(painted) * 9 // 10], size)


@pytest.mark.parametrize("size", [(96, 54), (96, 24)])
def test_the_pipeline_sees_the_picture_in_its_shape(folder, size, monkeypatch):
    """FLUX's pipeline brings pictures to the nearest of its own shapes if it is let."""
    monkeypatch.setattr("animate.editing.canvas.AREA", 192 * 256)
    edit = editor(folder)
    seen = []
    edit._pipeline.vae.encoder.register_forward_pre_hook(
        lambda _, inputs: seen.append(inputs[0].shape)
    )
    edit(PICTURE[: size[1], : size[0]], "face")
    assert [tuple(shape[2:]) for shape in seen] == [canvas_for(size).size[::-1]]
