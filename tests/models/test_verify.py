"""Verification, headers, status, and what may be declared."""

import json
import os
import re
import shutil
import struct
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from animate.config.own_files.declared import OwnFiles
from animate.config.settings import ClipSettings
from animate.config.table import Clip
from animate.errors import ClipError
from animate.hub.declared.declaration import read_declaration
from animate.weights.architecture import check_architecture, check_headers
from animate.weights.storage.stored import stored_tensors
from models.client import DECLARATION, SCRIPTS
from whole_model import load_transformer

ROOT = SCRIPTS.parents[1]


def blob(client, name):
    return (client.folder / "models" / "toy" / name).resolve()


def spoil(path):
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 1]))


def test_bad_files_are_listed_and_they_alone_fetched_again(client, hub):
    client.run("download_model")
    spoil(blob(client, "a.bin"))
    blob(client, "config.json").unlink()
    output = client.run("verify_models")
    assert re.search(r"a\.bin: SHA-256 \w{64} instead of \w{64}; to be fetched again", output)
    assert re.search(r"config\.json: missing; to be fetched again", output)
    assert "1 of 3 pinned files were good" in output
    assert [len(hub.downloads(name)) for name in ("a.bin", "b/c.bin")] == [2, 1]
    assert client.installed()["a.bin"] == hub.files["a.bin"]
    assert "3 of 3 pinned files were good" in client.run("verify_models")


def test_bad_file_in_a_cache_of_unknown_origin_is_fetched_again(client, hub):
    client.run("download_model")
    path = blob(client, "a.bin")
    spoil(path)
    (client.folder / "models" / "toy" / ".verified.json").unlink()
    client.run("download_model")
    assert client.installed()["a.bin"] == hub.files["a.bin"]


def test_every_fault_is_listed_before_anything_is_fetched(client, hub):
    parts = {"weights": {"purpose": "tests", "repository": "Maker/Model", "files": ["b/*"]}}
    client.declare(DECLARATION | {"models": DECLARATION["models"] | {"second": {"parts": parts}}})
    needs = ("--needs", "toy:weights", "second:weights")
    client.run("download_model", *needs)
    for name in ("a.bin", "b/c.bin"):
        spoil(blob(client, name))
    hub.faults.absent = {"a.bin", "b/c.bin"}
    process = client.start("verify_models", *needs)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    for line in (
        r"toy: .*/a\.bin: SHA-256",
        r"toy: .*/b/c\.bin: SHA-256",
        r"second: .*/b/c\.bin: S",
    ):
        assert re.search(line, output)


def test_what_is_not_pinned_is_not_called_good(client):
    assert "toy: weights: not pinned" in client.fail("verify_models")


def test_blob_of_unknown_origin_is_hashed_before_it_is_called_verified(client, hub):
    client.run("download_model")
    path = blob(client, "a.bin")
    spoil(path)
    shutil.rmtree(client.folder / "models")
    shutil.rmtree(next((client.folder / "cache").glob("models--*/snapshots")))
    client.run("download_model")
    assert client.installed()["a.bin"] == hub.files["a.bin"]
    assert len(hub.downloads("a.bin")) == 2


def test_damaged_small_file_in_the_cache_is_not_pinned(client, hub):
    client.run("download_model")
    spoil(blob(client, "config.json"))
    (client.folder / "config" / "models.lock.yaml").unlink()
    client.run("download_model")
    assert client.installed()["config.json"] == hub.files["config.json"]


def test_status_shows_a_part_whose_file_is_not_there(client, hub):
    own = client.folder / "own"
    own.mkdir()
    weights = DECLARATION["models"]["toy"]["parts"]["weights"]
    parts = {"weights": weights, "extra": weights | {"files": ["x.bin"]}}
    client.declare(
        DECLARATION
        | {"repositories": {"Maker/Model": {"path": "own"}}, "models": {"toy": {"parts": parts}}}
    )
    (own / "x.bin").write_bytes(bytes(1000))
    output = client.run("models_status")
    assert re.search(r"toy +weights +yes +missing +- +-", output)
    assert re.search(r"toy +extra +no +1\.0 kB +yes", output)


def test_bad_file_of_the_users_is_named_and_left_alone(client, hub):
    client.run("download_model")
    own = client.folder / "own"
    for name in ("a.bin", "b/c.bin", "config.json"):
        (own / name).parent.mkdir(parents=True, exist_ok=True)
        (own / name).write_bytes(hub.files[name])
    spoil(own / "a.bin")
    before = (own / "a.bin").read_bytes()
    client.declare(DECLARATION | {"repositories": {"Maker/Model": {"path": "own"}}})
    client.run("download_model")
    message = client.fail("verify_models")
    assert f"{own}/a.bin differ from the pinned commit" in message
    assert (own / "a.bin").read_bytes() == before


def test_status_shows_size_presence_and_verification(client, hub):
    assert re.search(r"toy +weights +yes +not pinned +- +-", client.run("models_status"))
    client.run("download_model")
    assert re.search(r"toy +weights +yes +500\.0 kB +yes +yes +/", client.run("models_status"))
    blob(client, "a.bin").unlink()
    assert "2 of 3 files" in client.run("models_status")


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "transformer" / "model.safetensors"
    path.parent.mkdir()
    save_file({"a": torch.ones(2, 3), "b": torch.ones(4, dtype=torch.bfloat16)}, path)
    return path


def change_header(path, change):
    """Rewrite a file's header, of the same length as before."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = change(content[8 : 8 + length].decode()).encode().ljust(length)
    path.write_bytes(content[:8] + header + content[8 + length :])


def test_header_tells_dtype_and_shape(weights):
    stored = stored_tensors(weights.parent)
    described = {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in stored.items()}
    assert described == {"a": ("F32", (2, 3)), "b": ("BF16", (4,))}


@pytest.mark.parametrize(
    "change, problem",
    [
        (lambda text: text.replace("[2,3]", "[2,4]"), "invalid shape, data type, or offset"),
        (lambda text: text.replace('"F32"', '"F16"'), "invalid shape, data type, or offset"),
        (lambda text: text.replace('"F32"', '"Q32"'), "unknown variant `Q32`"),
        (lambda text: text[1:], "invalid JSON in header"),
    ],
)
def test_wrong_header_is_named(weights, change, problem):
    change_header(weights, change)
    with pytest.raises(ClipError, match=re.escape(problem)) as caught:
        check_headers(weights.parents[1])
    assert str(weights) in str(caught.value)


def test_cut_file_is_named(weights):
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(ClipError, match="file not fully covered"):
        check_headers(weights.parents[1])


def test_dangling_link_to_a_converted_checkpoint_is_no_fault(weights):
    weights.rename(weights.with_name("moved.bin"))
    weights.symlink_to("nowhere.safetensors")
    check_headers(weights.parents[1])


def test_tensor_that_an_index_misplaces_is_named(weights):
    index = weights.with_name("model.safetensors.index.json")
    index.write_text(json.dumps({"weight_map": {"c": weights.name}}))
    with pytest.raises(ClipError, match=r"not complete, missing c \(model\.safetensors\)"):
        check_headers(weights.parents[1])


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    from animate.demo.model import write_tiny_model

    folder = tmp_path_factory.mktemp("tiny")
    write_tiny_model(folder)
    return folder


@pytest.fixture
def changed(tiny, tmp_path):
    """Return a function that copies the tiny model with other tensors in one of its parts."""

    def change(part, tensors, file="diffusion_pytorch_model.safetensors"):
        for component in ("transformer", "vae"):
            shutil.copytree(tiny / component, tmp_path / component, dirs_exist_ok=True)
        path = tmp_path / part / file
        stored = load_file(path) if path.exists() else {}
        save_file(stored | tensors(stored), path)
        return tmp_path

    return change


KERNEL = "motion_encoder.res_blocks.0.conv2.blur_kernel"


@pytest.mark.parametrize("name", ["blocks.0.attn2.norm_added_q.weight", KERNEL])
def test_tensors_that_loading_leaves_aside_are_no_fault(changed, name):
    folder = changed("transformer", lambda stored: {name: torch.zeros(64)})
    check_architecture(folder)
    load_transformer(folder / "transformer", torch.float32, torch.device("cpu"))


def test_file_without_a_place_in_the_model_is_not_looked_at(changed):
    stray = {"proj_out.weight": torch.zeros(1), "more": torch.zeros(1)}
    check_architecture(changed("transformer", lambda stored: stray, "old_copy.safetensors"))


@pytest.mark.parametrize("part", ["transformer", "vae"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_numbers_of_16_and_32_bits_are_accepted(changed, part, dtype):
    folder = changed(part, lambda stored: {k: v.to(dtype) for k, v in stored.items()})
    if dtype.itemsize > 1:
        check_architecture(folder)
        return
    with pytest.raises(ClipError, match=f"{part} has .* as F8_E4M3, not one of F32, F16 and BF16"):
        check_architecture(folder)


def test_index_decides_and_what_it_names_in_vain_is_named(changed):
    folder = changed("transformer", lambda stored: {})
    part = folder / "transformer"
    file = "diffusion_pytorch_model.safetensors"
    shutil.copy(part / file, part / "old_copy.safetensors")
    places = dict.fromkeys(load_file(part / file), file)
    (part / f"{file}.index.json").write_text(json.dumps({"weight_map": places}))
    check_architecture(folder)
    places["proj_out.weight"] = "lost.safetensors"
    (part / f"{file}.index.json").write_text(json.dumps({"weight_map": places}))
    with pytest.raises(ClipError, match=r"missing proj_out\.weight \(lost\.safetensors\)"):
        check_architecture(folder)


@pytest.mark.parametrize(
    "part, config, problem",
    [
        ("vae", {"base_dim": 16}, r"vae is not a Wan2\.2-Animate checkpoint: misshapen"),
        ("vae", {"is_residual": True}, r"vae/config\.json describes another VAE"),
        ("transformer", {"num_layers": 10}, r"checkpoint: missing blocks\.5\.scale_shift"),
        ("transformer", {"patch_size": 3}, "does not describe a WanAnimateTransformer3DModel"),
    ],
)
def test_architecture_names_what_does_not_fit(changed, part, config, problem):
    folder = changed(part, lambda stored: {})
    path = folder / part / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    with pytest.raises(ClipError, match=problem):
        check_architecture(folder)


def clip(mode, **settings):
    return Clip("x", "v.mp4", "r.png", mode, ClipSettings(**settings))


@pytest.mark.parametrize(
    "clips, weights, backends",
    [
        ([], {"generation"}, set()),
        ([clip("animate", mask_backend="sam2")], {"generation"}, set()),
        ([clip("animate", pose_backend="vitpose")], {"generation"}, {"vitpose"}),
        ([clip("replace", relighting_lora=False)], {"generation"}, set()),
        (
            [clip("animate"), clip("replace", mask_backend="sam2")],
            {"generation", "relighting"},
            {"sam2"},
        ),
    ],
)
def test_only_what_the_clips_need_is_fetched(clips, weights, backends):
    models = read_declaration(ROOT / "config" / "models.yaml").models
    for name in ("wan2.2-animate-14b", "wan2.2-animate-14b-original"):
        own = {"transformer"} if clips and name == "wan2.2-animate-14b" else set()
        assert models[name].needed_parts(clips).keys() == weights | own
    assert models["preprocess"].needed_parts(clips).keys() == backends


@pytest.mark.parametrize(
    ("own", "backends"),
    [
        (["mask_video"], {"vitpose"}),
        (["keypoints"], {"sam2"}),
        (["pose_video", "face_video"], {"vitpose", "sam2"}),
        (["pose_video", "face_video", "mask_video"], set()),
    ],
)
def test_nothing_is_fetched_to_find_what_is_given(own, backends):
    found = clip("replace", pose_backend="vitpose", mask_backend="sam2", relighting_lora=False)
    found = replace(found, own=OwnFiles(**dict.fromkeys(own, "file")))
    models = read_declaration(ROOT / "config" / "models.yaml").models
    assert models["preprocess"].needed_parts([found]).keys() == backends


def test_points_of_the_reference_are_found_also_where_those_of_the_video_are_given():
    found = clip("animate", pose_backend="vitpose", retarget="basic")
    models = read_declaration(ROOT / "config" / "models.yaml").models
    for own, backends in (
        ({"keypoints": "a"}, {"vitpose"}),
        ({"keypoints": "a", "pose_video": "b"}, set()),
    ):
        given = replace(found, own=OwnFiles(**own))
        assert models["preprocess"].needed_parts([given]).keys() == backends


def test_nothing_of_flux_is_declared():
    models = read_declaration(ROOT / "config" / "models.yaml").models.values()
    patterns = [p for model in models for part in model.parts.values() for p in part.patterns]
    assert not [p for p in patterns if "FLUX" in p or p in ("*", "process_checkpoint/*")]


@pytest.mark.parametrize(
    "change, problem",
    [
        ({"repositories": {}}, "toy.parts.weights.repository: 'Maker/Model' is not under"),
        ({"repositories": {"../x": {}}}, "'../x' is not allowed"),
        ({"cash": "x"}, "cash: unknown; did you mean 'cache'?"),
        (
            {"models": {"toy": {"parts": {"weights": {}}}}},
            "toy.parts.weights.files: missing",
        ),
    ],
)
def test_mistakes_of_the_declaration_are_named(client, change, problem):
    client.declare(DECLARATION | change)
    message = client.fail("download_model")
    assert message.count("models.yaml") == 1
    assert problem in message


def test_pickles_are_read_as_weights_only():
    loads = re.compile(r"torch\.load\((?!.*weights_only=True)")
    sources = [path for path in Path(SCRIPTS).rglob("*.py") if loads.search(path.read_text())]
    assert sources == []
