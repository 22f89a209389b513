"""8-bit attention for Hopper: `hopper.cu`, rounded tensors as it lays them out, and its launches.

Each (batch, head) is a line. The names of sizes are those of the source.
"""

from pathlib import Path
from typing import NamedTuple

import torch

from animate.kernels.attention8.attention import HEAD_SIZE, readable, round_up
from animate.kernels.attention8.cuda_code import CudaCode
from animate.model.attention import Partial

SOURCE, ARCHITECTURE = Path(__file__).with_name("hopper.cu"), "sm_90a"
KEYS, STAGES, QUERIES, SCALED, SLAB, CHUNK = 96, 3, 192, 32, 32, 512
# Queries, the tiles of keys and values, barriers, and what puts it all at a multiple of 1024.
SHARED = HEAD_SIZE * (QUERIES + 2 * STAGES * KEYS) + 256 + 1024


class Keys(NamedTuple):
    """Rounded keys and values of `count` tokens, and what they were rounded by."""

    keys: torch.Tensor
    values: torch.Tensor
    scales: torch.Tensor
    stats: torch.Tensor
    count: int


class Queries(NamedTuple):
    """Rounded queries, their scales, and what the keys' mean adds to their scores."""

    queries: torch.Tensor
    scales: torch.Tensor
    shift: torch.Tensor


class HopperKernel:
    """The `Kernel` for GPUs of compute capability 9.0."""

    def __init__(self):
        """Raises `RuntimeError` where it cannot be compiled or loaded."""
        self._code = CudaCode(SOURCE, ARCHITECTURE)

    def round_keys(self, k: torch.Tensor, v: torch.Tensor) -> Keys:
        """Return keys and values (B, N, H, 128) bf16, rounded."""
        k, v = readable(k), readable(v)
        batch, count, heads, size = k.shape
        lines, padded, chunks = (
            batch * heads,
            round_up(count, KEYS),
            round_up(count, CHUNK) // CHUNK,
        )
        parts = _numbers(k, lines, chunks, 4, size)
        stats = _numbers(k, lines, 3, size)
        scales = _numbers(k, lines, padded // SCALED)
        keys, values = (_bytes(k, lines, padded, size) for _ in range(2))
        by_k, by_v = k.stride()[:3], v.stride()[:3]
        self._code.launch("gather", (chunks, lines), 256, [k, v, parts, count, heads, by_k, by_v])
        self._code.launch("summarise", (lines, 1), 1024, [parts, stats, count, chunks])
        lengths = count, padded, heads
        self._code.launch(
            "round_keys", (padded // SCALED, lines), 256, [k, keys, scales, stats, *lengths, by_k]
        )
        self._code.launch(
            "round_values", (padded // SLAB, lines), 256, [v, values, stats, *lengths, by_v]
        )
        return Keys(keys, values, scales, stats, count)

    def round_queries(self, q: torch.Tensor, keys: Keys) -> Queries:
        """Return queries (B, L, H, 128) bf16 of those keys, rounded."""
        q = readable(q)
        batch, count, heads, size = q.shape
        lines, padded = batch * heads, round_up(count, QUERIES)
        rounded = _bytes(q, lines, padded, size)
        scales, shift = (_numbers(q, lines, padded) for _ in range(2))
        own = [q, rounded, scales, shift, keys.stats, count, padded, heads, q.stride()[:3]]
        self._code.launch("round_queries", (padded // 16, lines), 256, [*own, size**-0.5])
        return Queries(rounded, scales, shift)

    def attend(self, q: torch.Tensor, keys: Keys) -> Partial:
        """Return attention of `q` (B, L, H, 128) bf16 over rounded keys, and its sums (B, L, H)."""
        rounded = self.round_queries(q, keys)
        return self.attend_rounded(rounded, keys, q.shape)

    def attend_rounded(self, queries: Queries, keys: Keys, shape: torch.Size) -> Partial:
        """Return the same of rounded queries, which were of that shape."""
        batch, count, heads, _ = shape
        out = queries.queries.new_empty(shape, dtype=torch.bfloat16)
        sums = _numbers(out, batch, heads, count)
        padded_q, padded_k = queries.queries.shape[1], keys.keys.shape[1]
        arguments = [queries.queries, keys.keys, keys.values, queries.scales, keys.scales]
        arguments += [keys.stats, queries.shift, out, sums]
        arguments += [count, keys.count, padded_q, padded_k, heads, out.stride()[:3]]
        blocks, threads = (padded_q // QUERIES, batch * heads), 128 + 2 * QUERIES
        self._code.launch("attend", blocks, threads, arguments, SHARED)
        return out, sums.transpose(1, 2)


def _bytes(like: torch.Tensor, *shape: int) -> torch.Tensor:
    return torch.empty(shape, dtype=torch.uint8, device=like.device)


def _numbers(like: torch.Tensor, *shape: int) -> torch.Tensor:
    return torch.empty(shape, dtype=torch.float32, device=like.device)
