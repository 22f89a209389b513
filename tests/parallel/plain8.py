"""8-bit attention by plain PyTorch, which computes in fp32 with what is rounded; and faults."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F

from animate.model.attention import Partial

# Keys that share a scale, and keys of a tile.
SCALED, KEYS = 32, 96
LARGEST = torch.finfo(torch.float8_e4m3fn).max
FAULTS = (
    "queries have their neighbours' scales",
    "keys have their neighbours' scales",
    "values have one scale",
    "values in the scores' order",
    "no ragged end",
    "sums without the mean of the keys",
)


class Keys(NamedTuple):
    """Rounded and multiplied back, (B, H, N, 128), with the means that were taken off."""

    keys: torch.Tensor
    values: torch.Tensor
    key_mean: torch.Tensor
    value_mean: torch.Tensor


class PlainKernel:
    """A `Kernel` for any device; it counts how often it rounded keys."""

    def __init__(self, fault: str | None = None):
        self._fault, self.rounded = fault, 0

    def round_keys(self, k: torch.Tensor, v: torch.Tensor) -> Keys:
        """Return rounded keys."""
        self.rounded += 1
        k, v = (x.float().transpose(1, 2) for x in (k, v))
        key_mean, value_mean = (x.mean(2, keepdim=True) for x in (k, v))
        count = k.shape[2]
        parts = F.pad(k - key_mean, (0, 0, 0, -count % SCALED)).unflatten(2, (-1, SCALED))
        scale = parts.abs().amax((3, 4), keepdim=True) / 127
        rows = (parts / scale).round()
        if self._fault == "keys have their neighbours' scales":
            scale = scale.roll(1, 2)
        keys = (rows * scale).flatten(2, 3)[:, :, :count]
        scale = (v - value_mean).abs().amax(2, keepdim=True) / LARGEST
        values = ((v - value_mean) / scale).to(torch.float8_e4m3fn).float()
        if self._fault == "values have one scale":
            scale = scale.mean(3, keepdim=True)
        if self._fault == "values in the scores' order":
            order, whole = torch.arange(count), count // 16 * 16
            place = torch.tensor([position(key) for key in range(16)])
            order[:whole] = order[:whole].view(-1, 16)[:, place].flatten()
            values = values[:, :, order]
        return Keys(keys, values * scale, key_mean, value_mean)

    def attend(self, q: torch.Tensor, keys: Keys) -> Partial:
        """Return attention over rounded keys, and its sums."""
        dtype, q = q.dtype, q.float().transpose(1, 2)
        scale = q.abs().amax(3, keepdim=True) / 127
        rows = (q / scale).round()
        if self._fault == "queries have their neighbours' scales":
            scale = scale.roll(1, 2)
        factor = q.shape[3] ** -0.5
        scores = (rows * scale) @ keys.keys.mT * factor
        if self._fault == "no ragged end":
            scores[..., scores.shape[3] // KEYS * KEYS :] = -math.inf
        log_sum = scores.logsumexp(3)
        weights = (scores - scores.amax(3, keepdim=True)).exp() * LARGEST
        total = weights.sum(3, keepdim=True)
        out = weights.to(torch.float8_e4m3fn).float() @ keys.values / total + keys.value_mean
        if self._fault != "sums without the mean of the keys":
            log_sum = log_sum + (q @ keys.key_mean.mT)[..., 0] * factor
        return out.transpose(1, 2).to(dtype), log_sum.transpose(1, 2)


def position(key: int) -> int:
    """Return where a key of 16 lies among them, as a thread of Hopper holds their scores."""
    return 4 * (key % 8 // 2) + 2 * (key // 8) + key % 2
