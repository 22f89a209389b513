"""fp8 layers in plain arithmetic: their error, and the devices that they are refused on."""

import pytest
import torch

from animate.errors import ClipError
from animate.model.checkpoint import load_transformer
from animate.model.tiny import write_tiny_model
from animate.model.transformer import SamplingTransformer
from animate.parallel.fp8 import Fp8Linear, check_fp8, use_fp8
from golden_model import relative_error
from ranks import velocity

CPU = torch.device("cpu")
GRID = (4, 4, 4)


def test_step_in_fp8_is_near_that_in_fp32(tmp_path):
    write_tiny_model(tmp_path, face_size=32)
    exact = SamplingTransformer(load_transformer(tmp_path / "transformer", torch.float32, CPU))
    expected = velocity(exact, GRID)
    use_fp8(exact, fused=False)
    layers = [module for module in exact.modules() if isinstance(module, Fp8Linear)]
    assert len(layers) == 5 * (4 + 2 + 2) + 2
    error = relative_error(velocity(exact, GRID), expected)
    assert 0.002 < error < 0.1


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
