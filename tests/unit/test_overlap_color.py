"""The colours of a segment, fitted to the frames that it starts from and paints again."""

import numpy as np
import pytest
import torch
from torch.nn.functional import avg_pool3d, interpolate

from animate.config.job import read_job
from animate.config.settings import SamplingSettings
from animate.devices.machine import Machine
from animate.sampling.conditions.frames import SegmentFrames
from animate.sampling.overlap_color import BOUND, fit_change, match_overlap
from animate.sampling.progress import Progress
from animate.sampling.run import run_job
from sampler_clip import result_frames, write_clip, write_model

PLAIN = SegmentFrames(pose=None, face=None)
GAIN = torch.tensor([0.95, 1.04, 0.97]).view(3, 1, 1, 1)
OFFSET = torch.tensor([0.04, -0.03, 0.02]).view(3, 1, 1, 1)


def scene(frames: int, seed: int = 0) -> torch.Tensor:
    """Return a textured video (1, 3, F, 64, 96) between -0.7 and 0.7."""
    generator = torch.Generator().manual_seed(seed)
    coarse = interpolate(torch.rand(3, 1, 6, 8, generator=generator), (64, 96), mode="bilinear")
    video = coarse.transpose(0, 1) + 0.4 * torch.rand(frames, 3, 64, 96, generator=generator)
    return video.transpose(0, 1)[None] - 0.7


def shifted(video: torch.Tensor) -> torch.Tensor:
    return video * GAIN + OFFSET


def masked(frames: int) -> SegmentFrames:
    """Return frames of replacement: the person is the right half."""
    mask = np.zeros((frames, 64, 96, 3), np.uint8)
    mask[:, :, 48:] = 255
    return SegmentFrames(mask, mask, mask, mask)


def test_a_change_of_colour_is_undone_in_every_frame_of_the_segment():
    video = scene(13)
    pieces = shifted(video).split([1, 4, 4, 4], dim=2)
    for count in (1, 5, 9, 13):
        matched = torch.cat(list(match_overlap(pieces, video[:, :, :count], PLAIN)), dim=2)
        assert (matched - video).abs().max() < 1e-3


def test_what_moved_and_how_sharp_it_is_change_no_colours():
    given = scene(5)
    painted = shifted(given)
    # A hand that is elsewhere now, brighter than all else.
    painted[..., 8:32, 16:48] = 0.9
    matched = fit_change(painted, given).of(painted)
    elsewhere = (matched - given)[..., 40:, :]
    assert elsewhere.abs().max() < 0.01
    blurred = avg_pool3d(given, (1, 5, 5), 1, (0, 2, 2), count_include_pad=False)
    change = fit_change(blurred, given)
    assert (change.gain - 1).abs().max() < 0.03 and change.offset.abs().max() < 0.01


def test_chance_does_not_lower_the_contrast_over_many_segments():
    """A regression would take a part of it in each segment."""
    given, draw = scene(1), torch.Generator().manual_seed(1)
    contrast = regressed = 1.0
    for _ in range(20):
        noise = 0.05 * torch.randn(2, 1, 3, 1, 8, 12, generator=draw)
        one, other = (given + interpolate(cells, (1, 64, 96)) for cells in noise)
        contrast *= float(fit_change(one, other).gain.mean())
        pair = torch.stack([one.flatten(), other.flatten()])
        regressed *= float(torch.cov(pair)[0, 1] / torch.cov(pair)[0, 0])
    assert 0.8 < contrast < 1.25
    assert regressed < 0.7


def test_no_segment_is_changed_by_more_than_the_bound():
    video = scene(1)
    change = fit_change(video * 0.5 + 0.5, video)
    assert torch.allclose(change.gain, torch.full((3,), 1 + BOUND))
    mean = (video * 0.5 + 0.5).mean(dim=(0, 2, 3, 4))
    moved = change.of(video * 0.5 + 0.5).mean(dim=(0, 2, 3, 4)) - mean
    assert torch.allclose(moved, torch.full((3,), -2 * BOUND), atol=0.01)


def test_a_plain_picture_gets_no_contrast_and_nothing_to_compare_no_change():
    plain = torch.full((1, 3, 1, 64, 96), -1.0)
    change = fit_change(plain + 0.02, plain)
    assert torch.equal(change.gain, torch.ones(3))
    assert torch.allclose(change.of(plain + 0.02), plain, atol=1e-6)
    assert fit_change(plain, plain, torch.zeros(1, 64, 96)) is None
    nothing = torch.full_like(plain, torch.nan)
    assert fit_change(nothing, plain) is None


def test_in_replacement_the_person_is_compared_and_changed_and_the_scene_is_not():
    video = scene(5)
    painted = video.clone()
    painted[..., 48:] = shifted(video)[..., 48:]
    painted[..., :48] += 0.1
    (matched,) = match_overlap([painted], video[:, :, :1], masked(5))
    assert torch.equal(matched[..., :40], painted[..., :40])
    assert (matched - video)[..., 56:].abs().max() < 1e-3
    steps = (matched - video).mean(dim=(0, 1, 2, 3)).diff().abs()
    # The change of 0.1 at the mask's edge is spread over it.
    assert steps[:44].max() < 0.02


@pytest.mark.parametrize("match", [False, True])
def test_drift_over_ten_segments_is_removed(match):
    """Each segment paints what it is given, and all that follows, with its colours changed."""
    video, draw = scene(10 * 8 + 5), torch.Generator().manual_seed(2)
    tail, drift = None, []
    for number in range(10):
        true = video[:, :, 8 * number : 8 * number + 13]
        error = 0 if tail is None else (tail - true[:, :, :5]).mean(dim=(2, 3, 4), keepdim=True)
        painted = true + error + 0.01 * torch.randn(true.shape, generator=draw)
        painted = shifted(painted) if number else painted
        pieces = [painted] if tail is None or not match else match_overlap([painted], tail, PLAIN)
        (sampled,) = pieces
        tail = sampled[:, :, -5:]
        drift.append(float((sampled - true).mean(dim=(0, 2, 3, 4)).abs().max()))
    assert drift[-1] < 0.005 if match else drift[-1] > 0.15


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model"))


def sampled(path) -> np.ndarray:
    run_job(read_job(path), Machine(torch.device("cpu"), torch.float32), Progress("a", quiet=True))
    return result_frames(path)


def test_the_first_segment_is_sampled_as_without(model, tmp_path):
    options = {"segment_frames": 13, "conditioning_frames": 5, "size": (64, 64)}
    off, zero, on = (
        sampled(write_clip(tmp_path / str(match), model, 29, color_match=match, **options))
        for match in ("off", 0, "overlap")
    )
    assert np.array_equal(zero, off)
    assert np.array_equal(on[:12], off[:12]) and not np.array_equal(on[13:21], off[13:21])


def test_off_is_what_yaml_reads_as_false():
    assert SamplingSettings(color_match=False).color_match == "off"
    assert SamplingSettings(color_match=0.1).color_match == 0.1
