"""Stored tensors as the threads read them."""

import pytest
import torch
from safetensors.torch import save_file

from animate.errors import ClipError
from animate.weights.storage import reading
from animate.weights.storage.reading import read_tensors
from animate.weights.storage.stored import stored_tensors

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path):
    """Two files with tensors of each type, of less than a piece and of many."""
    shapes = {"a": (3,), "b": (100, 70), "c": (1,), "d": (5, 4, 3), "none": (0, 4)}
    for file, dtypes in (("1", (torch.float32, torch.float16)), ("2", (torch.bfloat16,))):
        tensors = {
            f"{file}{name}{dtype}": torch.randn(shape).to(dtype)
            for dtype in dtypes
            for name, shape in shapes.items()
        }
        save_file(tensors, tmp_path / f"{file}.safetensors")
    return tmp_path


@pytest.mark.parametrize(("piece", "ahead"), [(1 << 20, 1 << 20), (64, 1), (1000, 10_000)])
def test_tensors_are_as_stored_and_in_order(folder, monkeypatch, piece, ahead):
    monkeypatch.setattr(reading, "PIECE", piece)
    monkeypatch.setattr(reading, "AHEAD", ahead)
    stored = list(stored_tensors(folder).values())[::-1]
    read = list(read_tensors(stored, CPU))
    assert len(read) == len(stored) == 15
    for tensor, expected in zip(read, stored, strict=True):
        assert tensor.dtype == expected.read().dtype
        assert torch.equal(tensor, expected.read())


def test_file_that_was_cut_meanwhile_is_named(folder):
    stored = list(stored_tensors(folder).values())
    path = folder / "2.safetensors"
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 1)
    with pytest.raises(ClipError, match=r"2\.safetensors is damaged"):
        list(read_tensors(stored, CPU))


def test_numbers_that_are_no_weights_are_refused(tmp_path):
    save_file({"x": torch.ones(3, dtype=torch.int8)}, tmp_path / "x.safetensors")
    with pytest.raises(ClipError, match=r"x\.safetensors stores x as I8"):
        list(read_tensors(stored_tensors(tmp_path).values(), CPU))


def test_what_is_not_read_to_its_end_is_let_go(folder):
    stored = list(stored_tensors(folder).values())
    tensors = read_tensors(stored, CPU)
    next(tensors)
    tensors.close()
    assert torch.equal(next(read_tensors(stored, CPU)), stored[0].read())


def test_a_tensor_in_two_files_is_refused_where_no_index_decides(folder):
    (folder / "old_copy.safetensors").write_bytes((folder / "2.safetensors").read_bytes())
    both = r"in both 2\.safetensors and old_copy\.safetensors: remove"
    with pytest.raises(ClipError, match=both):
        stored_tensors(folder)
