"""Regional compilation: one block is compiled, all forty run it."""

import importlib

import torch
from torch import nn

from animate.model.transformer import BlockConstants, SamplingBlock, SamplingTransformer

# Each frame size and kind of block is compiled apart. One more would be an error, not silently
# the slow, uncompiled way.
MOST_VERSIONS = 64


def compile_blocks(model: SamplingTransformer) -> None:
    """Compile the blocks' forward in place, on first use.

    The compiler fuses norms, modulation and residuals, our kernels the rest; self-attention stays
    outside, since it communicates and picks its own kernel. The compiled code is kept in
    TORCHINDUCTOR_CACHE_DIR, when set, for later jobs.
    """
    torch._dynamo.config.recompile_limit = MOST_VERSIONS
    torch._dynamo.config.fail_on_recompile_limit_hit = True
    sequence = model.sequence
    sequence.attend = torch.compiler.disable(sequence.attend)
    for block in model.blocks:
        if model.device.type == "cuda":
            use_kernels(block)
        block.forward = torch.compile(block.forward, dynamic=False)


def use_kernels(block: SamplingBlock) -> None:
    """Have a block on a GPU use our kernels where they take the place of several others."""
    importlib.import_module("animate.parallel.kernels")
    block.norm_rotate = _norm_rotate
    block.attend_conditions = _attend_conditions
    # In fp8 the GELU is part of the next layer.
    if hasattr(block.block.ffn.net[0], "proj"):
        block.feed_forward = _feed_forward


def _norm_rotate(
    x: torch.Tensor, norm: nn.RMSNorm, cos: torch.Tensor, sin: torch.Tensor
) -> torch.Tensor:
    return torch.ops.animate.norm_rotate(x, norm.weight, norm.eps, cos, sin)


def _attend_conditions(
    q: torch.Tensor, norm: nn.RMSNorm, constants: BlockConstants
) -> torch.Tensor:
    # The kernel multiplies by them as it reads, which saves writing normalised queries.
    factors = torch.rsqrt(q.float().square().mean(-1) + norm.eps)
    return torch.ops.animate.attend_conditions(
        q, factors, norm.weight, *constants.text, constants.padding, *constants.image
    )


def _feed_forward(layers: nn.Module, h: torch.Tensor) -> torch.Tensor:
    up, down = layers.net[0].proj, layers.net[2]
    return down(torch.ops.animate.linear_gelu(h, up.weight, up.bias))
