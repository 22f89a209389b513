"""fp8 layers in plain arithmetic: their error, and the devices that they are refused on."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from diffusers import WanAnimate2Transformer3DModel, WanAnimateTransformer3DModel

from alive import Alive
from animate.cluster.published import BLOCK, published_sizes
from animate.demo.model import write_tiny_model
from animate.errors import ClipError
from animate.kernels.compile import missing_for_compiling
from animate.kernels.fp8 import Fp8Linear, convert_to_fp8, multiplies_fp8
from animate.kernels.ops import choose_ops, fused_feed_forward
from animate.kernels.widened import WidenedLinear, numbers_of
from animate.model.animate2.transformer import DrivenTransformer
from animate.model.token_sharding import NoSharding
from animate.model.transformer import SamplingTransformer
from animate.parallel.plan import model_sizes, plan_memory
from animate.weights.checkpoint import FP32_PARTS, assign
from golden_model import relative_error
from ranks import velocity
from whole_model import load_transformer

CPU = torch.device("cpu")
GRID = (4, 4, 4)


def test_step_in_fp8_is_near_that_in_fp32(tmp_path):
    write_tiny_model(tmp_path, face_size=32)
    weights = load_transformer(tmp_path / "transformer", torch.float32, CPU)
    expected = velocity(SamplingTransformer(weights), GRID)
    convert_to_fp8(weights, fused=False)
    ops = choose_ops(NoSharding().attend, "fp8", fused=False)
    rounded = SamplingTransformer(weights, ops=ops)
    layers = [module for module in rounded.modules() if isinstance(module, Fp8Linear)]
    assert len(layers) == 5 * (4 + 2 + 2) + 2
    error = relative_error(velocity(rounded, GRID), expected)
    assert 0.002 < error < 0.1


@pytest.mark.parametrize(
    ("kind", "published", "options", "forward"),
    [
        ("posed", WanAnimateTransformer3DModel, {"added_kv_proj_dim": 5120}, SamplingTransformer),
        ("driven", WanAnimate2Transformer3DModel, {}, DrivenTransformer),
    ],
)
def test_published_sizes_are_those_of_the_cost_model(kind, published, options, forward):
    with torch.device("meta"):
        weights = published(**options)
    for name, parameter in list(weights.named_parameters()):
        kept = torch.float32 if FP32_PARTS.search(name) else torch.bfloat16
        assign(weights, name, torch.empty_like(parameter, dtype=kept))
    for precision in BLOCK:
        if precision == "fp8":
            convert_to_fp8(weights, fused=False)
        assert model_sizes(forward(weights)) == published_sizes(precision, kind)


@pytest.mark.parametrize(
    ("gib", "ranks", "placement"), [(36, 1, "replicated"), (24, 2, "fsdp2"), (16, 1, "offload")]
)
def test_every_placement_is_planned(gib, ranks, placement):
    sizes = published_sizes("fp8")
    segment = {"tokens": 75600, "pixels": 1280 * 720, "frames": 77}
    plan = plan_memory(sizes, **segment, memory=gib << 30, ranks=ranks)
    assert plan.placement == placement


def test_zero_rows_stay_zero():
    layer = torch.nn.Linear(8, 4)
    layer.weight.data[2] = 0
    rounded = Fp8Linear(layer, gelu=False, fused=False)
    x = torch.randn(3, 8)
    result = rounded(x)
    assert torch.allclose(result[:, 2], layer.bias[2])
    assert torch.allclose(result, layer(x), atol=0.2)


@pytest.mark.parametrize(
    ("device", "hip", "capability", "multiplies"),
    [
        ("cpu", None, (9, 0), None),
        ("cuda", "6.4", (9, 4), None),
        ("cuda", None, (8, 0), False),
        ("cuda", None, (8, 6), False),
        ("cuda", None, (8, 9), True),
        ("cuda", None, (9, 0), True),
    ],
)
def test_devices(monkeypatch, device, hip, capability, multiplies):
    monkeypatch.setattr(torch.version, "hip", hip)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    if multiplies is not None:
        assert multiplies_fp8(torch.device(device)) is multiplies
        return
    with pytest.raises(ClipError, match="set precision to bf16"):
        multiplies_fp8(torch.device(device))


def test_bytes_are_the_numbers_they_stand_for():
    codes = torch.arange(256, dtype=torch.uint8)
    expected = codes.view(torch.float8_e4m3fn).float()
    finite = expected.isfinite()
    assert finite.sum() == 254
    assert torch.equal(numbers_of(codes)[finite], expected[finite])
    assert torch.equal(numbers_of(codes)[finite].signbit(), expected[finite].signbit())


def test_widened_layers_hold_the_same_rows_and_round_no_tokens():
    layer = torch.nn.Linear(96, 40)
    rounded, widened = Fp8Linear(layer, gelu=False, fused=False), WidenedLinear(layer)
    assert torch.equal(widened.weight, rounded.weight.view(torch.uint8))
    assert torch.equal(widened.scale, rounded.scale)
    assert sum(p.nbytes for p in widened.parameters()) < 0.35 * sum(
        p.nbytes for p in layer.parameters()
    )
    exact = torch.nn.Linear(96, 40)
    exact.weight.data, exact.bias = rounded.weight.float() * rounded.scale, layer.bias
    x = torch.randn(2, 7, 96)
    assert torch.equal(widened(x), exact(x))


@torch.inference_mode()
def test_plain_calls_widen_some_rows_at_a_time():
    with torch.device("meta"):
        layer = WidenedLinear(torch.nn.Linear(5120, 13824).bfloat16())
    with Alive(others=layer) as alive:
        made = layer.widened()
    assert made.nbytes < alive.peak < 3 * made.nbytes


@torch.inference_mode()
def test_compiled_code_widens_as_plain_calls_do():
    if missing_for_compiling():
        pytest.skip("nothing can be compiled here")
    layer = WidenedLinear(torch.nn.Linear(96, 40).bfloat16())
    assert torch.equal(torch.compile(layer.widened)(), layer.widened())


@pytest.mark.parametrize("fused", [False, True])
def test_step_with_widened_weights_is_nearer_than_one_in_fp8(tmp_path, monkeypatch, fused):
    write_tiny_model(tmp_path, face_size=32)
    folder = tmp_path / "transformer"
    expected = velocity(SamplingTransformer(load_transformer(folder, torch.float32, CPU)), GRID)
    errors = []
    for widened in (False, True):
        weights = load_transformer(folder, torch.float32, CPU)
        convert_to_fp8(weights, fused=False, widened=widened)
        ops = choose_ops(NoSharding().attend, "fp8", False, widened)
        if widened and fused:
            # The layers' own part of our kernels; the products themselves need a GPU.
            monkeypatch.setattr(torch.ops.animate, "linear_gelu", linear_gelu, raising=False)
            ops = replace(ops, feed_forward=fused_feed_forward)
        errors.append(
            relative_error(velocity(SamplingTransformer(weights, ops=ops), GRID), expected)
        )
    assert 0.002 < errors[1] < 0.9 * errors[0]


def linear_gelu(x, weight, bias):
    return F.gelu(F.linear(x, weight, bias), approximate="tanh")
