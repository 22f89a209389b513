"""The record that explains a result."""

import json

import pytest

from animate.results.provenance import make_provenance


@pytest.mark.parametrize(
    ("frame", "size"),
    [({}, [64, 64]), ({"frame": {"size": [64, 64], "part": [3, 0, 58, 64]}}, [58, 64])],
)
def test_the_size_is_that_of_the_result(tmp_path, frame, size):
    (tmp_path / "x.mp4").write_bytes(b"video")
    record = make_provenance(
        clip="x",
        settings={},
        inputs={},
        timeline={"frame_count": 1, "frame_rate": "25", "model_size": [64, 64]},
        sampled={"mode": "animate"},
        sampling=frame,
        figures={},
        model=tmp_path,
        weights={},
        result=tmp_path / "x.mp4",
    )
    assert record["output"]["size"] == size and record["sampling"] == frame


def test_weights_of_other_folders_are_named_as_far_as_the_clip_used_them(tmp_path):
    result = tmp_path / "x.mp4"
    result.write_bytes(b"video")
    sources = tmp_path / "preprocess" / "sources.json"
    sources.parent.mkdir()
    sources.write_text(json.dumps({"vitpose": {"commit": "c" * 40}, "sam2": {"commit": "d" * 40}}))
    record = make_provenance(
        clip="x",
        settings={},
        inputs={},
        timeline={"frame_count": 1, "frame_rate": "25", "model_size": [64, 64]},
        sampled={"mode": "animate"},
        sampling={},
        figures={},
        model=tmp_path,
        weights={str(sources): ["vitpose"]},
        result=result,
    )
    assert record["weights"] == {str(sources.parent): {"vitpose": {"commit": "c" * 40}}}
