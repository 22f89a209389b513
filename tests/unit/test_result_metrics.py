"""The figures about a result, as its rule asks for them."""

import json
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from animate.config.settings import ResultSettings
from animate.pose.drawing import SCORE_THRESHOLD
from animate.pose.keypoints import stack
from animate.pose.placed import placed_keypoints
from animate.video.files import VideoWriter
from animate.video.source import Picture
from animate.video.timeline import Timeline
from skeletons import REFERENCE_SIZE, SIZE, clip, figure, reference
from stages import stage


@pytest.mark.parametrize("found", [reference(0.5), stack([None], [0])], ids=["smaller", "nobody"])
def test_the_drawn_pose_is_that_of_the_points_it_was_drawn_with(tmp_path, monkeypatch, found):
    """Other networks look for the reference's person, to judge the result, and may find nobody."""
    monkeypatch.setattr("animate.quality.likeness.load_encoder", lambda model: None)
    monkeypatch.setattr("animate.quality.likeness.likeness_figures", lambda *given: {})
    frames, settings = 4, ResultSettings(smooth_pose=False)
    picture = Picture(SIZE, "1", False, 1, None)
    timeline = Timeline(Fraction(25), tuple(range(frames)), (144, 256), Fraction(0), picture)
    driver = clip([figure(SIZE, turn=turn) for turn in range(frames)])
    drawn = placed_keypoints(driver, timeline, False, reference(), REFERENCE_SIZE)
    assert (drawn.body[..., 2] >= SCORE_THRESHOLD).all()
    result = clip(list(drawn.body / (*timeline.model_size, 1)))
    files = {
        name: tmp_path / f"{name}.npz"
        for name in ("keypoints", "result_keypoints", "reference_keypoints", "drawn_reference")
    }
    for name, points in zip(files, (driver, result, found, reference()), strict=True):
        points.save(files[name])
    timeline.to_json(tmp_path / "timeline.json")
    Image.new("RGB", REFERENCE_SIZE).save(tmp_path / "reference.png")
    with VideoWriter(tmp_path / "result.mp4", timeline.model_size, 25) as video:
        for _ in range(frames):
            video.write(np.zeros((256, 144, 3), np.uint8))
    output = tmp_path / "figures.json"
    stage(
        "result_metrics",
        settings,
        **files,
        timeline=tmp_path / "timeline.json",
        result=tmp_path / "result.mp4",
        reference=tmp_path / "reference.png",
        model=tmp_path / "model_index.json",
        compared=["pose"],
        output=output,
    )
    figures = json.loads(output.read_text())
    assert figures["pose_error"] < 0.01 and figures["pose_shown"] == 1
