"""Our GPU kernels beside plain arithmetic; test_kernels.py runs this file in the interpreter."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from animate.model.positions import norm_rotate, rotary_table
from animate.model.sequence import attention, attention_with_repeats
from animate.parallel import kernels
from animate.parallel.fp8 import quantise_rows

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


@pytest.mark.parametrize("padding", [0, 448])
def test_attention_to_conditions(padding):
    q, weight = noise(2, 150, 64), noise(64)
    text_k, text_v = noise(2, 2, 65, 4, 16)
    image_k, image_v = noise(2, 2, 129, 4, 16)
    factors = torch.rsqrt(q.square().mean(-1) + 1e-6)
    result = kernels.attend_conditions(
        q, factors, weight, text_k, text_v, padding, image_k, image_v
    )
    normed = F.rms_norm(q, (64,), weight, 1e-6).unflatten(2, (4, 16))
    expected = attention_with_repeats(normed, text_k, text_v, padding)
    expected = expected + attention(normed, image_k, image_v)
    assert torch.allclose(result, expected.flatten(2), atol=1e-5)


def test_a_padding_key_that_counts_no_time_changes_nothing():
    """Its score is 87 above all others: beside it, their exponentials are 0 in fp32."""
    q = torch.ones(1, 64, 64)
    text_k, text_v = torch.full((1, 65, 1, 64), -2.0), noise(1, 65, 1, 64)
    text_k[:, -1] = 12.0
    image_k = torch.zeros(1, 65, 1, 64)
    result = kernels.attend_conditions(
        q, torch.ones(1, 64), torch.ones(64), text_k, text_v, 0, image_k, torch.zeros_like(image_k)
    )
    expected = attention(q[:, :, None], text_k[:, :-1], text_v[:, :-1])
    assert torch.allclose(result, expected.flatten(2), atol=1e-5)
