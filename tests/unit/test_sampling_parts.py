"""The sampler's small parts: settings, segments, masks, colours, progress, prompts."""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan

import animate
from animate.config.job import read_job
from animate.config.settings import SamplingSettings
from animate.demo.model import randomise
from animate.errors import ClipError
from animate.model.attention import attend_within_frames, attention, attention_with_repeats
from animate.model.image import fit_reference
from animate.model.text import clean_prompt
from animate.model.vae import as_pixels, in_range
from animate.parallel.vae_split import SplitCodec
from animate.sampling.color import match_colors, statistics
from animate.sampling.conditions.frames import SegmentFrames, as_video
from animate.sampling.conditions.latents import background_mask, fold_mask
from animate.sampling.loop import segment_noise, step_noise
from animate.sampling.progress import Progress, duration
from animate.sampling.segments import bounce, plan_segments, segment_lengths
from animate.sampling.solvers import make_solver
from sampler_clip import write_clip, write_model


@pytest.fixture(scope="module")
def settings_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    return write_clip(folder, write_model(folder / "model"), 2, "replace", guidance_scale=2.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"segment_frames": 78}, "segment_frames: '78' is not allowed; allowed: 4n"),
        ({"segment_frames": 5, "conditioning_frames": 5}, "must be fewer than"),
        ({"overlap_blend": 2}, "overlap_blend must be at most"),
        ({"conditioning_frames": 2}, "allowed: 1, 5, 9 or 13"),
        ({"steps": -1}, "steps: '-1' is not allowed"),
        ({"steps": True}, "steps: 'True' is not allowed"),
        ({"guidance_scale": 0.5}, "guidance_scale"),
        ({"shift": 0}, "shift"),
        ({"solver": "heun"}, r"allowed: unipc, dpm\+\+, euler or lcm"),
        ({"timesteps": [500, 750]}, "timesteps: .* allowed: a falling list"),
        ({"timesteps": [1001, 500]}, "allowed: a falling list"),
        ({"timesteps": [500, 0]}, "allowed: a falling list"),
        ({"guidance_until": 1.5}, "guidance_until"),
        ({"seed": -1}, "seed"),
        ({"relighting_lora": "maybe"}, "auto, true or false"),
        ({"color_match": 2}, "color_match"),
        ({"steeps": 3}, "steeps: unknown; did you mean 'steps'"),
    ],
)
def test_wrong_settings_are_refused(settings_file, tmp_path, change, message):
    job = json.loads(settings_file.read_text())
    job["settings"] |= change
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(job))
    with pytest.raises(ClipError, match=message):
        read_job(path)


def test_wrong_jobs_are_refused(settings_file, tmp_path):
    path = tmp_path / "settings.json"
    whole = json.loads(settings_file.read_text())

    def refused(message, **change):
        path.write_text(json.dumps({k: v for k, v in (whole | change).items() if v is not None}))
        with pytest.raises(ClipError, match=message):
            read_job(path)

    refused("lacks output", output=None)
    refused("mode 'dance'", mode="dance")
    refused("unknown color", color=1)
    refused("lacks mask", inputs={k: v for k, v in whole["inputs"].items() if k != "mask"})
    refused("lacks negative", inputs={k: v for k, v in whole["inputs"].items() if "neg" not in k})
    refused("pose input gone.mp4 does not exist", inputs=whole["inputs"] | {"pose": "gone.mp4"})
    path.write_text("{")
    with pytest.raises(ClipError, match="cannot be read"):
        read_job(path)


def test_a_mistake_is_one_line_and_exit_code_1(settings_file, tmp_path):
    job = json.loads(settings_file.read_text()) | {"progress": str(tmp_path / "log")}
    job["settings"]["steps"] = 0
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(job))
    script = Path(animate.__file__).parents[1] / "sample.py"
    done = subprocess.run([sys.executable, script, path], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1
    assert "error: " in done.stdout
    assert "steps: '0' is not allowed; allowed: a whole number from 1 to 200" in done.stdout


def test_segments_cover_every_frame_once():
    for count in (1, 2, 5, 12, 13, 14, 25, 26, 100):
        for conditioning in (1, 5, 9):
            segments = plan_segments(count, 13, conditioning)
            shown = [
                frame for s in segments for frame in s.sources[s.overlap : s.overlap + s.new_frames]
            ]
            assert shown == list(range(count))
            assert all(len(s.sources) == 13 for s in segments)
            for before, after in pairwise(segments):
                assert before.sources[-conditioning:] == after.sources[:conditioning]


@pytest.mark.parametrize(
    ("frames", "conditioning", "lengths"),
    [
        (1, 1, [21]),
        (20, 1, [21]),
        (33, 1, [33]),
        (34, 1, [37]),
        (49, 1, [49]),
        (77, 1, [77]),
        (78, 1, [41, 41]),
        (90, 1, [49, 49]),
        (90, 5, [49, 49]),
        (90, 9, [53, 53]),
        (90, 13, [53, 53]),
        (153, 1, [77, 77]),
        (154, 1, [53, 53, 53]),
    ],
)
def test_even_segments_are_as_short_as_their_number_allows(frames, conditioning, lengths):
    assert segment_lengths(frames, 77, conditioning, fit="even") == lengths
    segments = plan_segments(frames, 77, conditioning, fit="even")
    assert [len(segment.sources) for segment in segments] == lengths
    assert sum(segment.new_frames for segment in segments) == frames
    assert len(segments) == len(segment_lengths(frames, 77, conditioning, fit="pad"))


def test_segments_are_even_where_nothing_is_said():
    assert SamplingSettings().segment_fit == "even"


@pytest.mark.parametrize("frames", range(1, 160))
def test_even_segments_are_the_official_plan_with_that_length(frames):
    (length,) = set(segment_lengths(frames, 77, 5, fit="even"))
    assert length % 4 == 1 and 21 <= length <= 77
    assert plan_segments(frames, 77, 5, fit="even") == plan_segments(frames, length, 5)


def test_each_shot_has_its_own_length():
    assert segment_lengths(160, 77, 1, (0, 33), fit="even") == [33, 65, 65]
    assert segment_lengths(40, 13, 1, fit="even") == [13] * 4


def test_padding_plays_back_and_forth():
    assert [bounce(i, 4) for i in range(10)] == [0, 1, 2, 3, 2, 1, 0, 1, 2, 3]
    assert [bounce(i, 2) for i in range(4)] == [0, 1, 0, 1]
    assert [bounce(i, 1) for i in range(3)] == [0, 0, 0]


def test_windows_stay_small_in_a_long_clip():
    for segment in plan_segments(1000, 77, 1):
        start, stop = segment.window
        assert stop - start <= 77


def test_reference_is_fitted_and_centred():
    fitted = fit_reference(np.full((10, 20, 3), 200, np.uint8), 32, 48)
    assert fitted.shape == (48, 32, 3)
    assert (fitted[16:32] == 200).all()
    assert not fitted[:16].any()
    assert not fitted[32:].any()


def test_masks_keep_the_background_and_repeat_the_first_frame():
    mask = np.zeros((5, 16, 16, 3), np.uint8)
    mask[:, 8:] = 255
    mask[2, 0] = 127
    kept = background_mask(mask)
    assert kept.shape == (5, 2, 2)
    assert torch.equal(kept[2], torch.tensor([[1.0, 1.0], [0.0, 0.0]]))
    folded = fold_mask(torch.arange(5.0).view(5, 1, 1))
    assert folded.shape == (1, 4, 2, 1, 1)
    assert folded[0, :, :, 0, 0].T.tolist() == [[0, 0, 0, 0], [1, 2, 3, 4]]


@pytest.mark.parametrize(("first", "length"), [(0, 12), (3, 5), (2, 12), (7, 4)])
def test_attention_within_frames_of_a_shard(first, length):
    """A shard of the tokens, with padding after the last, sees what the whole sequence sees."""
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(1, 16, 2, 8, generator=generator)
    k, v = torch.randn(2, 1, 3, 5, 2, 8, generator=generator)
    expected = torch.cat(
        [attention(q[:, 4 * t : 4 * t + 4], k[:, t], v[:, t]) for t in range(3)], dim=1
    )
    result = attend_within_frames(q[:, first : first + length], k, v, first, 4)
    assert result.shape[1] == length
    real = min(first + length, 12) - first
    assert torch.allclose(result[:, :real], expected[:, first : first + real], atol=1e-6)


@pytest.mark.parametrize("times", [0, 1, 3])
def test_a_last_key_that_scores_above_all_counts_as_often_as_it_stands_for(times):
    """A prompt of 512 tokens leaves no padding, whose key may still score highest."""
    generator = torch.Generator().manual_seed(0)
    q, v = torch.ones(1, 4, 2, 8), torch.randn(1, 6, 2, 8, generator=generator)
    k = torch.full((1, 6, 2, 8), -2.0)
    k[:, -1] = 12.0
    counts = torch.tensor([1, 1, 1, 1, 1, times])
    expected = attention(q, *(x.repeat_interleave(counts, dim=1) for x in (k, v)))
    assert torch.allclose(attention_with_repeats(q, k, v, times), expected, atol=1e-6)


def test_noise_is_drawn_in_order_on_the_cpu():
    generator = torch.Generator().manual_seed(7)
    first, second = (segment_noise(generator, 13, 32, 48) for _ in range(2))
    expected = torch.randn(2, 16, 5, 4, 6, generator=torch.Generator().manual_seed(7))
    assert torch.equal(torch.cat((first, second)), expected)


@pytest.mark.parametrize("solver", ["unipc", "dpm++", "euler"])
@pytest.mark.parametrize("shift", [1e-9, 0.01, 1, 5, 10, 17, 20])
@pytest.mark.parametrize("steps", [1, 2, 4, 20, 54, 113, 144, 200])
def test_a_constant_velocity_is_followed_to_its_end(solver, shift, steps):
    """High shifts and many steps give equal whole timesteps, which are still steps apart."""
    scheduler = make_solver(solver, steps, shift)
    sample = torch.full((1, 2), 3.0)
    for timestep in scheduler.timesteps:
        sample = scheduler.step(torch.ones(1, 2), timestep, sample, return_dict=False)[0]
    assert scheduler.step_index == steps
    expected = 3.0 - scheduler.sigmas[0].expand(1, 2)
    assert torch.allclose(sample, expected, atol=1e-5)


DISTILLED = [1000, 750, 500, 250]


@pytest.mark.parametrize("solver", ["unipc", "dpm++", "euler", "lcm"])
@pytest.mark.parametrize("timesteps", [DISTILLED, [900.0, 30.0], [999.5]])
def test_given_timesteps_are_shifted_and_taken(solver, timesteps):
    scheduler = make_solver(solver, 20, 5.0, timesteps=timesteps)
    levels = np.array(timesteps) / 1000
    if solver == "unipc":
        levels = levels.clip(max=0.999)
    expected = 5 * levels / (1 + 4 * levels)
    assert np.allclose(scheduler.sigmas, [*expected, 0], atol=1e-6)
    assert np.allclose(scheduler.timesteps, 1000 * expected, atol=1)


def test_four_even_steps_are_those_that_the_lora_was_distilled_for():
    even, given = make_solver("euler", 4, 5.0), make_solver("euler", 4, 5.0, timesteps=DISTILLED)
    assert torch.equal(even.sigmas, given.sigmas)
    assert torch.equal(even.timesteps, given.timesteps)


def noisy_velocity(latents, timestep):
    """A velocity that bends, so that steps of different sizes end at different places."""
    return torch.sin(3 * latents) + timestep / 1000


def solved(solver, timesteps, draw=None):
    scheduler = make_solver(solver, 4, 5.0, timesteps=timesteps)
    latents = torch.linspace(-2, 2, 9).reshape(1, 1, 1, 3, 3)
    options = {"generator": draw} if draw else {}
    for timestep in scheduler.timesteps:
        velocity = noisy_velocity(latents, timestep)
        latents = scheduler.step(velocity, timestep, latents, return_dict=False, **options)[0]
    return latents


def test_euler_and_lcm_are_what_their_definitions_say():
    levels = np.array(DISTILLED) / 1000
    levels = [*(5 * levels / (1 + 4 * levels)), 0.0]
    euler = lcm = torch.linspace(-2, 2, 9, dtype=torch.float64).reshape(1, 1, 1, 3, 3)
    draw = torch.Generator().manual_seed(3)
    for level, following in pairwise(levels):
        euler = euler + (following - level) * noisy_velocity(euler, 1000 * level)
        clean = lcm - level * noisy_velocity(lcm, 1000 * level)
        lcm = (1 - following) * clean + following * torch.randn(lcm.shape, generator=draw)
    assert torch.allclose(solved("euler", DISTILLED).double(), euler, atol=1e-5)
    drawn = solved("lcm", DISTILLED, torch.Generator().manual_seed(3))
    assert torch.allclose(drawn.double(), lcm, atol=1e-5)


def test_each_segment_has_its_own_noise_of_steps():
    seeds = {step_noise(seed, segment).initial_seed() for seed in (0, 7) for segment in range(4)}
    assert len(seeds) == 8
    assert step_noise(7, 2).initial_seed() == step_noise(7, 2).initial_seed()


@pytest.mark.parametrize(
    ("stated", "steps", "guided"),
    [
        ({"steps": 20}, 20, 0),
        ({"steps": 20, "guidance_scale": 2.0}, 20, 20),
        ({"steps": 20, "guidance_scale": 2.0, "guidance_until": 0.25}, 20, 5),
        ({"steps": 3, "guidance_scale": 2.0, "guidance_until": 0.1}, 3, 1),
        ({"guidance_scale": 2.0, "guidance_until": 0.0}, 20, 0),
        ({"steps": 20, "guidance_scale": 2.0, "timesteps": (1000, 500)}, 2, 2),
    ],
)
def test_how_many_steps_are_guided(stated, steps, guided):
    settings = SamplingSettings(**stated)
    assert (settings.step_count, settings.guided_steps) == (steps, guided)
    assert settings.branches == (2 if guided else 1)


def test_pixels_and_their_range_are_those_of_plain_arithmetic():
    pixels = torch.arange(256, dtype=torch.uint8)
    values = in_range(pixels)
    assert torch.equal(values, pixels.float() / 127.5 - 1)
    assert torch.equal(as_pixels(values), pixels)
    assert in_range(values) is values


def test_frames_become_a_video_without_a_copy():
    frames = np.zeros((5, 16, 16, 3), np.uint8)
    video = as_video(frames)
    assert video.dtype == torch.uint8 and video.data_ptr() == frames.ctypes.data


def test_a_video_in_parts_has_the_latents_of_the_whole():
    vae = AutoencoderKLWan(base_dim=8, num_res_blocks=1)
    randomise(vae, 0)
    codec = SplitCodec(vae)
    frames = np.random.default_rng(0).integers(0, 256, (17, 16, 32, 3), np.uint8)
    video = in_range(as_video(frames))
    with torch.inference_mode():
        whole = codec.encode(video)
        assert torch.equal(codec.encode(as_video(frames)), whole)
        for known in (1, 5, 9, 13):
            parts = video[:, :, :known], as_video(frames[known:])
            assert torch.equal(codec.encode(*parts), whole)
        shown = [piece.shape[2] for piece in codec.decode(whole)]
    assert shown == [1, 4, 4, 4, 4]


def test_color_match_moves_within_its_bound():
    generator = torch.Generator().manual_seed(0)
    sampled = torch.rand(1, 3, 5, 16, 16, generator=generator) * 0.4 - 0.2
    reference = torch.full((1, 3, 16, 16), 0.5) + 0.1 * torch.randn(1, 3, 16, 16)
    frames = SegmentFrames(pose=None, face=None)
    near = match_colors(sampled, frames, reference, 0.5)
    assert torch.allclose(statistics(near)[0], statistics(reference)[0], atol=0.02)
    bounded = match_colors(sampled, frames, reference, 0.05)
    change = statistics(bounded)[0] - statistics(sampled)[0]
    assert torch.allclose(change, torch.full((3,), 0.1), atol=1e-4)


def test_color_match_in_replacement_follows_the_kept_background():
    sampled = torch.zeros(1, 3, 2, 16, 16)
    background = np.full((2, 16, 16, 3), 140, np.uint8)
    mask = np.zeros((2, 16, 16, 3), np.uint8)
    mask[:, 4:12] = 255
    background[mask > 0] = 0
    frames = SegmentFrames(background, background, background, mask)
    matched = match_colors(sampled, frames, torch.ones(1, 3, 16, 16), 0.5)
    assert torch.allclose(matched, torch.full_like(sampled, 140 / 127.5 - 1), atol=1e-3)
    everything = SegmentFrames(background, background, background, np.full_like(mask, 255))
    assert torch.equal(match_colors(sampled, everything, torch.ones(1, 3, 4, 4), 0.5), sampled)


def test_progress_estimates_the_time_left(tmp_path, capsys):
    now = iter((0, 100, 110, 120, 150, 160))
    progress = Progress("owl", tmp_path / "logs" / "owl.log", clock=lambda: next(now))
    progress.plan(segments=4, finished=1, steps=3)
    for segment, step in ((1, 1), (1, 2), (1, 3), (2, 1), (2, 2)):
        progress.step(segment, step)
    lines = (tmp_path / "logs" / "owl.log").read_text().splitlines()
    assert capsys.readouterr().out.splitlines() == lines
    assert lines[0].endswith("clip owl: 4 segments of 3 steps, 1 of them already sampled")
    # Loading, 100 s, counts nowhere; decoding, the 30 s between segments, not as a step.
    assert lines[1].endswith("segment 2/4 step 1/3")
    assert lines[2].endswith("segment 2/4 step 2/3, 10.00 s per step, about 1 min 10 s left")
    assert lines[5].endswith("segment 3/4 step 2/3, 10.00 s per step, about 1 min 00 s left")


def test_durations():
    assert [duration(s) for s in (7.4, 185, 3725)] == ["7 s", "3 min 05 s", "1 h 02 min"]


def test_prompts_are_cleaned():
    assert clean_prompt("  a &amp;amp; b\n\tc  ") == "a & b c"
    assert clean_prompt("schÃ¶n") == "schön"
