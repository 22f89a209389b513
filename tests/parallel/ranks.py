"""What the ranks of a test compute: run by torchrun, each check prints or raises."""

import os
import sys
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from diffusers import AutoencoderKLWan, WanAnimateTransformer3DModel

from animate.model.checkpoint import Resident, empty_transformer, fill_transformer
from animate.model.tiny import TRANSFORMER, randomise
from animate.model.transformer import SamplingTransformer
from animate.model.vae import WanCodec
from animate.parallel.offload import Offloaded
from animate.parallel.rows import SharedRows
from animate.parallel.sharding import Sharded
from animate.parallel.ulysses import UlyssesSequence
from animate.parallel.vae_split import SplitCodec
from golden_model import DATA, RememberedMotion, load_golden_transformer, relative_error

CPU = torch.device("cpu")
# Token grids (T, H, W): 64, 45, 63 and 9 tokens; of the 9, two of 4 ranks have none.
GRIDS = ((4, 4, 4), (5, 3, 3), (3, 3, 7), (3, 3, 1))
TOLERANCE = 1e-6


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


def built(folder: Path, placement: str, grid: tuple[int, int, int] | None) -> SamplingTransformer:
    """Return the model of a folder; a `grid` asks for Ulysses over that many tokens."""
    weights = empty_transformer(folder, torch.float32)
    sequence = UlyssesSequence(int(np.prod(grid)), 4) if grid else None
    model = SamplingTransformer(weights, sequence)
    store = {
        "replicated": lambda: Resident(weights),
        "fsdp2": lambda: Sharded(weights, model, CPU),
        "offload": lambda: Offloaded(weights, model, CPU),
        "fsdp2 offload": lambda: Sharded(weights, model, CPU, on_host=True),
    }[placement]()
    fill_transformer(weights, folder, CPU, store)
    model.scale_shift_table = weights.scale_shift_table
    if placement == "offload":
        store.attach(model)
    return model


def check_forward(folder: Path) -> None:
    """Every placement, with and without Ulysses, gives what one process gives."""
    for grid in GRIDS:
        expected = velocity(built(folder, "replicated", None), grid)
        for placement in ("replicated", "fsdp2", "offload", "fsdp2 offload"):
            for ulysses in (None, grid):
                result = velocity(built(folder, placement, ulysses), grid)
                error = relative_error(result, expected)
                assert error < TOLERANCE, (grid, placement, ulysses, error)


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
            assert relative_error(split.decode(latents), whole.decode(latents)) < 1e-5


def check_rows() -> None:
    """The rows of all ranks are the picture, for counts that do not divide or do not suffice."""
    for units in (7, 2):
        picture = torch.arange(1.0, units + 1).view(1, units, 1, 1).expand(2, units, 3, 1)
        rows = SharedRows(units)
        own = rows.take(picture, 1)
        assert torch.equal(rows.gather(own, 1), picture)
        first, last = int(own[0, 0, 0, 0]), int(own[0, -1, 0, 0])
        for above, below in ((1, 1), (0, 1)):
            edged = rows.padded(own, 1, above, below)
            expected = [n if n <= units else 0 for n in range(first - above, last + below + 1)]
            assert torch.equal(edged, torch.tensor(expected).view(1, -1, 1, 1).expand_as(edged))


def check_golden(folder: Path) -> None:
    """The official loop's results, with the tokens on all ranks."""
    from test_golden_sampling import TOLERANCE, sample_golden_run

    mine = folder / f"golden_{dist.get_rank()}"
    weights = load_golden_transformer(mine)
    for path in sorted(DATA.glob("generate_*.npz")):
        data = np.load(path)
        _, h, w = data["frames"].shape[1:]
        length = golden_tokens(data, h, w)
        model = SamplingTransformer(
            weights, UlyssesSequence(length, weights.config.num_attention_heads)
        )
        model.motion_encoder = RememberedMotion()
        error = relative_error(sample_golden_run(model, data), torch.from_numpy(data["frames"]))
        assert error < TOLERANCE, (path.name, error)


def golden_tokens(data, height: int, width: int) -> int:
    """Return the tokens of a segment of a recorded run."""
    import json

    frames = json.loads(str(data["settings"]))["segment_length"]
    return (frames // 4 + 2) * (height // 16) * (width // 16)


CHECKS = {
    "forward": check_forward,
    "vae": lambda folder: check_vae(),
    "rows": lambda folder: check_rows(),
    "golden": check_golden,
}


def write_transformer(folder: Path) -> None:
    """Write the tiny transformer that the checks read."""
    model = WanAnimateTransformer3DModel(**TRANSFORMER | {"motion_encoder_size": 32})
    randomise(model, 0)
    model.save_pretrained(folder)


if __name__ == "__main__":
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    for check in sys.argv[2:]:
        CHECKS[check](Path(sys.argv[1]))
        if not dist.get_rank():
            print(f"{check} passed on {os.environ['WORLD_SIZE']} ranks", flush=True)
    dist.destroy_process_group()
