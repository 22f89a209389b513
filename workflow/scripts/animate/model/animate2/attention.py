"""Self-attention of generated tokens that sees the driving video as well, latent frame by frame.

The tokens of latent frame f see all generated tokens, and of the driving video those of frame f
alone. The reference's frame, the first, has none. Instead of one attention under a mask of all
tokens by all keys, each set of keys is attended to by itself and their results are merged by the
sums of their weights. Shapes: B batch, n tokens of a latent frame, T latent frames of the driving
video, H heads, D head size.
"""

import torch

from animate.model.attention import Merge, PartialAttention
from animate.model.block import KeysValues


def attend_driven(
    attend: PartialAttention,
    merge: Merge,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    driving: KeysValues,
    log_scale: float = 0.0,
) -> torch.Tensor:
    """Return attention (B, (1 + T) * n, H, D) of `q` over `k` and `v`, shaped so, and `driving`.

    Args:
        attend, merge: attention over some of the keys, and what joins two such results.
        driving: keys and values (B, T, n, H, D).
        log_scale: added to the scores of the keys of frame 1, the first after the reference's.
    """
    frames, tokens = driving[0].shape[1:3]
    if log_scale:
        first = slice(tokens, 2 * tokens)
        out, log_sum = attend(q, k[:, first], v[:, first])
        k, v = (torch.cat((x[:, :tokens], x[:, 2 * tokens :]), dim=1) for x in (k, v))
        out, log_sum = merge(attend(q, k, v), (out, log_sum + log_scale))
    else:
        out, log_sum = attend(q, k, v)
    # Frames are batches of their own here.
    own = q[:, tokens:].unflatten(1, (frames, tokens)).flatten(0, 1)
    seen, seen_sum = attend(own, *(x.flatten(0, 1) for x in driving))
    seen, seen_sum = (x.unflatten(0, (-1, frames)).flatten(1, 2) for x in (seen, seen_sum))
    both, _ = merge((out[:, tokens:], log_sum[:, tokens:]), (seen, seen_sum))
    return torch.cat((out[:, :tokens], both), dim=1)
