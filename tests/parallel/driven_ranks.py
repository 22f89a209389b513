"""What the ranks of a test compute with Wan-Animate-2: one process's result, shared or streamed."""

from functools import partial
from pathlib import Path

import ranks
from animate.model.animate2.driving import DrivingMemory, ResidentDriving
from animate.model.animate2.transformer import DrivenTransformer
from animate.parallel.driving import StreamedMemory
from driven_models import tiny_inputs, tiny_weights, velocities
from golden_model import relative_error

# Driving tokens (T, H, W), to which the reference's frame is added: of two and of four ranks all
# have as many, some have fewer, and some have none.
GRIDS = ((3, 2, 4), (2, 3, 3), (1, 3, 1))
LOG_SCALE = -1.3


def check_driven(folder: Path) -> None:
    """Every place of weights, keys and values gives what one process gives."""
    whole, folder = folder / "driven", folder / "driven" / "transformer"
    for grid in GRIDS:
        given = tiny_inputs(grid)
        expected = velocities(built(folder, "replicated", None, ResidentDriving), given, LOG_SCALE)
        # The second segment of a clip finds the host memory of the first one.
        streamed = StreamedMemory()
        cases = [("replicated", memory) for memory in (ResidentDriving, streamed, streamed)]
        if grid == GRIDS[0]:
            cases += [(placement, streamed) for placement in ranks.PLACEMENTS[1:]]
        for placement, memory in cases:
            for by_frames in (False, True):
                model = built(folder, placement, grid, memory)
                if by_frames:
                    model.compute_by_frames()
                found = velocities(model, given, LOG_SCALE)
                error = max(map(relative_error, found, expected))
                assert error < ranks.TOLERANCE, (grid, placement, by_frames, memory, error)
        if grid == GRIDS[0]:
            run = partial(velocities, given=given, log_scale=LOG_SCALE)
            for plan, found in ranks.of_every_plan(whole, run):
                error = max(map(relative_error, found, expected))
                assert error < ranks.TOLERANCE, (str(plan), error)


def built(
    folder: Path, placement: str, grid: tuple[int, int, int] | None, memory: DrivingMemory
) -> DrivenTransformer:
    """Return the model of a folder; a `grid` asks for Ulysses."""
    kind = partial(DrivenTransformer, memory=memory)
    return ranks.built(folder, placement, grid, kind=kind)


def write_driven(folder: Path) -> None:
    """Write the transformer that the check reads, beside the first model's."""
    tiny_weights().save_pretrained(folder / "driven" / "transformer")
