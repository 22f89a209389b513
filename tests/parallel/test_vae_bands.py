"""In bands of a frame, one after the other, the VAE takes less memory and gives the same."""

import pytest
import torch
from diffusers import AutoencoderKLWan

from alive import Alive
from animate.demo.model import randomise
from animate.parallel.plan import BANDS, vae_work
from animate.parallel.rows import WholeRows
from animate.parallel.vae_bands import BandedVaeStream, bands_of
from animate.parallel.vae_stream import VaeStream

ROWS, STREAMS = WholeRows(), (VaeStream, BandedVaeStream)


@pytest.fixture(scope="module", params=[1, 2])
def vae(request):
    vae = AutoencoderKLWan(base_dim=8, num_res_blocks=request.param)
    randomise(vae, 0)
    return vae


@torch.inference_mode()
@pytest.mark.parametrize(
    ("height", "width", "frames", "piece"),
    [(16, 328, 1, 1), (24, 320, 9, 1), (304, 8, 5, 1), (16, 272, 13, 2), (8, 16, 5, 1)],
)
def test_bands_give_what_whole_frames_do(vae, height, width, frames, piece):
    draw = torch.Generator().manual_seed(0)
    video = torch.rand(frames, height, width, 3, generator=draw) * 2 - 1
    whole, banded = VaeStream(vae), BandedVaeStream(vae)
    expected = whole.encode(video, ROWS, piece)
    found = banded.encode(video, ROWS, piece)
    assert found.shape == (1 + frames // 4, height // 8, width // 8, 16)
    assert difference(found, expected) < 1e-5
    latents = torch.randn(expected.shape, generator=draw)
    shown = list(whole.decode(latents, ROWS, piece))
    again = list(banded.decode(latents, ROWS, piece))
    assert [len(part) for part in again] == [len(part) for part in shown]
    assert difference(torch.cat(again), torch.cat(shown)) < 1e-5


def difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Return the largest difference, as a part of the largest value."""
    return float((found - expected).abs().max() / expected.abs().max())


def test_bands_are_the_whole_frame_once():
    for height, width in ((90, 160), (160, 90), (3, 2), (1, 1), (58, 104)):
        frame = torch.zeros(1, height, width, 1)
        found = bands_of(height, width)
        for band in found:
            band.of(frame, 1, 0).add_(1)
        assert torch.equal(frame, torch.ones_like(frame))
        assert len(found) == min(BANDS, max(height, width))


@torch.inference_mode()
@pytest.mark.parametrize(
    ("width", "height"), [(1280, 720), pytest.param(464, 832, marks=pytest.mark.slow)]
)
def test_bands_take_what_is_planned_of_the_published_vae(width, height):
    with torch.device("meta"):
        vae = AutoencoderKLWan().bfloat16()
    frames = 5
    taken = {kind: peaks(kind(vae), vae, frames, height, width) for kind in STREAMS}
    planned = vae_work(width * height, frames, 1, "bf16", in_bands=True)
    assert 0.85 * planned < max(taken[BandedVaeStream]) <= planned
    decoded, encoded = (
        banded / whole
        for banded, whole in zip(taken[BandedVaeStream], taken[VaeStream], strict=True)
    )
    assert decoded < 0.32 and encoded < 0.45


def peaks(stream: VaeStream, vae, frames: int, height: int, width: int) -> tuple[int, int]:
    """Return the most bytes alive at once when a video is decoded and encoded."""
    kind = {"dtype": torch.bfloat16, "device": "meta"}
    latents = torch.empty(1 + frames // 4, height // 8, width // 8, 16, **kind)
    with Alive(latents, others=vae) as decoding:
        for _ in stream.decode(latents, ROWS, 1):
            pass
    video = torch.empty(frames, height, width, 3, **kind)
    with Alive(video, others=vae) as encoding:
        stream.encode(video, ROWS, 1)
    return decoding.peak, encoding.peak
