"""The demo's VAE is trained on whole clips by the arithmetic that diffusers does in pieces."""

import sys
from pathlib import Path

import pytest
import torch

TOOLS = Path(__file__).parents[2] / "tools/train_demo"


@pytest.fixture(scope="module")
def tools():
    sys.path.insert(0, str(TOOLS))
    try:
        import networks
        import whole_clips
    finally:
        sys.path.remove(str(TOOLS))
    return networks, whole_clips


@pytest.fixture
def vae(tools):
    networks, whole_clips = tools
    torch.manual_seed(0)
    vae = networks.build_vae().requires_grad_(False)
    whole_clips.start_from_pictures(vae)
    return vae


@pytest.mark.parametrize("frames", [1, 5, 13])
def test_a_whole_clip_is_what_diffusers_makes_of_its_pieces(tools, vae, frames):
    for name, weight in vae.named_parameters():
        if "attentions" not in name:
            weight += 0.05 * torch.randn_like(weight)
    video = 2 * torch.rand(2, frames, 48, 64, 3) - 1
    latents = tools[1].encode(vae, video)
    theirs = vae.encode(video.permute(0, 4, 1, 2, 3)).latent_dist.mode()
    torch.testing.assert_close(latents.permute(0, 4, 1, 2, 3), theirs, atol=1e-4, rtol=1e-4)
    made = tools[1].decode(vae, latents).permute(0, 4, 1, 2, 3)
    assert made.std() > 0.1
    torch.testing.assert_close(made.clamp(-1, 1), vae.decode(theirs).sample, atol=1e-4, rtol=1e-4)


def test_a_film_starts_as_its_pictures(tools, vae):
    video = 2 * torch.rand(1, 9, 16, 16, 3) - 1
    latents = tools[1].encode(vae, video)
    still = torch.cat([tools[1].encode(vae, video[:, [n]]) for n in (0, 4, 8)], dim=1)
    torch.testing.assert_close(latents, still)
    made = tools[1].decode(vae, latents)
    shown = (0, *4 * (1,), *4 * (2,))
    alike = torch.cat([tools[1].decode(vae, latents[:, [n]]) for n in shown], dim=1)
    torch.testing.assert_close(made, alike)


def test_weights_are_kept_in_half_precision_with_what_is_beside_them(tools, vae, tmp_path):
    networks, _ = tools
    networks.keep(vae, tmp_path / "vae.safetensors", mean=torch.arange(3.0))
    fresh = networks.build_vae()
    beside = networks.resume(fresh, tmp_path / "vae.safetensors")
    torch.testing.assert_close(beside["mean"], torch.arange(3.0))
    assert (tmp_path / "vae.safetensors").stat().st_size < 6e6
    for name, weight in fresh.state_dict().items():
        torch.testing.assert_close(weight, vae.state_dict()[name], atol=1e-3, rtol=1e-3)
