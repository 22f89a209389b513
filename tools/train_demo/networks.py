"""The demo model's networks: diffusers' own classes, small, and where their weights are kept."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from diffusers import AutoencoderKLWan, WanAnimateTransformer3DModel
from safetensors.torch import load_file, save_file
from torch import nn

from animate.atomic import atomic_output
from animate.demo.model import IMAGE_WIDTH, TEXT_WIDTH

VAE = {
    "base_dim": 16,
    "dim_mult": [1, 2, 4, 4],
    "num_res_blocks": 1,
    "z_dim": 16,
    "attn_scales": [],
}
TRANSFORMER = {
    "num_attention_heads": 4,
    "attention_head_dim": 64,
    "added_kv_proj_dim": 256,
    "image_dim": IMAGE_WIDTH,
    "text_dim": TEXT_WIDTH,
    "freq_dim": 64,
    "ffn_dim": 1024,
    # diffusers takes multiples of 5, one face adapter for each.
    "num_layers": 5,
    "face_encoder_hidden_dim": 32,
    "motion_style_dim": 32,
    "motion_encoder_dim": 32,
    "motion_encoder_channel_sizes": {
        str(2**n): size
        for n, size in zip(range(2, 11), (32, 32, 32, 16, 8, 4, 2, 2, 2), strict=True)
    },
}
VAE_FILE, MOTION_FILE, TRANSFORMER_FILE = (
    f"{name}.safetensors" for name in ("vae", "motion", "transformer")
)
# The mean and the spread of each latent channel, which the sampler standardises by.
MEAN, STD = "latents_mean", "latents_std"


def build_vae() -> AutoencoderKLWan:
    """Return the VAE with diffusers' random weights."""
    return AutoencoderKLWan(**VAE)


def build_transformer() -> WanAnimateTransformer3DModel:
    """Return the transformer with diffusers' random weights."""
    return WanAnimateTransformer3DModel(**TRANSFORMER)


def keep(network: nn.Module, path: Path, **more: torch.Tensor) -> None:
    """Write a network's weights, in fp16, and more tensors as they are beside them."""
    tensors = {name: tensor.half() for name, tensor in network.state_dict().items()} | more
    with atomic_output(path) as temporary:
        save_file({n: t.detach().cpu().contiguous() for n, t in tensors.items()}, temporary)


def resume(network: nn.Module, path: Path) -> dict[str, torch.Tensor]:
    """Load weights where a run before has kept some; return what was kept beside them."""
    if not path.exists():
        return {}
    tensors = load_file(path)
    more = {name: tensors.pop(name) for name in tensors.keys() - network.state_dict().keys()}
    network.load_state_dict(tensors)
    return more


class Average:
    """The moving average of a network's weights, which is what is kept."""

    def __init__(self, network: nn.Module, decay: float):
        self._network, self._decay, self._steps = network, decay, 0
        self._weights = [p.detach().clone() for p in network.parameters()]

    @torch.no_grad()
    def update(self) -> None:
        """Take one step's weights in; the first ones weigh more."""
        self._steps += 1
        share = 1 - min(self._decay, self._steps / (self._steps + 20))
        torch._foreach_lerp_(self._weights, [p.detach() for p in self._network.parameters()], share)

    @torch.no_grad()
    def use(self) -> nn.Module:
        """Give the network the average and return it."""
        torch._foreach_copy_([p.detach() for p in self._network.parameters()], self._weights)
        return self._network

    @contextmanager
    def used(self) -> Iterator[nn.Module]:
        """Give the network the average for a while."""
        own = [p.detach().clone() for p in self._network.parameters()]
        yield self.use()
        torch._foreach_copy_([p.detach() for p in self._network.parameters()], own)
