"""Our forward of Wan-Animate-2 is diffusers', without a mask of all tokens."""

import pytest
import torch
from safetensors.torch import save_file

from animate.errors import ClipError
from animate.kernels.attention import choose_partial_attention
from animate.kernels.fp8 import convert_to_fp8
from animate.kernels.ops import choose_ops
from animate.model.animate2.attention import attend_driven, merged, merged_by_frames
from animate.model.animate2.transformer import DrivenTransformer
from animate.model.attention import PartialAttention, partial_attention
from animate.model.token_sharding import NoSharding
from animate.parallel.loading import Resident, fill_transformer
from animate.parallel.plan import model_sizes
from animate.weights.checkpoint import empty_transformer
from driven_models import (
    driven_originals,
    their_velocities,
    tiny_inputs,
    tiny_weights,
    velocities,
)
from golden_model import relative_error

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def weights():
    return tiny_weights()


@pytest.mark.parametrize("grid", [(3, 2, 3), (1, 4, 2)])
def test_the_forward_is_that_of_diffusers(weights, grid):
    given = tiny_inputs(grid)
    expected = their_velocities(weights, given)
    found = velocities(DrivenTransformer(weights), given)
    for ours, theirs in zip(found, expected, strict=True):
        assert relative_error(ours, theirs) < TOLERANCE


@pytest.mark.parametrize("merge", [merged, merged_by_frames])
@pytest.mark.parametrize("log_scale", [0.0, -1.3])
def test_attention_is_that_under_a_mask_of_all_tokens(log_scale, merge):
    """Frame f sees every generated token and driving frame f - 1; frame 1's keys are scaled."""
    frames, tokens, heads, size = 3, 5, 2, 8
    generator = torch.Generator().manual_seed(3)
    shapes = [(1, (1 + frames) * tokens, heads, size)] * 3 + [(1, frames, tokens, heads, size)] * 2
    q, k, v, driving_k, driving_v = (torch.randn(s, generator=generator) for s in shapes)
    expected = masked(q, k, v, driving_k, driving_v, log_scale)
    found = attend_driven(partial_attention, merge, q, k, v, (driving_k, driving_v), log_scale)
    assert relative_error(found, expected) < 1e-6


def masked(q, k, v, driving_k, driving_v, log_scale: float) -> torch.Tensor:
    """Return attention under the mask of the definition, in fp64, scores and all."""
    tokens = driving_k.shape[2]
    keys, values = (
        torch.cat((own, driving.flatten(1, 2)), dim=1).double()
        for own, driving in ((k, driving_k), (v, driving_v))
    )
    query_frame = torch.arange(q.shape[1]) // tokens
    own_frame = torch.arange(k.shape[1]) // tokens
    driving_frame = torch.arange(keys.shape[1] - k.shape[1]) // tokens + 1
    bias = torch.zeros(q.shape[1], keys.shape[1], dtype=torch.float64)
    bias[:, : k.shape[1]][:, own_frame == 1] = log_scale
    bias[:, k.shape[1] :][query_frame[:, None] != driving_frame] = -torch.inf
    scores = torch.einsum("bqhd,bkhd->bhqk", q.double(), keys) / q.shape[3] ** 0.5
    return torch.einsum("bhqk,bkhd->bqhd", (scores + bias).softmax(dim=-1), values)


def test_the_distilled_model_scales_the_first_generated_frame(weights):
    given = tiny_inputs((3, 2, 3))

    class Masked(DrivenTransformer):
        """The same forward under the mask."""

        def _block(self, index, block, x, time, own, constants):
            with constants.driving.here(index) as (keys, values):

                def way(q, k, v, heads):
                    return masked(q, k, v, keys, values, constants.log_scale).type_as(q)

                place = constants.length, constants.first_token, constants.frame_tokens
                return block(x, time.blocks, own, constants.rotary, *place, way)

    found, _ = velocities(DrivenTransformer(weights), given, -1.3)
    expected, _ = velocities(Masked(weights), given, -1.3)
    assert relative_error(found, expected) < TOLERANCE
    base, _ = velocities(DrivenTransformer(weights), given)
    assert relative_error(base, expected) > 100 * TOLERANCE


def test_nothing_is_attended_to_after_the_last_keys_and_values_of_the_driving_video(weights):
    given, calls = tiny_inputs((3, 2, 3)), []

    def attend(q, k, v):
        calls.append(q.shape)
        return partial_attention(q, k, v)

    model = DrivenTransformer(weights)
    model.attend_by(attend)
    with torch.inference_mode():
        model.keep_driving(given["driving"], given["driving_image"], given["driving_prompt"])
    assert len(calls) == len(weights.blocks) - 1


@pytest.fixture(scope="module")
def folder(weights, tmp_path_factory):
    """The model in the layout of diffusers."""
    folder = tmp_path_factory.mktemp("driven")
    weights.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("form", ["diffusers", "published", "unwrapped"])
def test_both_official_namings_load(weights, folder, tmp_path, form):
    source = folder
    if form != "diffusers":
        source = tmp_path / "model.safetensors"
        originals = driven_originals(weights, wrapped=form == "published")
        prefix = "model.diffusion_model." if form == "published" else ""
        save_file({prefix + name: tensor for name, tensor in originals.items()}, source)
    model = empty_transformer(folder, torch.float32)
    fill_transformer(model, source, torch.device("cpu"), Resident(model))
    expected = weights.state_dict()
    assert model.state_dict().keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in model.state_dict().items())


def test_what_is_not_the_models_is_named(weights, folder, tmp_path):
    path = tmp_path / "model.safetensors"
    originals = driven_originals(weights, wrapped=True)
    del originals["blocks.3.block.cross_attn.k_img.weight"]
    save_file(originals | {"blocks.0.block.new": torch.ones(1)}, path)
    model = empty_transformer(folder, torch.float32)
    with pytest.raises(ClipError, match=r"missing blocks\.3\.cross_attn\.add_k_proj.*new"):
        fill_transformer(model, path, torch.device("cpu"), Resident(model))
    (tmp_path / "config.json").write_text('{"_class_name": "WanTransformer3DModel"}')
    with pytest.raises(ClipError, match="WanTransformer3DModel, not one of"):
        empty_transformer(tmp_path, torch.float32)


def test_a_kernel_is_taken_that_gives_the_sums_as_well():
    def halved() -> PartialAttention:
        return lambda q, k, v: (partial_attention(q, k, v)[0], partial_attention(q, k, v)[1] / 2)

    def misshapen() -> PartialAttention:
        return lambda q, k, v: (partial_attention(q, k, v)[0], torch.ones(1))

    def absent() -> PartialAttention:
        raise ImportError

    kernels = {"halved": halved, "misshapen": misshapen, "absent": absent}
    cpu = torch.device("cpu")
    assert choose_partial_attention(cpu, 16, kernels=kernels) == ("plain", partial_attention)
    kernels["right"] = lambda: partial_attention
    assert choose_partial_attention(cpu, 16, kernels=kernels)[0] == "right"


def test_blocks_in_fp8_stay_near_those_in_fp32(folder):
    given, found = tiny_inputs((3, 2, 3)), {}
    for precision in ("bf16", "fp8"):
        weights = empty_transformer(folder, torch.float32)
        if precision == "fp8":
            convert_to_fp8(weights, fused=False)
        fill_transformer(weights, folder, torch.device("cpu"), Resident(weights))
        model = DrivenTransformer(weights, ops=choose_ops(NoSharding().attend, precision, False))
        found[precision] = velocities(model, given)
    sizes = model_sizes(model)
    assert (sizes.width, sizes.hidden) == (64, 96)
    # Of the eight layers of each block, one byte a number.
    assert sizes.blocks[0] < 0.6 * model_sizes(DrivenTransformer(tiny_weights())).blocks[0]
    for rounded, exact in zip(found["fp8"], found["bf16"], strict=True):
        assert 1e-3 < relative_error(rounded, exact) < 0.1
