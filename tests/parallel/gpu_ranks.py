"""What ranks with a GPU each compute: run by torchrun, each check prints or raises."""

import sys
from pathlib import Path

import torch
from diffusers import WanAnimateTransformer3DModel

import ranks
from animate.model.checkpoint import empty_transformer
from animate.model.tiny import TRANSFORMER, randomise
from animate.model.transformer import SamplingTransformer
from animate.parallel import sampler
from animate.parallel.exchange import Messages, choose_exchange
from animate.parallel.plan import model_sizes, plan_memory
from animate.parallel.sampler import Load, load_sampler
from animate.parallel.ulysses import UlyssesSequence
from animate.parallel.world import ALONE, World, join_world
from golden_model import relative_error

HEADS, CALLS, CYCLES = 8, 12, 20_000_000
# Tokens: even, uneven and fewer than ranks would like.
LENGTHS = (4096, 1001, 17)
# The heads are as large as the published model's: the fast kernels take no others.
MODEL = TRANSFORMER | {
    "num_attention_heads": HEADS,
    "attention_head_dim": 128,
    "added_kv_proj_dim": 1024,
    "ffn_dim": 2048,
    "num_layers": 10,
    "motion_encoder_size": 32,
}
GRID, FRAMES = (5, 6, 7), 13
TOLERANCE = 5e-3


@torch.inference_mode()
def check_exchange(world: World, device: torch.device) -> None:
    """Copies bring what messages bring, bit for bit, whichever rank's whole step is late."""
    name, copies = choose_exchange(device)
    assert name == "copy engines", f"{name}: these GPUs are not joined by NVLink"
    for length in LENGTHS:
        results = []
        for exchange in (Messages(), copies):
            sequence = UlyssesSequence(HEADS, exchange=exchange)
            own = torch.zeros(1, length, HEADS, 128, device=device, dtype=torch.bfloat16)
            shape = sequence.shard(own).shape
            generator = torch.Generator(device).manual_seed(world.rank)
            results.append([])
            for call in range(CALLS):
                q, k, v = torch.randn(3, *shape, device=device, generator=generator).bfloat16()
                if call % world.size == world.rank:
                    torch.cuda._sleep(CYCLES)
                results[-1].append(sequence.attend(q, k, v, length))
        for call, (expected, result) in enumerate(zip(*results, strict=True)):
            assert torch.equal(expected, result), (length, call)


def check_sampler(world: World, device: torch.device, folder: Path) -> None:
    """The sampler as it is loaded for a clip, replicated and sharded, gives what one GPU gives."""
    load = Load(16 * GRID[2], 16 * GRID[1], FRAMES)
    expected = velocity(load_sampler(folder, torch.bfloat16, device, [], ALONE, load))
    empty = empty_transformer(folder / "transformer", torch.bfloat16)
    sizes = model_sizes(SamplingTransformer(empty))
    segment = (load.tokens, load.width * load.height, load.frames)
    needed = plan_memory(sizes, *segment, None, world.size).peak
    for placement, memory in (("replicated", needed), ("fsdp2", needed - 1)):
        said = []
        sampler.free_memory = lambda device, memory=memory: memory
        model = load_sampler(folder, torch.bfloat16, device, [], world, load, said.append)
        assert f"{world.size} cuda ranks by copy engines, weights {placement}" in said[0]
        error = relative_error(velocity(model), expected)
        assert error < TOLERANCE, (placement, error)


@torch.inference_mode()
def velocity(model) -> torch.Tensor:
    """Return the output for random conditions."""
    given = {name: x.to(model.device) for name, x in ranks.inputs(GRID).items()}
    t, h, w = GRID
    generator = torch.Generator().manual_seed(2)
    latents = torch.randn(1, 16, t, 2 * h, 2 * w, generator=generator).to(model.device)
    constants = model.segment_constants(**given)
    return model(latents, model.time_embedding(torch.tensor([700.0])), constants).cpu()


def write_model(folder: Path) -> None:
    """Write the transformer that the checks read."""
    model = WanAnimateTransformer3DModel(**MODEL)
    randomise(model, 0)
    model.save_pretrained(folder / "transformer")


if __name__ == "__main__":
    with join_world("cuda") as joined:
        gpu = torch.device("cuda", joined.local_rank)
        check_exchange(joined, gpu)
        check_sampler(joined, gpu, Path(sys.argv[1]))
        if joined.leads:
            print(f"passed on {joined.size} GPUs", flush=True)
