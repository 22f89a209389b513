"""What the ranks of a test compute: run by torchrun, each check prints or raises."""

import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from diffusers import AutoencoderKLWan
from safetensors.torch import load_file, save_file
from torch.distributed.tensor import DTensor

from alive import Alive
from animate.config.lora_choice import LoraFile
from animate.demo.model import TRANSFORMER, randomise, write_tiny_model
from animate.devices.world import World
from animate.kernels.attention import choose_attention
from animate.kernels.fp8 import Fp8Linear, convert_to_fp8
from animate.kernels.ops import choose_ops
from animate.model.animate2.attention import attend_driven, merged_by_frames
from animate.model.attention import attention, partial_attention
from animate.model.ops import Ops
from animate.model.token_sharding import NoSharding, TokenSharding
from animate.model.transformer import SamplingTransformer
from animate.model.wan import WanTransformer
from animate.parallel import build
from animate.parallel import plan as memory_plan
from animate.parallel.loading import Resident, fill_transformer
from animate.parallel.offload import Offloaded
from animate.parallel.plan import (
    FSDP2,
    OFFLOAD,
    REPLICATED,
    Plan,
    Sizes,
    Workload,
    model_sizes,
    plan_memory,
    plans,
    transformer_work,
)
from animate.parallel.rows import SharedRows
from animate.parallel.sharding import Sharded
from animate.parallel.ulysses import UlyssesSharding
from animate.parallel.vae_split import SplitCodec
from animate.weights.checkpoint import empty_transformer
from animate.weights.layout import RELIGHTING_LORA
from animate.weights.prepare import prepare
from animate.weights.prepared import COPIES, transformer_folder
from animate.weights.rounding import FP8
from golden_model import DATA, RememberedMotion, load_golden_transformer, relative_error
from wan_codec import WanCodec
from whole_model import load_transformer

CPU = torch.device("cpu")
# Token grids (T, H, W): 64, 45, 63 and 9 tokens; of the 9, two of 4 ranks have none.
GRIDS = ((4, 4, 4), (5, 3, 3), (3, 3, 7), (3, 3, 1))
PLACEMENTS = ("replicated", "fsdp2", "offload", "fsdp2 offload")
TOLERANCE = 1e-6
# One rounding of a bf16 number, relative.
BF16_TOLERANCE = 2**-8


def inputs(grid: tuple[int, int, int]) -> dict[str, torch.Tensor]:
    """Return random conditions for a video of that many tokens."""
    t, h, w = grid[0], 2 * grid[1], 2 * grid[2]
    generator = torch.Generator().manual_seed(1)

    def noise(*shape):
        return torch.randn(shape, generator=generator)

    return {
        "condition_latents": noise(1, 20, t, h, w),
        "pose_latents": noise(1, 16, t - 1, h, w),
        "face": noise(1, 3, 4 * (t - 2) + 1, 32, 32).tanh(),
        "image_embeds": noise(1, 257, TRANSFORMER["image_dim"]),
        "prompt_embeds": noise(1, 7, TRANSFORMER["text_dim"]),
    }


@torch.inference_mode()
def velocity(model: SamplingTransformer, grid: tuple[int, int, int]) -> torch.Tensor:
    """Return the guided and the unguided output, one after the other."""
    given = inputs(grid)
    t, h, w = grid[0], 2 * grid[1], 2 * grid[2]
    latents = torch.randn(1, 16, t, h, w, generator=torch.Generator().manual_seed(2))
    guided = model.segment_constants(**given)
    unguided = model.unguided_constants(guided, given["face"].shape[2], -given["prompt_embeds"])
    time = model.time_embedding(torch.tensor([700.0]))
    return torch.cat([model(latents, time, constants) for constants in (guided, unguided)])


def built(
    folder: Path,
    placement: str,
    grid: tuple[int, int, int] | None = None,
    precision: torch.dtype = torch.float32,
    loras: tuple = (),
    widened: bool = False,
    kind: Callable[..., WanTransformer] = SamplingTransformer,
) -> WanTransformer:
    """Return the model of a transformer's folder; a `grid` asks for Ulysses over its tokens."""
    world = World(dist.get_rank(), dist.get_world_size())
    weights = empty_transformer(folder, torch.bfloat16 if precision == FP8 else precision)
    sharding = UlyssesSharding(4) if grid else NoSharding()
    if precision == FP8:
        convert_to_fp8(weights, False, widened)
    model = kind(weights, sharding, plain_ops(sharding, precision, widened))
    store = {
        "replicated": lambda: Resident(weights),
        "fsdp2": lambda: Sharded(weights, model, CPU),
        "offload": lambda: Offloaded(weights, model, CPU),
        "fsdp2 offload": lambda: Sharded(weights, model, CPU, on_host=True),
    }[placement]()
    fill_transformer(weights, folder, CPU, store, loras, world=world)
    return model


def plain_ops(sharding: TokenSharding, precision: torch.dtype, widened: bool = False) -> Ops:
    """Return the operations of a model in that precision, without our kernels."""
    name = "fp8" if precision == FP8 else "bf16"
    return choose_ops(sharding.attend, name, fused=False, widened=widened)


def check_forward(folder: Path) -> None:
    """Every placement, with and without Ulysses, gives what one process gives."""
    folder = folder / "transformer"
    for grid in GRIDS:
        expected = velocity(built(folder, "replicated"), grid)
        for placement in PLACEMENTS:
            for ulysses in (None, grid):
                result = velocity(built(folder, placement, ulysses), grid)
                error = relative_error(result, expected)
                assert error < TOLERANCE, (grid, placement, ulysses, error)
                model = built(folder, placement, ulysses)
                model.compute_by_frames()
                error = relative_error(velocity(model, grid), expected)
                assert error < TOLERANCE, (grid, placement, ulysses, "by frames", error)


def check_plans(folder: Path) -> None:
    """A model that is built by any plan gives what one process gives."""
    grid = GRIDS[0]
    expected = velocity(built(folder / "transformer", "replicated"), grid)
    for plan, found in of_every_plan(folder, lambda model: velocity(model, grid)):
        error = relative_error(found, expected)
        assert error < TOLERANCE, (str(plan), error)


def of_every_plan(
    folder: Path, run: Callable[[WanTransformer], torch.Tensor]
) -> Iterator[tuple[Plan, torch.Tensor]]:
    """Yield each plan of a model's folder, with what `run` makes of the model built by it."""
    world, left = World(dist.get_rank(), dist.get_world_size()), None
    workload, decide = Workload(64, 64, 45), build.common_plan
    # Less by frames, as it is with the published models.
    less = {"transformer_work": lambda *lengths: 2 - lengths[5], "vae_work": lambda *lengths: 0}
    works = {name: getattr(memory_plan, name) for name in less}
    for name, work in less.items():
        setattr(memory_plan, name, work)

    def decided(model: WanTransformer, *_) -> Plan:
        nonlocal left
        if left is None:
            pixels = workload.width * workload.height
            lengths = workload.tokens, pixels, workload.frames, world.size
            left = plans(model_sizes(model), *lengths)
            ways = {(plan.placement, plan.by_frames) for plan in left}
            placements = {REPLICATED, OFFLOAD} | ({FSDP2} if world.size > 1 else set())
            assert ways == {*product(placements, (False, True))}, ways
        return left[0]

    build.common_plan = decided
    while left is None or left:
        model = build.build_transformer(folder, torch.float32, CPU, [], world, workload, _nothing)
        plan = left.pop(0)
        assert model.how["placement"] == plan.placement
        assert model.how.get("by_frames", False) == plan.by_frames
        yield plan, run(model.model)
    build.common_plan = decide
    for name, work in works.items():
        setattr(memory_plan, name, work)


def _nothing(said: str) -> None:
    pass


@torch.inference_mode()
def check_memory() -> None:
    """By frames a rank's part of a block takes no more than is planned, nor much less."""
    from test_by_frames import FRAME, HEADS, HIDDEN, LATENT_FRAMES, WIDTH, given, random_block

    count, tokens = dist.get_world_size(), FRAME * LATENT_FRAMES
    sharding = UlyssesSharding(HEADS) if count > 1 else NoSharding()
    block = random_block(sharding.attend).bfloat16()
    block.compute_by_frames(sharding.attend_over)
    own = sharding.shard(torch.zeros(1, tokens, 1))
    assert own.untyped_storage().nbytes() == own.nbytes, "all tokens are kept"
    shape = 2, 1, LATENT_FRAMES - 1, FRAME, HEADS // count, WIDTH // HEADS
    driving = torch.zeros(shape, dtype=torch.bfloat16)
    kept_apart = torch.nn.ParameterList([torch.nn.Parameter(driving, requires_grad=False)])

    def compiled(shared, own):
        # As compiled code does, it makes nothing but the result.
        return shared[0][0].clone()

    def driven(merge, q, k, v, heads):
        seen = driving[..., heads, :].unbind(0)
        return attend_driven(partial_attention, merge, q, k, v, seen, -1.3)

    ways = [(None, 0), *((partial(driven, merge), 1) for merge in (compiled, merged_by_frames))]
    for way, kept in ways:
        inputs = given(block, sharding.first_token(tokens), own.shape[1])
        sizes = Sizes((0,), 0, WIDTH, HIDDEN, kept)
        lengths = tokens, 4 * (LATENT_FRAMES - 2) + 1, count, 1
        planned = transformer_work(sizes, *lengths, by_frames=True)
        # What is kept of the driving video is counted apart.
        with Alive(inputs[0], others=kept_apart) as alive:
            block(*inputs, way)
        # The embedded condition of a driven model lies beside the block's input.
        found = alive.peak + 4 * WIDTH * own.shape[1] * kept
        assert 0.6 * planned < found <= planned, (way, found, planned)


def check_load(folder: Path) -> None:
    """Placements hold the same bits, of the original and of its copies, LoRA merged or not.

    One process that reads and rounds by plain calls has the same, but for rounding with Ulysses.
    """
    original, copy = folder / "transformer", transformer_folder(folder, None)
    assert copy == folder / COPIES["bf16"]
    cases = [(original, placement) for placement in PLACEMENTS] + [(copy, "replicated")]
    rounded = transformer_folder(folder, "fp8")
    assert rounded == folder / COPIES["fp8"]
    for precision in (torch.bfloat16, FP8, torch.float32):
        for loras in ((), [LoraFile(folder / RELIGHTING_LORA, 0.5)]):
            expected = velocity(plainly_loaded(original, precision, loras), GRIDS[3])
            # In fp32 only what is read matters; `check_forward` has the placements.
            kinds = cases if precision != torch.float32 else cases[-1:]
            if precision == FP8 and not loras:
                kinds = [*kinds, *((rounded, placement) for placement in PLACEMENTS)]
            for source, placement in kinds:
                model = built(source, placement, None, precision, loras)
                case = precision, loras, source, placement
                assert torch.equal(velocity(model, GRIDS[3]), expected), case
                if placement == "fsdp2 offload":
                    assert len(shard_buffers(model)) == 1, "FSDP2 pinned copies of its own"
            if precision == torch.bfloat16:
                for placement in PLACEMENTS:
                    model = built(original, placement, GRIDS[3], precision, loras)
                    error = relative_error(velocity(model, GRIDS[3]), expected)
                    assert error < BF16_TOLERANCE, (placement, loras, error)


def check_widened(folder: Path) -> None:
    """Weights in fp8 that are multiplied back are the same bits everywhere, from either source."""
    sources = folder / "transformer", transformer_folder(folder, "fp8")
    expected = None
    for source in sources:
        for placement in PLACEMENTS:
            model = built(source, placement, None, FP8, widened=True)
            found = velocity(model, GRIDS[3])
            expected = found if expected is None else expected
            assert torch.equal(found, expected), (source, placement)


def shard_buffers(model: SamplingTransformer) -> set[int]:
    """Return the addresses of the memory that holds this rank's shards, where they are even."""
    shards = [p for p in model.parameters() if isinstance(p, DTensor)]
    even = [p for p in shards if p.shape[0] % dist.get_world_size() == 0]
    return {p.to_local().untyped_storage().data_ptr() for p in even}


def plainly_loaded(folder: Path, precision: torch.dtype, loras) -> SamplingTransformer:
    """Return the model with all its weights merged in fp32 here, and rounded at the end."""
    dtype = torch.bfloat16 if precision == FP8 else precision
    types = {name: p.dtype for name, p in empty_transformer(folder, dtype).named_parameters()}
    weights = load_transformer(folder, torch.float32, CPU, loras)
    if precision == FP8:
        convert_to_fp8(weights, fused=False)
    model = SamplingTransformer(weights, ops=plain_ops(NoSharding(), precision))
    for module in model.modules():
        if isinstance(module, Fp8Linear):
            module.compute_dtype = dtype
    for name, parameter in weights.named_parameters():
        if parameter.dtype != FP8 and name in types:
            parameter.data = parameter.data.to(types[name])
    return model


def check_agree(folder: Path) -> None:
    """Ranks with different free memory, and kernels that work on one of them, choose alike."""
    world = World(dist.get_rank(), dist.get_world_size())
    workload = Workload(16 * 4, 16 * 4, 13)
    empty = SamplingTransformer(empty_transformer(folder / "transformer", torch.float32))
    segment = (workload.tokens, workload.width * workload.height, workload.frames)
    needed = plan_memory(model_sizes(empty), *segment, None, world.size).peak
    build.free_memory = lambda device: needed - world.rank
    said = []
    where = torch.float32, CPU, [], world
    model = build.build_transformer(folder, *where, workload, said.append).model
    assert "weights replicated" not in said[0], said
    grid = (workload.frames // 4 + 2, 4, 4)
    expected = velocity(built(folder / "transformer", "replicated"), grid)
    assert relative_error(velocity(model, grid), expected) < TOLERANCE

    def broken():
        raise ImportError

    kernels = {
        "of rank 0": (lambda: attention) if world.leads else broken,
        "wrong on the last": lambda: (
            (lambda q, k, v: attention(q, k, -v)) if world.rank == world.size - 1 else attention
        ),
        "of all": lambda: attention,
        "slower": lambda: attention,
    }
    assert choose_attention(CPU, 16, world, kernels)[0] == "of all"
    del kernels["of all"], kernels["slower"]
    assert choose_attention(CPU, 16, world, kernels)[0] == "plain"


def check_vae() -> None:
    """Rows on several ranks give what diffusers gives in one process, bit for bit or nearly."""
    vae = AutoencoderKLWan(base_dim=8, num_res_blocks=1)
    randomise(vae, 0)
    vae.eval()
    whole, split = WanCodec(vae), SplitCodec(vae, dist.get_world_size())
    generator = torch.Generator().manual_seed(3)
    # Latents of 2, 4 and 7 rows: of 3 and 5 ranks, some have none of their own.
    for height in (16, 32, 56):
        video = torch.rand(1, 3, 13, height, 32, generator=generator) * 2 - 1
        latents = torch.randn(1, 16, 4, height // 8, 4, generator=generator)
        with torch.inference_mode():
            assert relative_error(split.encode(video), whole.encode(video)) < 1e-5
            decoded = [torch.cat([*codec.decode(latents)], 2) for codec in (split, whole)]
            assert relative_error(*decoded) < 1e-5


@torch.inference_mode()
def check_messages() -> None:
    """A segment's videos are encoded to one rank's bits, and ranks tell each other little."""
    vae = AutoencoderKLWan(base_dim=8, num_res_blocks=1)
    randomise(vae, 0)
    count = dist.get_world_size()
    alone, split = SplitCodec(vae), SplitCodec(vae, count)
    generator = torch.Generator().manual_seed(3)
    one, other = (torch.rand(1, 3, 13, 64, 32, generator=generator) * 2 - 1 for _ in range(2))
    calls = {"all_gather": 0, "batch_isend_irecv": 0}
    called = {name: getattr(dist, name) for name in calls}

    def counting(name: str):
        def call(*arguments):
            calls[name] += 1
            return called[name](*arguments)

        return call

    for name in calls:
        setattr(dist, name, counting(name))
    # Pieces of 1, 4, 4 and 4 frames; the middle's attention is over all rows.
    pieces = 4
    both = split.encode_both([one[:, :, :5], one[:, :, 5:]], [other])
    if count == 2:
        assert calls == {"all_gather": 1, "batch_isend_irecv": 0}, calls
    else:
        assert calls["all_gather"] == 2 * (pieces + 1), calls
    for latents, video in zip(both, (one, other), strict=True):
        error = relative_error(latents, alone.encode(video))
        assert error == 0 if count == 2 else error < 1e-5, error
    banded = SplitCodec(vae, count, in_bands=True).encode_both([one], [other])
    assert relative_error(torch.cat(banded), torch.cat(both)) < 1e-5
    nothing = torch.zeros(1, 1, 1, 1, 1).expand_as(one)
    for _ in range(2):
        calls["all_gather"] = 0
        latents, pose = split.encode_both([nothing], [other])
        assert torch.equal(pose, both[1])
        error = relative_error(latents, alone.encode(nothing.clone()))
        assert error == 0 if count == 2 else error < 1e-5, error
    # Two ranks tell each other what only one of them has; more keep what all have.
    assert calls["all_gather"] == (1 if count == 2 else pieces + 1), calls
    calls["all_gather"] = 0
    for _ in split.decode(both[0]):
        pass
    assert calls["all_gather"] == 2 * pieces, calls
    for name, function in called.items():
        setattr(dist, name, function)


def check_rows() -> None:
    """The rows of all ranks are the picture, for counts that do not divide or do not suffice."""
    for units in (7, 2):
        picture = torch.arange(1.0, units + 1).view(1, units, 1, 1).expand(2, units, 3, 1)
        rows = SharedRows(units)
        own = rows.take(picture, 1)
        assert torch.equal(rows.gather(own, 1), picture)
        first, last = int(own[0, 0, 0, 0]), int(own[0, -1, 0, 0])
        for above, below in ((1, 1), (0, 1)):
            edged = rows.with_halo(own, 1, above, below)
            expected = [n if n <= units else 0 for n in range(first - above, last + below + 1)]
            assert torch.equal(edged, torch.tensor(expected).view(1, -1, 1, 1).expand_as(edged))


def check_golden(folder: Path) -> None:
    """The official loop's results, with the tokens on all ranks."""
    from test_golden_sampling import TOLERANCE, sample_golden_run

    mine = folder / f"golden_{dist.get_rank()}"
    weights = load_golden_transformer(mine)
    for path in sorted(DATA.glob("generate_*.npz")):
        data = np.load(path)
        model = SamplingTransformer(weights, UlyssesSharding(weights.config.num_attention_heads))
        model.motion_encoder = RememberedMotion()
        error = relative_error(sample_golden_run(model, data), torch.from_numpy(data["frames"]))
        assert error < TOLERANCE, (path.name, error)


CHECKS = {
    "forward": check_forward,
    "load": check_load,
    "widened": check_widened,
    "plans": check_plans,
    "memory": lambda folder: check_memory(),
    "agree": check_agree,
    "vae": lambda folder: check_vae(),
    "messages": lambda folder: check_messages(),
    "rows": lambda folder: check_rows(),
    "golden": check_golden,
    "driven": lambda folder: driven_ranks.check_driven(folder),
}


# Imported here because it uses this module.
import driven_ranks  # noqa: E402


def write_transformer(folder: Path) -> None:
    """Write a model folder with the transformer that the checks read, its copy and its LoRA.

    Its fp32 numbers are bf16 ones, so that a copy in bf16 is lossless.
    """
    write_tiny_model(folder, face_size=32)
    for path in (folder / "transformer").glob("*.safetensors"):
        tensors = {name: tensor.bfloat16().float() for name, tensor in load_file(path).items()}
        save_file(tensors, path, {"format": "pt"})
    prepare(folder)
    prepare(folder, "fp8")
    driven_ranks.write_driven(folder)


if __name__ == "__main__":
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    for check in sys.argv[2:]:
        CHECKS[check](Path(sys.argv[1]))
        if not dist.get_rank():
            print(f"{check} passed on {os.environ['WORLD_SIZE']} ranks", flush=True)
    dist.destroy_process_group()
