"""Whether the transformer is compiled, and which videos share what the compiler made."""

import sys
import sysconfig
from functools import partial
from pathlib import Path

import pytest
import torch

from animate.demo.model import IMAGE_WIDTH, TEXT_WIDTH
from animate.devices.world import ALONE
from animate.errors import ClipError
from animate.kernels.compile import compile_blocks, missing_for_compiling, will_compile
from animate.kernels.merge import compiled_merge
from animate.model.animate2.attention import merged
from animate.parallel.build import build_transformer
from animate.parallel.plan import Workload
from sampler_clip import FACE_SIZE, write_model

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def complete(monkeypatch, tmp_path):
    """A machine with a compiler and Python's headers."""
    for name in ("gcc", "Python.h"):
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(sysconfig, "get_path", lambda name, scheme: str(tmp_path))
    return tmp_path


def test_nothing_is_missing(complete):
    assert missing_for_compiling() is None
    for wanted, device, compiled in (
        ("auto", GPU, True),
        ("auto", CPU, False),
        ("on", GPU, True),
        ("on", CPU, True),
        ("off", GPU, False),
    ):
        assert will_compile(wanted, device, pytest.fail) is compiled, (wanted, device)


@pytest.mark.parametrize(
    ("lost", "package"), [("gcc", "gcc"), ("Python.h", f"python3.{sys.version_info.minor}-dev")]
)
def test_what_is_missing_is_named_with_its_package(complete, lost, package):
    (complete / lost).unlink()
    assert missing_for_compiling().endswith(f": install {package}")
    said = []
    assert not will_compile("auto", GPU, said.append)
    assert len(said) == 1 and package in said[0]
    with pytest.raises(ClipError, match=f"compile is on, but .* install {package}; or"):
        will_compile("on", GPU, pytest.fail)
    assert not will_compile("off", GPU, pytest.fail)


def test_refusal_comes_before_anything_is_read(complete):
    (complete / "gcc").unlink()
    workload, nowhere = Workload(64, 64, 13), Path("/nowhere")
    with pytest.raises(ClipError, match="compile is on"):
        build_transformer(nowhere, torch.float32, CPU, [], ALONE, workload, pytest.fail, "on")


def test_compiler_that_is_named_counts(complete, monkeypatch):
    (complete / "gcc").rename(complete / "cc-12")
    assert "C compiler" in missing_for_compiling()
    monkeypatch.setenv("CC", str(complete / "cc-12"))
    assert missing_for_compiling() is None
    monkeypatch.setenv("CC", "gone")
    assert "C compiler" in missing_for_compiling()


@pytest.fixture(scope="module")
def blocks(tmp_path_factory):
    """A model of a few blocks, and what its steps take of videos of so many frames and size."""
    folder = write_model(tmp_path_factory.mktemp("model"))
    workload = Workload(64, 64, 21)
    model = build_transformer(folder, torch.float32, CPU, [], ALONE, workload, print, "off").model

    @torch.inference_mode()
    def step(frames: int, height: int = 64) -> torch.Tensor:
        generator = torch.Generator().manual_seed(frames + height)
        noise = partial(torch.randn, generator=generator)
        size = 1 + (frames + 3) // 4, height // 8, 8
        face = noise(1, 3, frames, FACE_SIZE, FACE_SIZE).tanh()
        given = noise(1, 20, *size), noise(1, 16, size[0] - 1, *size[1:]), face
        embeds = noise(1, 257, IMAGE_WIDTH), noise(1, 5, TEXT_WIDTH)
        constants = model.segment_constants(*given, *embeds)
        time = model.time_embedding(torch.tensor([700.0]))
        return model(noise(1, 16, *size), time, constants)

    return model, step


@pytest.mark.parametrize("backend", ["eager", pytest.param("inductor", marks=pytest.mark.slow)])
@pytest.mark.parametrize("any_length", [True, False])
def test_which_videos_need_code_of_their_own(blocks, monkeypatch, backend, any_length):
    model, step = blocks
    videos = [(13, 64), (21, 64), (33, 64), (13, 96), (21, 128)]
    for block in model.blocks:
        block.compile_forward(lambda function: function, None)
    expected = [step(*video) for video in videos]
    torch._dynamo.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    compile_blocks(model, any_length)
    made, counted = [], torch._dynamo.utils.counters["stats"]
    for video, plain in zip(videos, expected, strict=True):
        before = counted["unique_graphs"]
        assert torch.allclose(step(*video), plain, rtol=1e-4, atol=1e-5)
        made.append(counted["unique_graphs"] - before)
    # Before attention; after it, with a face and without; the face depends on the frame's size.
    assert made == ([3, 0, 0, 1, 0] if any_length else [3, 3, 3, 3, 3])


@pytest.mark.parametrize("sets", [1, 2])
def test_compiled_merging_is_the_same_for_any_length(sets):
    generator = torch.Generator().manual_seed(0)

    def part(tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
        out = torch.randn(1, tokens, 2, 8, generator=generator)
        # Kernels give their sums by heads.
        return out, torch.randn(1, 2, tokens, generator=generator).transpose(1, 2)

    compiled = compiled_merge()
    for tokens, alone in ((12, 4), (21, 7)):
        parts = [part(tokens) for _ in range(sets)], part(tokens - alone)
        torch.testing.assert_close(compiled(*parts), merged(*parts))
