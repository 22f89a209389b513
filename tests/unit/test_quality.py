"""Each figure tells a spoiled result from a good one."""

from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest
from transformers import CLIPVisionConfig, CLIPVisionModel

from animate.pose.keypoints import EMPTY, stack
from animate.quality.colours import colour_distance
from animate.quality.figures import (
    background_figures,
    face_figures,
    pose_figures,
    steadiness_figures,
    worst_seconds,
)
from animate.quality.likeness import likeness_figures
from animate.video.files import VideoWriter

RATE = 10.0
SIZE = 160, 96
FRAMES = 40


@pytest.fixture(scope="module")
def rng():
    return np.random.default_rng(0)


def texture(rng, width=400, height=240, grain=9):
    """A smooth random picture, uint8 RGB."""
    noise = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    blurred = cv2.GaussianBlur(noise, (0, 0), grain / 3).astype(np.float32)
    low, high = blurred.min(), blurred.max()
    return ((blurred - low) / (high - low) * 255).astype(np.uint8)


@pytest.fixture(scope="module")
def moving(rng):
    """A window that slides over a picture, evenly: FRAMES frames."""
    picture = texture(rng)
    width, height = SIZE
    return [picture[n : n + height, 2 * n : 2 * n + width].copy() for n in range(FRAMES)]


@pytest.fixture(scope="module")
def body(rng):
    """Body points in pixels that wander, all of them seen."""
    start = rng.uniform((20, 10), (140, 86), (20, 2))
    walk = np.cumsum(rng.normal(0, 0.5, (FRAMES, 1, 2)), axis=0)
    return np.concatenate([start + walk, np.ones((FRAMES, 20, 1))], axis=2)


def test_a_shifted_pose_is_as_far_as_it_was_shifted(body, rng):
    width = np.linalg.norm(body[0, 2, :2] - body[0, 5, :2])
    noise = rng.normal(0, 0.2, body.shape) * (1, 1, 0)
    good = pose_figures(body, body + noise, RATE)
    shifted = pose_figures(body, body + np.array((8, 0, 0)), RATE)
    assert good["pose_error"] < 0.5 / width
    assert abs(good["pose_offset_x"]) < 0.1 / width and abs(good["pose_offset_y"]) < 0.1 / width
    assert shifted["pose_error"] == pytest.approx(8 / width, abs=1e-3)
    assert shifted["pose_offset_x"] == pytest.approx(8 / width, abs=1e-3)
    assert shifted["pose_offset_y"] == pytest.approx(0, abs=1e-3)
    assert good["pose_shown"] == 1.0


def test_a_shift_is_told_from_errors_that_are_as_large(body, rng):
    width = np.linalg.norm(body[0, 2, :2] - body[0, 5, :2])
    angles = rng.uniform(0, 2 * np.pi, body.shape[:2])
    jumping = body + 8 * np.stack((np.cos(angles), np.sin(angles), 0 * angles), axis=2)
    figures = pose_figures(body, jumping, RATE)
    assert figures["pose_error"] == pytest.approx(8 / width, abs=1e-3)
    assert np.hypot(figures["pose_offset_x"], figures["pose_offset_y"]) < 2 / width
    upward = pose_figures(body, body - np.array((0, 8, 0)), RATE)
    assert upward["pose_offset_y"] == pytest.approx(-8 / width, abs=1e-3)


def test_frames_where_the_person_was_lost_shift_nothing(body):
    width = np.linalg.norm(body[0, 2, :2] - body[0, 5, :2])
    lost = body.copy()
    lost[: FRAMES // 4, :, 0] -= 2 * width
    figures = pose_figures(body, lost, RATE)
    assert figures["pose_offset_x"] == pytest.approx(0, abs=1e-3)
    assert figures["pose_error"] == pytest.approx(0.5, abs=0.02)


def test_limbs_that_are_not_there_and_frames_without_anybody_count(body):
    lacking = body.copy()
    lacking[:, 8:14, 2] = 0
    assert pose_figures(body, lacking, RATE)["pose_shown"] == pytest.approx(14 / 20)
    nobody = np.zeros_like(body)
    figures = pose_figures(body, nobody, RATE)
    assert figures["pose_error"] is None and figures["pose_shown"] == 0.0
    assert pose_figures(nobody, body, RATE)["pose_shown"] is None


def test_the_worst_seconds_are_where_it_went_wrong(body):
    wrong = body.copy()
    wrong[25:28, :, 0] += 30
    assert 2.5 <= pose_figures(body, wrong, RATE)["pose_error_worst_seconds"][0] <= 2.7
    assert worst_seconds(np.array([np.nan, 1, 3, 2.9]), 1.0) == [2.0, 3.0, 1.0]
    assert worst_seconds(np.full(3, np.nan), 1.0) == []


def faces(eyes, mouth):
    """Keypoints of a face whose eyes and mouth are open by these heights, in 0..1 of the frame."""
    frames = []
    for eye, lip in zip(eyes, mouth, strict=True):
        face = np.full((69, 3), (0.5, 0.5, 1.0))
        points = face[1:]
        for corner, other, upper, lower in (
            (36, 39, (37, 38), (41, 40)),
            (42, 45, (43, 44), (47, 46)),
        ):
            points[corner, 0], points[other, 0] = 0.4, 0.5
            points[list(upper), 1] -= eye / 2
            points[list(lower), 1] += eye / 2
        points[60, 0], points[64, 0] = 0.4, 0.6
        points[[61, 62, 63], 1] -= lip / 2
        points[[67, 66, 65], 1] += lip / 2
        frames.append((*EMPTY[:3], face))
    return stack(frames, [1] * len(frames))


def test_faces_in_step_are_told_from_those_of_another_clip(rng):
    times = np.arange(FRAMES) / RATE
    eyes, mouth = 0.02 + 0.02 * np.sin(3 * times), 0.05 + 0.05 * np.sin(5 * times)
    driver = faces(eyes, mouth)
    same = faces(eyes * 0.7 + rng.normal(0, 1e-3, FRAMES), mouth * 1.2)
    other = faces(0.02 + 0.02 * np.cos(1.3 * times), 0.05 + 0.05 * np.cos(0.7 * times))
    good, bad = (face_figures(driver, SIZE, found, (320, 96)) for found in (same, other))
    assert good["eyes_in_step"] > 0.95 and good["mouth_in_step"] > 0.95
    assert bad["eyes_in_step"] < 0.6 and bad["mouth_in_step"] < 0.6


def test_faces_that_are_hidden_or_do_not_move_have_no_step():
    still = faces(np.full(FRAMES, 0.03), np.full(FRAMES, 0.05))
    moving_face = faces(np.linspace(0, 0.05, FRAMES), np.linspace(0, 0.2, FRAMES))
    hidden = replace(moving_face, face=moving_face.face * (1, 1, 0))
    for driver, result in ((still, moving_face), (moving_face, hidden)):
        assert set(face_figures(driver, SIZE, result, SIZE).values()) == {None}


def test_a_turned_mask_and_a_changed_background_are_seen(moving, rng):
    mask = np.zeros(SIZE[::-1], np.uint8)
    mask[20:70, 60:110] = 1
    character = texture(rng, *SIZE, grain=5)
    good = [np.where(mask[..., None] > 0, character, frame) for frame in moving]
    turned = [np.where(mask[..., None] > 0, frame, character) for frame in moving]
    figures, spoiled = (
        background_figures(zip(frames, moving, [mask] * FRAMES, strict=True), RATE)
        for frames in (good, turned)
    )
    assert figures["background_psnr"] > 60 and figures["background_ssim"] > 0.999
    assert spoiled["background_psnr"] < 20 and spoiled["background_ssim"] < 0.5
    good[30] = cv2.add(good[30], 40)
    figures = background_figures(zip(good, moving, [mask] * FRAMES, strict=True), RATE)
    assert figures["background_worst_seconds"][0] == 3.0


def test_a_mask_over_everything_leaves_no_background_to_compare(moving):
    whole = np.ones(SIZE[::-1], np.uint8)
    figures = background_figures(zip(moving, moving, [whole] * FRAMES, strict=True), RATE)
    assert figures["background_psnr"] is None and figures["background_worst_seconds"] == []


def test_a_segment_that_does_not_join_is_seen(moving):
    firsts = [0, 13, 26]
    good = steadiness_figures(moving, firsts, RATE)
    repeated = [*moving[:13], *moving[:13], *moving[26:]]
    spoiled = steadiness_figures(repeated, firsts, RATE)
    assert good["seams"] < 1.5
    assert spoiled["seams"] > 2.5
    assert spoiled["seams_worst_seconds"] == [1.3, 2.6] or spoiled["seams_worst_seconds"] == [
        2.6,
        1.3,
    ]


def test_a_join_is_seen_where_motion_changes_more_than_it(moving):
    """Segments that know nothing of each other differ in shades, while the picture moves on."""
    firsts, step = [0, 13, 26], 4
    spoiled = [cv2.add(frame, step * (13 <= n < 26)) for n, frame in enumerate(moving)]
    motion = np.mean([cv2.absdiff(a, b).mean() for a, b in pairwise(moving)])
    assert motion > 2 * step
    assert steadiness_figures(spoiled, firsts, RATE)["seams"] > 2


def test_the_mean_join_takes_all_of_them(moving):
    spoiled = [cv2.add(frame, 20 * (n >= 26)) for n, frame in enumerate(moving)]
    good = steadiness_figures(spoiled[:26], [0, 13], RATE)
    both = steadiness_figures(spoiled, [0, 13, 26], RATE)
    assert good["seams_mean"] == good["seams"] < both["seams_mean"] < both["seams"]
    assert both["seams_mean"] == pytest.approx((good["seams"] + both["seams"]) / 2, abs=1e-3)
    assert steadiness_figures(moving, [0], RATE)["seams_mean"] is None


@pytest.mark.parametrize("size", [(64, 4), (16, 200), (8, 8)])
def test_frames_of_any_shape_have_figures(size, rng):
    frames = [texture(rng, *size) for _ in range(3)]
    assert steadiness_figures(frames, [0, 1], RATE)["seams"] > 0


def test_drift_of_colour_and_sharpness_is_seen(moving):
    firsts = [0, 13, 26]
    good = steadiness_figures(moving, firsts, RATE)
    ramp = [cv2.add(frame, (n, 0, 0, 0)) for n, frame in enumerate(moving)]
    soft = [*moving[:13], *(cv2.GaussianBlur(frame, (0, 0), 2) for frame in moving[13:])]
    assert steadiness_figures(ramp, firsts, RATE)["colour_drift"] > good["colour_drift"] + 3
    assert steadiness_figures(soft, firsts, RATE)["sharpness_kept"] < 0.5
    assert good["sharpness_kept"] > 0.7


def test_a_camera_cut_is_neither_a_join_nor_a_drift(moving):
    picture = cv2.add(texture(np.random.default_rng(1), *SIZE), (60, 0, 0, 0))
    scene = [cv2.GaussianBlur(np.roll(picture, n, axis=1), (0, 0), 3) for n in range(20)]
    firsts, frames = [0, 10, 20, 30], [*moving[:20], *scene]
    unknown = steadiness_figures(frames, firsts, RATE)
    assert unknown["seams"] > 2.5 and unknown["colour_drift"] > 5
    assert unknown["sharpness_kept"] < 0.7
    good = steadiness_figures(frames, firsts, RATE, (0, 20))
    assert good["seams"] < 1.5 and set(good["seams_worst_seconds"]) == {1.0, 3.0}
    assert good["colour_drift"] < 5 and good["sharpness_kept"] > 0.7
    # What happens within a later shot is still seen.
    frames[30:] = [cv2.add(cv2.GaussianBlur(one, (0, 0), 6), 30) for one in frames[30:]]
    spoiled = steadiness_figures(frames, firsts, RATE, (0, 20))
    assert spoiled["seams_worst_seconds"][0] == 3.0 and spoiled["seams"] > 2.5
    assert spoiled["colour_drift"] > 5 and spoiled["sharpness_kept"] < 0.7
    assert steadiness_figures(frames[:25], [0, 20], RATE, (0, 20))["seams"] is None


def test_flicker_is_told_from_motion(moving):
    flickering = [cv2.add(frame, 10 * (n % 2)) for n, frame in enumerate(moving)]
    good, spoiled = (steadiness_figures(f, [0], RATE) for f in (moving, flickering))
    assert spoiled["flicker"] > 3 * good["flicker"]
    assert good["seams"] is None


def test_a_clip_of_one_frame_has_figures(moving):
    assert steadiness_figures(moving[:1], [0], RATE)["flicker"] == 0.0


@pytest.fixture(scope="module")
def encoder():
    import torch

    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4}
    return CLIPVisionModel(
        CLIPVisionConfig(**sizes, num_hidden_layers=3, image_size=56, patch_size=7)
    ).eval()


def person(size=1):
    """Points of a person who fills most of the frame."""
    body = np.full((20, 3), (0.5, 0.5, 1.0))
    body[:4, :2] = (0.2, 0.1), (0.8, 0.1), (0.2, 0.9), (0.8, 0.9)
    face = np.full((69, 3), (0.5, 0.5, 1.0))
    face[1:5, :2] = (0.4, 0.2), (0.6, 0.2), (0.4, 0.5), (0.6, 0.5)
    return stack([(body, *EMPTY[1:3], face)] * size, [1] * size)


def test_another_character_is_less_like_the_reference(tmp_path, encoder, rng):
    reference, other = (texture(rng, *SIZE, grain=grain) for grain in (25, 6))
    found = {}
    for name, picture in (("same", reference), ("other", other)):
        path = tmp_path / f"{name}.mp4"
        with VideoWriter(path, SIZE, 10) as video:
            for n in range(9):
                video.write(np.roll(picture, n // 4, axis=1))
        found[name] = likeness_figures(encoder, reference, person(), path, person(9))
    for figure in ("identity", "face_identity"):
        assert found["other"][figure] < found["same"][figure] - 0.02
    assert found["same"]["character_colour"] < 6 < found["other"]["character_colour"]
    nobody = stack([None] * 9, [0] * 9)
    video = tmp_path / "same.mp4"
    assert set(likeness_figures(encoder, reference, person(), video, nobody).values()) == {None}


def test_colours_of_the_person_are_compared_and_no_others(rng):
    reference = texture(rng, *SIZE)
    surrounded, other = cv2.add(reference, 60), reference.copy()
    inside = np.s_[10:87, 32:129]
    surrounded[inside] = reference[inside]
    other[inside] = cv2.add(reference[inside], (60, 0, 0, 0))
    body = person().body[0]
    good, bad = (
        colour_distance(reference, body, [(frame, body)] * 3) for frame in (surrounded, other)
    )
    assert good < 0.5 and bad > 5
    # A limb that one of the two hides is left out of both.
    lacking = body * ((np.arange(20) != 3)[:, None] | np.array((True, True, False)))
    assert colour_distance(reference, body, [(surrounded, lacking)]) < 0.5
    assert colour_distance(reference, body, [(reference, np.zeros_like(body))]) is None
