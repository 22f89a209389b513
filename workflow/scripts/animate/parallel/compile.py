"""Regional compilation: one block is compiled, all forty run it."""

import torch

from animate.model.transformer import SamplingTransformer


def compile_blocks(model: SamplingTransformer) -> None:
    """Compile the blocks' forward in place, on first use.

    The compiler fuses norms, modulation, rotary embedding and residuals; self-attention stays
    outside, since it communicates and picks its own kernel. The compiled code is kept in
    TORCHINDUCTOR_CACHE_DIR, when set, for later jobs.
    """
    sequence = model.sequence
    sequence.attend = torch.compiler.disable(sequence.attend)
    for block in model.blocks:
        block.forward = torch.compile(block.forward, dynamic=False)
