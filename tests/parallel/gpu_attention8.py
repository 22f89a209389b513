"""What a kernel of 8-bit attention computes on this GPU: results, sums, and what it rounds."""

import math

import torch

from animate.kernels.attention8.attention import Attention8
from animate.kernels.attention8.choose import HOPPER_KERNEL, TOLERANCE, trial_error
from animate.model.attention import partial_attention
from golden_model import relative_error

# Batch, queries and keys.
LENGTHS = (1, 1, 7), (1, 64, 64), (2, 100, 97), (2, 193, 449), (3, 449, 193), (1, 2000, 1152)


def check_kernel(name: str, attend: Attention8, device: torch.device) -> None:
    """It passes its trial, is right at any length, and rounds what it should."""
    assert trial_error(device, attend) < TOLERANCE, name
    for lengths in LENGTHS:
        check_lengths(name, attend, *attention_inputs(device, *lengths))
    check_no_numbers(attend, *attention_inputs(device, 2, 100, 97))
    if name == HOPPER_KERNEL:
        check_rounding(attend.kernel, *attention_inputs(device, 2, 449, 193))


def attention_inputs(device: torch.device, batch: int, queries: int, keys: int) -> list:
    """Return queries, keys and values of three heads that lie between each other in memory."""
    torch.manual_seed(queries)
    fused = torch.randn(batch, max(queries, keys), 3, 3, 128, device=device)
    fused += torch.tensor([0.0, 2.0, 0.5], device=device)[:, None, None]
    q, k, v = fused.bfloat16().unbind(2)
    return [2 * q[:, :queries], k[:, :keys], v[:, :keys]]


def check_lengths(name: str, attend: Attention8, q, k, v) -> None:
    """Results and sums are near the exact ones, and queries part by part get the same bits."""
    found, sums = attend.partial(q, k, v)
    expected, expected_sums = partial_attention(q.float(), k.float(), v.float())
    shape = name, tuple(q.shape), tuple(k.shape)
    assert relative_error(found.float(), expected) < TOLERANCE, shape
    assert (sums - expected_sums).abs().max() < 0.2, shape
    over = attend.over(k, v)
    assert torch.equal(torch.cat([over(part) for part in q.split(70, 1)], 1), found), shape


def check_no_numbers(attend: Attention8, *given: torch.Tensor) -> None:
    """What is no number shows where exact attention shows it, and nowhere else."""
    for place in range(3):
        spoiled = [x.clone() for x in given]
        spoiled[place][1, 40, 2, 5] = float("nan")
        found = attend(*spoiled).isnan()
        expected = partial_attention(*(x.float() for x in spoiled))[0].isnan()
        assert expected.any() and torch.equal(found, expected), place


def check_rounding(kernel, q, k, v) -> None:
    """What Hopper's kernels round is, put in order, near what it was rounded from."""
    # Imported here because it takes NVIDIA's bindings.
    from animate.kernels.attention8 import hopper

    keys = kernel.round_keys(k, v)
    queries = kernel.round_queries(q, keys)
    lines = [x.float().transpose(1, 2).flatten(0, 1) for x in (q, k, v)]
    means = [x.mean(1, keepdim=True) for x in lines[1:]]
    assert torch.allclose(keys.stats[:, 0], means[0][:, 0], atol=1e-4)
    assert torch.allclose(keys.stats[:, 1], means[1][:, 0], atol=1e-4)
    q8, k8 = tokens_of(queries.queries), tokens_of(keys.keys)
    factor = 128**-0.5 / math.log(2)
    assert not q8[:, q.shape[1] :].any() and not k8[:, k.shape[1] :].any()
    found = (q8 * queries.scales[..., None])[:, : q.shape[1]] / factor
    assert relative_error(found, lines[0]) < 0.02
    scales = keys.scales.repeat_interleave(hopper.SCALED, 1)[..., None]
    assert relative_error((k8 * scales)[:, : k.shape[1]], lines[1] - means[0]) < 0.02
    v8 = values_of(keys.values, hopper.SLAB) * keys.stats[:, 2:]
    assert relative_error(v8[:, : v.shape[1]], lines[2] - means[1]) < 0.04
    shift = (lines[0] @ means[0].mT)[..., 0] * 128**-0.5
    assert torch.allclose(queries.shift[:, : q.shape[1]], shift, atol=1e-3)


def tokens_of(rounded: torch.Tensor) -> torch.Tensor:
    """Return int8 tokens (lines, padded, 128) in order; see `write_eight` of hopper.cu."""
    padded, size = rounded.shape[1:]
    token = torch.arange(padded, device=rounded.device)[:, None]
    channel = torch.arange(size, device=rounded.device)
    place = token * size + (channel // 16 ^ token % 8) * 16 + channel % 16
    return rounded.view(torch.int8).flatten(1)[:, place.flatten()].view(rounded.shape).float()


def values_of(rounded: torch.Tensor, slab: int) -> torch.Tensor:
    """Return e4m3 values (lines, padded, 128) in order; see `round_values` of hopper.cu."""
    padded, size = rounded.shape[1:]
    token = torch.arange(padded, device=rounded.device)[:, None]
    channel = torch.arange(size, device=rounded.device)
    key = token % 16
    inside = token % slab // 16 ^ channel // 4 % 2
    place = token // slab * slab * size + channel * slab + inside * 16
    place = place + 4 * (key % 8 // 2) + 2 * (key // 8) + key % 2
    ordered = rounded.flatten(1)[:, place.flatten()].view(rounded.shape)
    return ordered.view(torch.float8_e4m3fn).float()
