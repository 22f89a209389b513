"""Our forward and loop return what the official implementation returned, to rounding."""

import copy
import json

import numpy as np
import pytest
import torch

from animate.config.settings import SamplingSettings
from animate.model.image import fit_reference
from animate.model.transformer import SamplingTransformer
from animate.model.vae import in_range
from animate.sampling.conditions.frames import SegmentFrames, as_video
from animate.sampling.conditions.posed import PosedConditions
from animate.sampling.loop import SegmentSampler, sample_segments
from animate.sampling.segments import plan_segments
from animate.sampling.solvers import make_solver
from golden_model import (
    DATA,
    RememberedMotion,
    ToyCodec,
    deepened,
    enlarge,
    load_golden_transformer,
    relative_error,
    transformer_part,
)
from whole_model import load_transformer

TOLERANCE = 1e-5
CPU = torch.device("cpu")
RUNS = ("animate_1", "animate_5", "replace_1", "replace_5")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The golden transformer, from original naming through our conversion."""
    return load_golden_transformer(tmp_path_factory.mktemp("golden"))


@pytest.fixture(scope="module")
def transformer(weights):
    return SamplingTransformer(weights)


@pytest.fixture(scope="module")
def quick(weights):
    """The same with the faces' motion remembered."""
    model = SamplingTransformer(weights)
    model.motion_encoder = RememberedMotion()
    return model


@pytest.mark.parametrize("case", [0, 1, 2])
def test_forward_equals_official(quick, case):
    assert forward_error(quick, case) < TOLERANCE


@pytest.mark.parametrize("run", RUNS)
def test_loop_equals_official(quick, run):
    assert loop_error(quick, run) < TOLERANCE


def test_forward_with_motion_encoder_equals_official(transformer):
    assert forward_error(transformer, 2) < TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("case", [0, 1])
def test_other_forwards_with_motion_encoder_equal_official(transformer, case):
    assert forward_error(transformer, case) < TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("run", RUNS)
def test_loop_with_motion_encoder_equals_official(transformer, run):
    assert loop_error(transformer, run) < TOLERANCE


def test_same_weights_in_diffusers_layout(weights, quick, tmp_path):
    """A folder written by diffusers itself loads to the same bits as our converted one."""
    weights.save_pretrained(tmp_path)
    loaded = load_transformer(tmp_path, torch.float32, CPU)
    for (name, ours), theirs in zip(weights.named_parameters(), loaded.parameters(), strict=True):
        assert torch.equal(ours, theirs), name
    model = SamplingTransformer(loaded)
    model.motion_encoder = RememberedMotion()
    assert forward_error(model, 0) < TOLERANCE


def test_bf16_stays_near_fp32(tmp_path):
    """40 layers, the same weights: the residual stream and what modulates it stay fp32."""
    load_golden_transformer(tmp_path, deepened(transformer_part(), 40))
    rounded = load_transformer(tmp_path / "diffusers", torch.bfloat16, CPU)
    exact = copy.deepcopy(rounded).float()
    results = []
    for weights in (exact, rounded):
        model = SamplingTransformer(weights)
        model.motion_encoder = RememberedMotion()
        results.append(golden_forward(model, 0)[0])
    assert relative_error(results[1], results[0]) < 0.004


@pytest.mark.parametrize("strength", [0.0, 0.4, 1.7])
def test_strengths_scale_what_pose_and_faces_add(weights, strength):
    """They do what scaling the layers that add it would do."""
    scaled = copy.deepcopy(weights)
    with torch.no_grad():
        layers = [scaled.pose_patch_embedding, *(face.to_out for face in scaled.face_adapter)]
        for parameter in (p for layer in layers for p in layer.parameters()):
            parameter *= strength
    plain, other = SamplingTransformer(weights), SamplingTransformer(scaled)
    plain.motion_encoder = other.motion_encoder = RememberedMotion()
    factors = {"pose_strength": strength, "face_strength": strength}
    expected, unscaled = golden_forward(other, 0)[0], golden_forward(plain, 0)[0]
    assert relative_error(golden_forward(plain, 0, **factors)[0], expected) < TOLERANCE
    for one in factors:
        assert relative_error(golden_forward(plain, 0, **{one: strength})[0], unscaled) > 1e-3


def forward_error(transformer, case: int) -> float:
    """Return the relative error of one recorded forward."""
    return relative_error(*golden_forward(transformer, case))


def golden_forward(transformer, case: int, **strengths) -> tuple[torch.Tensor, torch.Tensor]:
    """Return our output and the official one for the inputs of a recorded forward."""
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
            **strengths,
        )
        time = transformer.time_embedding(get("timestep")[None])
        result = transformer(get("noisy_latents")[None], time, constants)[0]
    return result, get("output")


def loop_error(transformer, run: str) -> float:
    """Return the relative error of one recorded run of the whole loop."""
    data = np.load(DATA / f"generate_{run}.npz")
    result = sample_golden_run(transformer, data)
    assert result.shape == data["frames"].shape
    return relative_error(result, torch.from_numpy(data["frames"]))


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
    conditions = PosedConditions(
        transformer,
        ToyCodec(),
        settings,
        in_range(as_video(reference[None]))[:, :, 0],
        torch.from_numpy(data["image_embeds"]),
        torch.from_numpy(data["prompt_embeds"])[None],
        torch.from_numpy(data["negative_prompt_embeds"])[None],
    )
    sampler = SegmentSampler(conditions)
    replacing = stored["mode"] == "replace"

    def read(segment):
        rows = segment.sources
        face = data["face"][rows].repeat(64, axis=1).repeat(64, axis=2)
        given = [data[name][rows] for name in ("background", "mask")] if replacing else []
        return SegmentFrames(data["pose"][rows], face, *given)

    segments = plan_segments(
        stored["frames"], settings.segment_frames, settings.conditioning_frames
    )
    parts = []

    def take(segment, first, piece):
        begin, end = (max(0, place - first) for place in (segment.overlap, segment.end))
        parts.append(piece[0, :, begin:end])

    for _ in sample_segments(sampler, segments, map(read, segments), on_piece=take):
        pass
    return torch.cat(parts, dim=1)


@pytest.mark.parametrize("solver", ["unipc", "dpm++"])
@pytest.mark.parametrize("steps", [4, 10, 20, 30])
def test_schedule_equals_official(solver, steps):
    expected = json.loads((DATA / "solver_schedule_shift5.json").read_text())[str(steps)][solver]
    scheduler = make_solver(solver, steps, shift=5.0)
    assert scheduler.timesteps.tolist() == expected["timesteps"]
    assert relative_error(scheduler.sigmas, torch.tensor(expected["sigmas"])) < 1e-6
