"""Where memory is short, the transformer takes a frame's tokens at a time."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from diffusers import WanAnimateTransformer3DModel

from alive import Alive
from animate.demo.model import write_tiny_model
from animate.devices.world import ALONE
from animate.kernels.compile import compile_blocks
from animate.model.block import BlockConditions, SamplingBlock
from animate.model.ops import Ops
from animate.model.token_sharding import NoSharding
from animate.parallel import build, plan
from animate.parallel.plan import Sizes, Workload, plan_memory, transformer_work
from ranks import velocity

CPU = torch.device("cpu")
WIDTH, HIDDEN, HEADS, FRAME, LATENT_FRAMES = 512, 1382, 4, 256, 9


@pytest.mark.parametrize("precision", ["bf16", "fp8"])
def test_a_model_that_is_planned_so_gives_the_same(tmp_path, monkeypatch, precision):
    write_tiny_model(tmp_path, face_size=32)
    # A transformer that takes more than the VAE, as it does at 1280x720.
    monkeypatch.setattr(plan, "vae_work", lambda *lengths: 0)
    monkeypatch.setattr(build, "multiplies_fp8", lambda device: True)
    tiny, outputs, memory = Workload(64, 64, 45, precision=precision), [], None
    monkeypatch.setattr(build, "free_memory", lambda device: memory)
    planned = []

    def kept(*args):
        planned.append(plan_memory(*args))
        return planned[-1]

    monkeypatch.setattr(build, "plan_memory", kept)
    dtype = torch.float32 if precision == "bf16" else torch.bfloat16
    for _ in range(3):
        made = build.build_transformer(tmp_path, dtype, CPU, [], ALONE, tiny, lambda said: None)
        outputs.append(velocity(made.model, (5, 4, 4)))
        memory = planned[-1].peak - 1
    ways = [(one.placement, one.by_frames) for one in planned]
    # These weights take less than what is saved by frames, which therefore comes first.
    assert ways == [("replicated", False), ("replicated", True), ("offload", True)]
    assert made.how["by_frames"] and "computed by latent frames" in str(planned[-1])
    assert torch.equal(outputs[1], outputs[2])
    error = (outputs[1] - outputs[0]).norm() / outputs[0].norm()
    assert error < (1e-5 if precision == "bf16" else 0.02)


@pytest.fixture
def block():
    return random_block(NoSharding().attend)


def random_block(attend: Callable) -> SamplingBlock:
    """Return a block with random weights in fp32 whose self-attention `attend` computes."""
    with torch.device("meta"):
        weights = WanAnimateTransformer3DModel(
            num_layers=1,
            num_attention_heads=HEADS,
            attention_head_dim=WIDTH // HEADS,
            ffn_dim=HIDDEN,
            added_kv_proj_dim=WIDTH,
            inject_face_latents_blocks=1,
            face_encoder_num_heads=HEADS,
        )
    block = SamplingBlock(weights.blocks[0], weights.face_adapter[0], Ops(attend))
    block = block.to_empty(device="cpu").requires_grad_(False)
    torch.manual_seed(0)
    for parameter in block.parameters():
        parameter.normal_(std=parameter.shape[-1] ** -0.5)
    return block


def given(block: SamplingBlock, first_token: int, length: int) -> tuple:
    """Return what a block's forward takes, of tokens that begin with `first_token`."""
    dtype = block.block.attn2.to_k.weight.dtype
    draw = partial(torch.randn, generator=torch.Generator().manual_seed(1))
    conditions = draw(1, 64, WIDTH), draw(1, 257, WIDTH), draw(1, LATENT_FRAMES, 5, WIDTH)
    text, image, face = (x.to(dtype) for x in conditions)
    constants = block.constants(BlockConditions(text, 448, image, face))
    angles = draw(1, length, 1, WIDTH // HEADS // 2)
    time = draw(1, 6, WIDTH)
    place = FRAME * LATENT_FRAMES, first_token, FRAME
    return draw(1, length, WIDTH), time, constants, (angles.cos(), angles.sin()), *place


@torch.inference_mode()
@pytest.mark.parametrize("attend_over", [NoSharding().attend_over, None])
@pytest.mark.parametrize(
    ("first_token", "length"),
    [
        (0, FRAME * LATENT_FRAMES),
        (100, 3 * FRAME + 7),
        # A shard that is padded beyond the last frame.
        (FRAME * (LATENT_FRAMES - 1) - 9, 2 * FRAME + 50),
    ],
)
def test_a_block_gives_the_same_for_any_shard(block, first_token, length, attend_over):
    expected = block(*given(block, first_token, length))
    block.compute_by_frames(attend_over)
    found = block(*given(block, first_token, length))
    assert torch.allclose(found, expected, rtol=1e-5, atol=1e-4)
    assert not torch.allclose(given(block, first_token, length)[0], expected, atol=0.1)


@torch.inference_mode()
def test_compiled_code_serves_every_frame(block, monkeypatch):
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    inputs = partial(given, block, 0, FRAME * LATENT_FRAMES)
    expected = block(*inputs())
    block.compute_by_frames(NoSharding().attend_over)
    model = torch.nn.Module()
    model.blocks = [block]
    counted = torch._dynamo.utils.counters["stats"]
    for any_length in (True, False):
        torch._dynamo.reset()
        compile_blocks(model, any_length)
        before = counted["unique_graphs"]
        assert torch.allclose(block(*inputs()), expected, rtol=1e-5, atol=1e-4)
        assert counted["unique_graphs"] - before == 3


@torch.inference_mode()
def test_a_block_takes_no_more_memory_than_is_planned(block):
    block.bfloat16()
    tokens = FRAME * LATENT_FRAMES
    sizes = Sizes((0,), 0, WIDTH, HIDDEN)
    planned = transformer_work(sizes, tokens, 4 * (LATENT_FRAMES - 2) + 1, 1, 1, by_frames=True)
    inputs = given(block, 0, tokens)
    whole = taken(block, inputs)
    block.compute_by_frames(NoSharding().attend_over)
    by_frames = taken(block, inputs)
    assert 0.7 * planned < by_frames <= planned
    # Of all tokens there are then the stream, keys and values. A whole block's conditions come on
    # top, which the model otherwise holds meanwhile.
    assert by_frames < 0.45 * (whole + 4 * WIDTH * tokens)


def taken(block: SamplingBlock, inputs: tuple) -> int:
    """Return the most bytes alive at once in a block's forward, its input's included."""
    with Alive(inputs[0]) as alive:
        block(*inputs)
    return alive.peak
