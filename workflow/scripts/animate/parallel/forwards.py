"""Our forward of each kind of transformer, and the kernels that its self-attention takes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from animate.devices.world import World
from animate.kernels.attention import choose_attention, choose_partial_attention
from animate.kernels.attention8.choose import choose_attention8
from animate.kernels.merge import compiled_merge
from animate.model.animate2.attention import merged_by_frames
from animate.model.animate2.transformer import DrivenTransformer
from animate.model.ops import Ops
from animate.model.token_sharding import TokenSharding
from animate.model.transformer import SamplingTransformer
from animate.model.wan import WanTransformer
from animate.parallel.driving import StreamedMemory
from animate.parallel.plan import Plan


@dataclass(frozen=True)
class Forward:
    """How one of diffusers' models becomes one that samples.

    `heads` is the name in its config of the number of heads. `keep` has what a segment keeps lie
    where a plan says; `use_kernels` gives a model on a device its kernels, compiled or not, for
    "exact" or "8bit" attention, and returns their name.
    """

    make: Callable[[Any, TokenSharding, Ops], WanTransformer]
    heads: str
    keep: Callable[[WanTransformer, Plan], None]
    use_kernels: Callable[[WanTransformer, torch.device, World, bool, str], str]


def _keep_nothing(model: WanTransformer, plan: Plan) -> None:
    pass


def _keep_driving(model: DrivenTransformer, plan: Plan) -> None:
    if plan.streamed:
        model.keep_in(StreamedMemory())


def _use_attention(
    model: WanTransformer, device: torch.device, world: World, compiled: bool, attention: str
) -> str:
    if attention == "8bit":
        kernel, attend = choose_attention8(device, world)
    else:
        kernel, attend = choose_attention(device, model.head_size, world)
    model.sharding.attend_by(attend)
    return kernel


def _use_partial_attention(
    model: DrivenTransformer, device: torch.device, world: World, compiled: bool, attention: str
) -> str:
    if attention == "8bit":
        kernel, attend8 = choose_attention8(device, world)
        attend = attend8.partial
    else:
        kernel, attend = choose_partial_attention(device, model.head_size, world)
    model.attend_by(attend, compiled_merge() if compiled else merged_by_frames)
    return kernel


# By the names of diffusers' classes.
FORWARDS = {
    "WanAnimateTransformer3DModel": Forward(
        SamplingTransformer, "num_attention_heads", _keep_nothing, _use_attention
    ),
    "WanAnimate2Transformer3DModel": Forward(
        DrivenTransformer, "num_heads", _keep_driving, _use_partial_attention
    ),
}
