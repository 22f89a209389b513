"""fp8 layers in plain arithmetic: their error, and the devices that they are refused on."""

import pytest
import torch
from diffusers import WanAnimateTransformer3DModel

from animate.cluster.plan import BLOCKS, HIDDEN, WEIGHTS, WIDTH
from animate.demo.model import write_tiny_model
from animate.errors import ClipError
from animate.kernels.fp8 import Fp8Linear, check_fp8, convert_to_fp8
from animate.kernels.ops import choose_ops
from animate.model.token_sharding import NoSharding
from animate.model.transformer import SamplingTransformer
from animate.parallel.plan import Sizes, model_sizes, plan_memory
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


def test_published_sizes_are_those_of_the_cost_model():
    with torch.device("meta"):
        weights = WanAnimateTransformer3DModel(added_kv_proj_dim=5120)
    for name, parameter in list(weights.named_parameters()):
        kept = torch.float32 if FP32_PARTS.search(name) else torch.bfloat16
        assign(weights, name, torch.empty_like(parameter, dtype=kept))
    for precision, (block, rest) in WEIGHTS.items():
        if precision == "fp8":
            convert_to_fp8(weights, fused=False)
        sizes = model_sizes(SamplingTransformer(weights))
        assert sizes.whole == pytest.approx(BLOCKS * block + rest, rel=0.003)


@pytest.mark.parametrize(
    ("gib", "ranks", "placement"), [(36, 1, "replicated"), (24, 2, "fsdp2"), (16, 1, "offload")]
)
def test_every_placement_is_planned(gib, ranks, placement):
    block, rest = WEIGHTS["fp8"]
    sizes = Sizes((block,) * BLOCKS, rest, WIDTH, HIDDEN)
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
    ("device", "hip", "capability", "fits"),
    [
        ("cpu", None, (9, 0), False),
        ("cuda", None, (8, 6), False),
        ("cuda", None, (8, 9), True),
        ("cuda", None, (9, 0), True),
        ("cuda", "6.4", (9, 4), False),
    ],
)
def test_devices(monkeypatch, device, hip, capability, fits):
    monkeypatch.setattr(torch.version, "hip", hip)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    if fits:
        check_fp8(torch.device(device))
        return
    with pytest.raises(ClipError, match="set precision to bf16"):
        check_fp8(torch.device(device))
