"""Our GPU kernels beside plain arithmetic; test_kernels.py runs this file in the interpreter."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from animate.demo.model import write_tiny_model
from animate.kernels import fused as kernels
from animate.kernels.attention8.ada import AdaKernel
from animate.kernels.attention8.attention import Attention8
from animate.kernels.fp8 import convert_to_fp8
from animate.kernels.ops import choose_ops
from animate.model.attention import partial_attention
from animate.model.positions import norm_rotate, rotary_table
from animate.model.token_sharding import NoSharding
from animate.model.transformer import SamplingTransformer
from animate.weights.rounding import quantise_rows
from golden_model import relative_error
from gpu_attention8 import check_no_numbers
from ranks import velocity
from whole_model import load_transformer

# The interpreter rounds to fp8 towards zero, a GPU to nearest: twice the error.
FP8_ERROR = 0.07


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("heads", [4, 5])
def test_norm_rotate(heads):
    cos, sin = rotary_table((2, 3, 4), 16)
    norm = nn.RMSNorm(16 * heads, eps=1e-6)
    norm.weight.data = noise(16 * heads)
    x = noise(2, 24, 16 * heads)
    result = kernels.norm_rotate(x, norm.weight, norm.eps, cos, sin)
    assert torch.allclose(result, norm_rotate(x, norm, cos, sin), atol=1e-5)


@pytest.mark.parametrize("gelu", [False, True])
def test_quantised_tokens(gelu):
    x = noise(7, 300)
    x[3] = 0
    rows, scale = kernels.quantise_tokens(x, gelu)
    expected = F.gelu(x, approximate="tanh") if gelu else x
    assert (rows.float() * scale - expected).norm() < FP8_ERROR * expected.norm()
    assert torch.allclose(scale, quantise_rows(expected)[1])


@pytest.mark.parametrize(("queries", "keys"), [(70, 130), (130, 64), (1, 9)])
def test_attention_in_8_bits(queries, keys):
    heads = 2, 3
    q, k, v = (noise(heads[0], n, heads[1], 3, 128) for n in (queries, keys, keys))
    # Not one after the other in memory, with outliers, and with means that are no part of a tile.
    sizes = 2.0 ** (torch.arange(queries) % 3)[:, None, None]
    q, k, v = (q[:, :, :, 0] * sizes).bfloat16(), k.bfloat16()[:, :, :, 1], v.bfloat16()[:, :, :, 2]
    k, v = k + 3 * noise(1, 1, heads[1], 128).bfloat16(), v + 1
    attend = Attention8(AdaKernel())
    found, sums = attend.partial(q, k, v)
    expected, expected_sums = partial_attention(q.float(), k.float(), v.float())
    assert relative_error(found.float() - 1, expected - 1) < FP8_ERROR
    assert relative_error(sums, expected_sums) < 0.01
    over = attend.over(k, v)
    assert torch.equal(torch.cat([over(part) for part in q.split(50, 1)], 1), found)


def test_attention_in_8_bits_shows_what_is_no_number():
    check_no_numbers(Attention8(AdaKernel()), *noise(3, 2, 100, 3, 128).bfloat16())


@pytest.mark.parametrize(("precision", "tolerance"), [("bf16", 1e-4), ("fp8", 0.1)])
def test_blocks_compute_with_the_kernels(tmp_path, precision, tolerance):
    write_tiny_model(tmp_path, face_size=32)
    weights = load_transformer(tmp_path / "transformer", torch.float32, torch.device("cpu"))
    expected = velocity(SamplingTransformer(weights), (3, 3, 1))
    if precision == "fp8":
        convert_to_fp8(weights, fused=True)
    ops = choose_ops(NoSharding().attend, precision, fused=True)
    error = relative_error(velocity(SamplingTransformer(weights, ops=ops), (3, 3, 1)), expected)
    assert 0 < error < tolerance
