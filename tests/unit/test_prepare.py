"""The copy of a transformer in the sampler's types: its numbers, and when it counts."""

import errno
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from animate.demo.model import write_tiny_model
from animate.errors import ClipError
from animate.hub.install import Installation
from animate.hub.progress import size_text
from animate.hub.status import status_rows
from animate.kernels.fp8 import convert_to_fp8
from animate.parallel.loading import Resident, fill_transformer
from animate.weights import prepare as preparing
from animate.weights import prepared
from animate.weights.checkpoint import FP32_PARTS, empty_transformer
from animate.weights.layout import RECORD, RELIGHTING_LORAS
from animate.weights.leftovers import remove_partial_copies
from animate.weights.prepare import prepare
from animate.weights.prepared import COPIES, transformer_folder, valid_copy
from animate.weights.storage import writing
from animate.weights.storage.staging import stage_job, stage_model
from small_disk import small_disk

ORIGINAL = Path("transformer")
COPY = COPIES["bf16"]
KILLED = """
import os, signal, sys
from pathlib import Path
from animate.weights import prepare
from animate.weights.storage import writing
write, writing.SHARD_BYTES = writing.write_tensors, 1 << 16

def write_and_die(path, tensors):
    write(path, tensors)
    if "00003" in path.name:
        os.kill(os.getpid(), signal.SIGKILL)

writing.write_tensors = write_and_die
prepare.prepare(Path(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A tiny model in fp32, none of whose numbers is one of bf16."""
    folder = tmp_path_factory.mktemp("tiny")
    write_tiny_model(folder, face_size=32)
    return folder


@pytest.fixture
def model(tiny, tmp_path):
    """A model folder of links, as downloads make it."""
    return linked(tiny, tmp_path / "model")


def linked(source: Path, folder: Path) -> Path:
    (folder / ORIGINAL).mkdir(parents=True)
    for path in (source / ORIGINAL).iterdir():
        (folder / ORIGINAL / path.name).symlink_to(path)
    return folder


def rewrite(model: Path, change) -> None:
    """Replace the transformer's files by files with changed tensors."""
    for path in (model / ORIGINAL).glob("*.safetensors"):
        tensors = {name: change(tensor) for name, tensor in load_file(path).items()}
        path.unlink()
        save_file(tensors, path, {"format": "pt"})


def tensors_of(folder: Path) -> dict[str, torch.Tensor]:
    return {k: v for path in folder.glob("*.safetensors") for k, v in load_file(path).items()}


def test_copy_holds_the_rounded_numbers(model, monkeypatch):
    monkeypatch.setattr(writing, "SHARD_BYTES", 1 << 16)
    done = prepare(model)
    assert "rounded numbers" in done
    copy, original = tensors_of(model / COPY), tensors_of(model / ORIGINAL)
    assert copy.keys() == original.keys()
    for name, tensor in original.items():
        kept = torch.float32 if FP32_PARTS.search(name) else torch.bfloat16
        assert copy[name].dtype == kept
        assert torch.equal(copy[name], tensor.to(kept))
    files = sorted((model / COPY).glob("*.safetensors"))
    assert len(files) > 3
    assert max(path.stat().st_size for path in files) < 2 << 16
    assert transformer_folder(model, "bf16") == model / COPY
    assert transformer_folder(model, None) == model / ORIGINAL, "it is not the same numbers"


def test_copy_of_bf16_numbers_is_lossless(model):
    rewrite(model, lambda tensor: tensor.bfloat16().float())
    assert "the same numbers" in prepare(model)
    assert valid_copy(model, "bf16").lossless
    assert transformer_folder(model, None) == model / COPY


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_in_the_samplers_types_are_not_copied(model, dtype):
    rewrite(model, lambda tensor: tensor.to(dtype))
    assert "read as it is" in prepare(model)
    assert not (model / COPY).exists()
    assert transformer_folder(model, "bf16") == model / ORIGINAL


def test_whole_copy_is_not_made_again(model):
    prepare(model)
    files = {path: path.stat().st_mtime_ns for path in (model / COPY).iterdir()}
    assert "is whole" in prepare(model)
    assert {path: path.stat().st_mtime_ns for path in (model / COPY).iterdir()} == files


def test_what_is_left_of_a_killed_copy_is_removed_at_the_next_use(model):
    prepare(model)
    left = [model / f"prepared/.{precision}.part" for precision in COPIES]
    for partial in left:
        partial.mkdir()
        (partial / "00001.safetensors").write_bytes(b"half")
    with (model / "prepared/.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        remove_partial_copies(model)
        assert all(partial.exists() for partial in left), "they may be in the making"
    # Of another precision, too, and where there is nothing to be made.
    assert "is whole" in prepare(model)
    assert not any(partial.exists() for partial in left) and valid_copy(model, "bf16")
    remove_partial_copies(model / "nothing")


def test_copy_of_other_weights_does_not_count(model):
    prepare(model)
    rewrite(model, lambda tensor: 2 * tensor)
    assert transformer_folder(model, "bf16") == model / ORIGINAL
    prepare(model)
    assert transformer_folder(model, "bf16") == model / COPY
    copy, original = tensors_of(model / COPY), tensors_of(model / ORIGINAL)
    assert all(torch.equal(copy[name], original[name].to(copy[name].dtype)) for name in copy)


def test_pinned_weights_count_by_their_digest(model):
    files = {str(path.relative_to(model)): "abc" for path in (model / ORIGINAL).iterdir()}
    (model / RECORD).write_text(json.dumps({"transformer": {"files": files}}))
    prepare(model)
    for path in (model / ORIGINAL).iterdir():
        os.utime(path)
    assert valid_copy(model, "bf16"), "fetched again, they are the same"
    changed = files | dict.fromkeys([min(files)], "def")
    (model / RECORD).write_text(json.dumps({"transformer": {"files": changed}}))
    assert not valid_copy(model, "bf16")


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"cut")])
def test_copy_that_is_not_whole_does_not_count(model, damage):
    prepare(model)
    damage(next((model / COPY).glob("*.safetensors")))
    assert transformer_folder(model, "bf16") == model / ORIGINAL
    prepare(model)
    assert valid_copy(model, "bf16")


def test_killed_attempt_leaves_nothing_that_counts(model):
    folders = os.pathsep.join(sys.path)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(model)], env=os.environ | {"PYTHONPATH": folders}
    )
    assert killed.returncode == -signal.SIGKILL
    assert not (model / COPY).exists()
    leftovers = [path.name for path in (model / COPY).parent.iterdir()]
    assert ".bf16.part" in leftovers, "it was killed before it wrote anything"
    prepare(model)
    assert {path.name for path in (model / COPY).parent.iterdir()} == {"bf16", ".lock"}
    assert valid_copy(model, "bf16")


@pytest.fixture
def disk(tmp_path):
    """A file system of 512 KiB; the copy of the tiny model has more."""
    with small_disk(tmp_path / "disk") as folder:
        yield folder


@pytest.mark.parametrize(
    ("spare", "why"), [(1 << 30, r"it takes .* are free"), (-(1 << 30), "the disk, .* is full")]
)
def test_without_room_the_original_is_read(tiny, disk, monkeypatch, spare, why):
    monkeypatch.setattr(preparing, "SPARE", spare)
    model = linked(tiny, disk / "model")
    done = prepare(model)
    assert re.search(rf"there is no room .*{why}.*so each job reads the original", done), done
    assert transformer_folder(model, "bf16") == model / ORIGINAL
    assert [path.name for path in (model / COPY).parent.iterdir()] == [".lock"]


def test_transformer_that_is_not_whole_is_refused(model):
    def lose(path: Path) -> None:
        tensors = load_file(path)
        del tensors["proj_out.bias"]
        path.unlink()
        save_file(tensors, path, {"format": "pt"})

    lose(next((model / ORIGINAL).glob("*.safetensors")))
    with pytest.raises(ClipError, match=r"missing proj_out\.bias"):
        prepare(model)


def test_scratch_gets_the_copy_instead_of_the_original(model, tmp_path):
    prepare(model)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    staged = stage_model(model, str(scratch), {}, print)
    assert staged.parent == scratch
    assert transformer_folder(staged, None) == staged / ORIGINAL
    names = {path.name for path in (model / COPY).iterdir()}
    assert {path.name for path in (staged / ORIGINAL).iterdir()} == names
    assert (staged / ORIGINAL / "config.json").is_file()


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_folder_that_cannot_be_written_costs_time_only(model, monkeypatch, number):
    def refuse(*arguments, **options):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert "cannot be written, so each job reads the original" in prepare(model)
    assert transformer_folder(model, "bf16") == model / ORIGINAL


def test_a_disk_without_locks_gets_its_copy(model, monkeypatch):
    def no_locks(*arguments):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(preparing.fcntl, "flock", no_locks)
    prepare(model)
    assert valid_copy(model, "bf16")


def rounded_names(copy: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, tensor in copy.items() if tensor.dtype == torch.float8_e4m3fn}


def test_copy_in_fp8_holds_rows_and_factors(model):
    assert "rounded numbers" in prepare(model, "fp8")
    copy, original = tensors_of(model / COPIES["fp8"]), tensors_of(model / ORIGINAL)
    rows = rounded_names(copy)
    assert len(rows) == 5 * 8 + 2
    assert copy.keys() == original.keys() | {name[: -len("weight")] + "scale" for name in rows}
    for name, tensor in original.items():
        if name in rows:
            factor = copy[name[: -len("weight")] + "scale"]
            assert factor.dtype == torch.float32
            assert torch.allclose(copy[name].float() * factor, tensor, rtol=0.07, atol=1e-3)
        else:
            kept = torch.float32 if FP32_PARTS.search(name) else torch.bfloat16
            assert torch.equal(copy[name], tensor.to(kept))
    assert json.loads((model / COPIES["fp8"] / "copy.json").read_text())["version"] == 1


def test_each_precision_has_its_own_copy(model):
    prepare(model, "fp8")
    assert not (model / COPY).exists(), "only what is asked for is made"
    assert transformer_folder(model, "fp8") == model / COPIES["fp8"]
    assert transformer_folder(model, "bf16") == transformer_folder(model, None) == model / ORIGINAL
    prepare(model)
    assert transformer_folder(model, "bf16") == model / COPY
    assert transformer_folder(model, None) == model / ORIGINAL, "what a LoRA is merged into"
    shutil.rmtree(model / COPIES["fp8"])
    assert transformer_folder(model, "fp8") == model / ORIGINAL


def test_copy_in_fp8_is_made_of_the_originals_numbers(model, tmp_path):
    prepare(model)
    prepare(model, "fp8")
    other = linked(model, tmp_path / "other")
    prepare(other, "fp8")
    copies = [tensors_of(folder / COPIES["fp8"]) for folder in (model, other)]
    # Those of the copy in bf16 are rounded, and would be rounded again.
    for name in copies[0]:
        assert torch.equal(copies[0][name].view(torch.uint8), copies[1][name].view(torch.uint8))


def test_copy_in_fp8_of_another_version_does_not_count(model, monkeypatch):
    prepare(model, "fp8")
    monkeypatch.setitem(prepared.VERSIONS, "fp8", 99)
    assert transformer_folder(model, "fp8") == model / ORIGINAL
    prepare(model, "fp8")
    assert transformer_folder(model, "fp8") == model / COPIES["fp8"]


def test_rows_without_their_factors_are_refused(model):
    prepare(model, "fp8")
    shutil.rmtree(model / ORIGINAL)
    shutil.copytree(model / COPIES["fp8"], model / ORIGINAL)
    layer = "blocks.0.ffn.net.2"

    def lose(tensors):
        del tensors[f"{layer}.scale"]

    def widen(tensors):
        tensors[f"{layer}.weight"] = tensors[f"{layer}.weight"].float()

    empty = empty_transformer(model / ORIGINAL, torch.bfloat16)
    convert_to_fp8(empty, fused=False)
    said = [f"missing {layer}.scale", f"stores {layer}.weight as F32"]
    for change, message in zip((lose, widen), said, strict=True):
        tensors = tensors_of(model / COPIES["fp8"])
        change(tensors)
        for path in (model / ORIGINAL).glob("*.safetensors*"):
            path.unlink()
        save_file(tensors, model / ORIGINAL / "model.safetensors")
        with pytest.raises(ClipError, match=re.escape(message)):
            fill_transformer(empty, model / ORIGINAL, torch.device("cpu"), Resident(empty))
    with pytest.raises(ClipError, match=r"unexpected .*scale"):
        prepare(model)


def test_scratch_gets_the_copy_of_the_jobs_precision(model, tmp_path):
    (model / RELIGHTING_LORAS[0]).parent.mkdir()
    (model / RELIGHTING_LORAS[0]).touch()
    prepare(model)
    prepare(model, "fp8")
    folders, types = {}, {}
    for mode, precision in product(("animate", "replace"), ("bf16", "fp8")):
        job = {"model": str(model), "mode": mode, "settings": {"precision": precision}}
        (tmp_path / "job.json").write_text(json.dumps(job))
        staged = stage_job(tmp_path / "job.json", str(tmp_path), {}, pytest.fail)
        folders[mode, precision] = staged
        tensors = tensors_of(staged / ORIGINAL)
        types[mode, precision] = tensors["blocks.0.attn1.to_q.weight"].dtype
    assert types == {
        ("animate", "bf16"): torch.bfloat16,
        ("animate", "fp8"): torch.float8_e4m3fn,
        # The LoRA is merged into the original's numbers.
        ("replace", "bf16"): torch.float32,
        ("replace", "fp8"): torch.float32,
    }
    assert folders["replace", "bf16"] == folders["replace", "fp8"]
    assert len(set(folders.values())) == 3


def test_the_status_tells_of_each_copy_whether_it_is_read(model):
    def rows():
        known = Installation(None, model / "lock.yaml", "own", {}, model)
        return {row[1]: row for row in status_rows(known, ())}

    assert rows() == {}
    for precision in ("bf16", "fp8"):
        prepare(model, precision)
    assert rows().keys() == {"bf16 copy", "fp8 copy"}
    for precision, place in COPIES.items():
        _, _, _, size, present, _, path = rows()[f"{precision} copy"]
        assert (present, path) == ("yes", str(model / place))
        assert size == size_text(sum(p.stat().st_size for p in (model / place).iterdir()))
    next((model / COPIES["fp8"]).glob("*.safetensors")).unlink()
    assert [rows()[f"{precision} copy"][4] for precision in COPIES] == ["yes", "out of date"]
    assert transformer_folder(model, "fp8") == model / ORIGINAL
