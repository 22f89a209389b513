"""Wan-Animate-2's segments are those of diffusers' pipeline, and of the loop that models share."""

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKLWan,
    DPMSolverMultistepScheduler,
    WanAnimate2Blocks,
    WanAnimate2DistilledBlocks,
)
from PIL import Image
from transformers import CLIPVisionConfig, CLIPVisionModel, T5TokenizerFast, UMT5EncoderModel

from animate.config.settings import SamplingSettings
from animate.demo.model import randomise, write_encoders
from animate.model.animate2.transformer import DrivenTransformer
from animate.model.image import encode_reference
from animate.model.text import encode_prompt
from animate.model.vae import in_range
from animate.parallel.vae_split import SplitCodec
from animate.sampling.conditions.driven import DrivenConditions
from animate.sampling.conditions.frames import DrivenFrames, as_video
from animate.sampling.loop import SegmentSampler, sample_segments
from animate.sampling.segments import mirror, plan_segments
from animate.sampling.solvers import make_solver
from driven_models import IMAGE_WIDTH, tiny_weights
from golden_model import relative_error

FRAMES, SEGMENT, HEIGHT, WIDTH, STEPS, SHIFT, SEED = 14, 9, 32, 64, 2, 5.0, 11
PROMPT, NEGATIVE, DRIVING = "A woman in red, by the sea", "blurred", "a person moves"


class OfficialSchedule(DPMSolverMultistepScheduler):
    """The solver with the official code's noise levels, which diffusers' own differ from."""

    def set_timesteps(self, steps, device=None):
        vars(self).update(vars(make_solver("dpm++", steps, SHIFT)))


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Tiny models of every part, in fp32, and the folder with the text encoder."""
    folder = tmp_path_factory.mktemp("parts")
    write_encoders(folder)
    config = CLIPVisionConfig(
        hidden_size=IMAGE_WIDTH,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=224,
        patch_size=56,
        hidden_act="gelu",
    )
    # A norm over two channels, as of the smallest VAE, would make much of how fp32 is rounded.
    made = {
        "image_encoder": CLIPVisionModel(config),
        "vae": AutoencoderKLWan(base_dim=8, num_res_blocks=1),
    }
    for model in made.values():
        randomise(model.eval().requires_grad_(False), 5)
    return folder, made | {
        "transformer": tiny_weights(),
        "text_encoder": UMT5EncoderModel.from_pretrained(folder / "text_encoder"),
        "tokenizer": T5TokenizerFast.from_pretrained(folder / "tokenizer"),
    }


@pytest.fixture(scope="module")
def clip():
    """A reference (h, w, 3) and driving frames (F, h, w, 3), uint8."""
    generator = np.random.default_rng(2)
    shape = (FRAMES + 1, HEIGHT, WIDTH, 3)
    frames = generator.integers(0, 256, shape, np.uint8)
    return frames[0], frames[1:]


def theirs(blocks, parts, clip, **more) -> torch.Tensor:
    """Return the frames (1, 3, F, h, w) of diffusers' pipeline, before they are clamped to 0..1."""
    pipeline = blocks().init_pipeline()
    schedule = OfficialSchedule(prediction_type="flow_prediction", use_flow_sigmas=True)
    pipeline.update_components(scheduler=schedule, **parts)
    reference, driving = clip
    with torch.compiler.set_stance("force_eager"):
        state = pipeline(
            image=Image.fromarray(reference),
            driving_video=[Image.fromarray(frame) for frame in driving],
            prompt=PROMPT,
            prompt_ref=DRIVING,
            height=HEIGHT,
            width=WIDTH,
            segment_frame_length=SEGMENT,
            num_inference_steps=STEPS,
            generator=torch.Generator().manual_seed(SEED),
            **more,
        )
    return torch.cat(state.get("segment_frames"), dim=2)[:, :, :FRAMES]


@torch.inference_mode()
def ours(folder, parts, clip, guidance: float) -> torch.Tensor:
    """Return the frames of our loop."""
    reference, driving = (in_range(as_video(frames)) for frames in (clip[0][None], clip[1]))
    features = [
        encode_reference(parts["image_encoder"], video[:, :, 0]) for video in (reference, driving)
    ]
    texts = (encode_prompt(folder, text, clean=False) for text in (PROMPT, NEGATIVE, DRIVING))
    prompt, negative, driving_prompt = (text[None] for text in texts)
    settings = SamplingSettings(
        segment_frames=SEGMENT,
        conditioning_frames=1,
        steps=STEPS,
        shift=SHIFT,
        solver="dpm++",
        guidance_scale=guidance,
        log_scale=0.0,
        seed=SEED,
    )
    conditions = DrivenConditions(
        DrivenTransformer(parts["transformer"]),
        SplitCodec(parts["vae"]),
        settings,
        reference[:, :, 0],
        features[0],
        prompt,
        negative,
        driving_image_embeds=features[1],
        driving_prompt_embeds=driving_prompt,
    )
    segments = plan_segments(FRAMES, SEGMENT, 1, turn=mirror)
    assert [segment.sources for segment in segments] == [
        [*range(9)],
        [*range(8, 14), 13, 12, 11],
    ]
    frames = (DrivenFrames(clip[1][segment.sources]) for segment in segments)
    found = []

    def take(segment, first, piece):
        begin, end = (max(0, place - first) for place in (segment.overlap, segment.end))
        found.append(piece[:, :, begin:end])

    for _ in sample_segments(SegmentSampler(conditions), segments, frames, on_piece=take):
        pass
    return torch.cat(found, dim=2)


@pytest.mark.parametrize("kind", ["base", pytest.param("distilled", marks=pytest.mark.slow)])
def test_two_segments_are_those_of_diffusers(parts, clip, kind):
    folder, models = parts
    if kind == "base":
        expected = theirs(WanAnimate2Blocks, models, clip, negative_prompt=NEGATIVE)
        found = ours(folder, models, clip, 3.0)
    else:
        expected = theirs(WanAnimate2DistilledBlocks, models, clip)
        found = ours(folder, models, clip, 1.0)
    assert found.shape == expected.shape == (1, 3, FRAMES, HEIGHT, WIDTH)
    assert relative_error(found, expected) < 1e-5


def test_a_clip_is_played_back_with_its_last_frame_twice():
    assert [mirror(position, 3) for position in range(9)] == [0, 1, 2, 2, 1, 0, 0, 1, 2]
    assert [mirror(position, 1) for position in range(3)] == [0, 0, 0]


def test_a_prompt_is_read_as_it_is(parts):
    folder, _ = parts
    given, cleaned = (
        encode_prompt(folder, "looks\uff1ared", clean=clean) for clean in (False, True)
    )
    assert torch.equal(cleaned, encode_prompt(folder, "looks:red"))
    assert len(given) == len(cleaned) + 2
