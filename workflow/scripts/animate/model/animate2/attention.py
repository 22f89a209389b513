"""Self-attention of generated tokens that sees the driving video as well, latent frame by frame.

The tokens of latent frame f see all generated tokens, and of the driving video those of frame f
alone. The reference's frame, the first, has none. Instead of one attention under a mask of all
tokens by all keys, each set of keys is attended to by itself and their results are merged by the
sums of their weights. Shapes: B batch, n tokens of a latent frame, T latent frames of the driving
video, H heads, D head size.
"""

from collections.abc import Callable, Sequence

import torch

from animate.model.attention import Partial, PartialAttention
from animate.model.block import KeysValues

# As `merged`, or a faster way to the same.
Merge = Callable[[Sequence[Partial], Partial], torch.Tensor]


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

    With a `log_scale`, `k` and `v` are overwritten.

    Args:
        attend, merge: attention over some of the keys, and what joins such results.
        driving: keys and values (B, T, n, H, D).
        log_scale: added to the scores of the keys of frame 1, the first after the reference's.
    """
    frames, tokens = driving[0].shape[1:3]
    shared = []
    if log_scale:
        first = slice(tokens, 2 * tokens)
        out, log_sum = attend(q, k[:, first], v[:, first])
        shared.append((out, log_sum + log_scale))
        # The reference's take their place, so that all others lie in one piece.
        for x in (k, v):
            x[:, first] = x[:, :tokens]
        k, v = k[:, tokens:], v[:, tokens:]
    shared.append(attend(q, k, v))
    # Frames are batches of their own here.
    own = q[:, tokens:].unflatten(1, (frames, tokens)).flatten(0, 1)
    seen = attend(own, *(x.flatten(0, 1) for x in driving))
    return merge(shared, tuple(x.unflatten(0, (-1, frames)).flatten(1, 2) for x in seen))


def merged(shared: Sequence[Partial], own: Partial) -> torch.Tensor:
    """Return what sets of keys give together (B, L, H, D), each of which gave its part alone.

    `shared` are of all L tokens; `own` is of the last of them, the first have nothing of it. Exact
    but for rounding: each part counts by the sum of its weights. Computed in fp32.
    """
    alone = shared[0][1].shape[1] - own[1].shape[1]
    first = _joined([_of_tokens(one, 0, alone) for one in shared])
    others = [_of_tokens(one, alone, None) for one in shared]
    return torch.cat((first, _joined([*others, own])), dim=1)


def merged_by_frames(shared: Sequence[Partial], own: Partial) -> torch.Tensor:
    """Return `merged`, computed for one latent frame's tokens at a time: less memory.

    A frame has as many tokens as have nothing of `own`.
    """
    result = torch.empty_like(shared[0][0])
    tokens = result.shape[1] - own[1].shape[1]
    for start in range(0, result.shape[1], tokens):
        parts = [_of_tokens(one, start, start + tokens) for one in shared]
        if start:
            parts.append(_of_tokens(own, start - tokens, start))
        result[:, start : start + tokens] = _joined(parts)
    return result


def _of_tokens(part: Partial, start: int, end: int | None) -> Partial:
    return tuple(x[:, start:end] for x in part)


def _joined(parts: Sequence[Partial]) -> torch.Tensor:
    shares = torch.stack([log_sum for _, log_sum in parts]).softmax(dim=0)
    weighed = (out * share[..., None] for (out, _), share in zip(parts, shares, strict=True))
    return sum(weighed).type_as(parts[0][0])
