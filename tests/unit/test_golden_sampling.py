"""Our forward and loop return what the official implementation returned, to rounding."""

import json

import numpy as np
import pytest
import torch

from animate.model.checkpoint import load_transformer
from animate.model.convert import convert_transformer
from animate.model.image import fit_reference
from animate.model.transformer import SamplingTransformer
from animate.sampling.conditions import SegmentFrames, to_video
from animate.sampling.loop import Painter, paint_clip
from animate.sampling.segments import plan_segments
from animate.sampling.settings import SamplingSettings
from animate.sampling.solvers import make_solver
from golden_model import DATA, ToyCodec, enlarge, relative_error, write_original_transformer

TOLERANCE = 1e-5
CPU = torch.device("cpu")
RUNS = ("animate_1", "animate_5", "replace_1", "replace_5")


@pytest.fixture(scope="module")
def diffusers_folder(tmp_path_factory):
    """The golden transformer, from original naming through our conversion."""
    folder = tmp_path_factory.mktemp("golden")
    write_original_transformer(folder / "original")
    convert_transformer(folder / "original", folder / "diffusers")
    return folder / "diffusers"


@pytest.fixture(scope="module")
def transformer(diffusers_folder):
    return SamplingTransformer(load_transformer(diffusers_folder, torch.float32, CPU))


@pytest.mark.parametrize("case", [0, 1, 2])
def test_forward_equals_official(transformer, case):
    data = np.load(DATA / "transformer_forward.npz")

    def get(name):
        return torch.from_numpy(data[f"{case}_{name}"])

    with torch.inference_mode():
        constants = transformer.segment_constants(
            get("condition_latents")[None],
            get("pose_latents")[None],
            enlarge(get("face")),
            get("image_embeds"),
            get("prompt_embeds")[None],
        )
        time = transformer.time_embedding(get("timestep")[None])
        result = transformer(get("noisy_latents")[None], time, constants)[0]
    assert relative_error(result, get("output")) < TOLERANCE


@pytest.mark.parametrize("run", RUNS)
def test_sampling_loop_equals_official(transformer, run):
    data = np.load(DATA / f"generate_{run}.npz")
    result = sample_golden_run(transformer, data)
    assert result.shape == data["frames"].shape
    assert relative_error(result, torch.from_numpy(data["frames"])) < TOLERANCE


def sample_golden_run(transformer, data) -> torch.Tensor:
    """Return the frames (3, N, h, w) of one recorded run, through our loop."""
    stored = json.loads(str(data["settings"]))
    settings = SamplingSettings(
        segment_frames=stored["segment_length"],
        steps=stored["steps"],
        guidance_scale=stored["guidance_scale"],
        conditioning_frames=stored["conditioning_frames"],
        shift=stored["shift"],
        solver=stored["solver"],
        seed=stored["seed"],
    )
    reference = fit_reference(data["reference"], stored["width"], stored["height"])
    painter = Painter(
        transformer,
        ToyCodec(),
        settings,
        to_video(reference[None])[:, :, 0],
        torch.from_numpy(data["image_embeds"]),
        torch.from_numpy(data["prompt_embeds"])[None],
        torch.from_numpy(data["negative_prompt_embeds"])[None],
    )
    replacing = stored["mode"] == "replace"

    def read(segment):
        rows = segment.sources
        face = data["face"][rows].repeat(64, axis=1).repeat(64, axis=2)
        given = [data[name][rows] for name in ("background", "mask")] if replacing else []
        return SegmentFrames(data["pose"][rows], face, *given)

    segments = plan_segments(
        stored["frames"], settings.segment_frames, settings.conditioning_frames
    )
    parts = [
        frames[0, :, segment.overlap : segment.overlap + segment.new_frames]
        for segment, frames in paint_clip(painter, segments, read)
    ]
    return torch.cat(parts, dim=1)


@pytest.mark.parametrize("solver", ["unipc", "dpm++"])
@pytest.mark.parametrize("steps", [4, 10, 20, 30])
def test_schedule_equals_official(solver, steps):
    expected = json.loads((DATA / "solver_schedule_shift5.json").read_text())[str(steps)][solver]
    scheduler = make_solver(solver, steps, shift=5.0)
    assert scheduler.timesteps.tolist() == expected["timesteps"]
    assert relative_error(scheduler.sigmas, torch.tensor(expected["sigmas"])) < 1e-6
