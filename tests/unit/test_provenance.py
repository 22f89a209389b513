"""The record that explains a result."""

import json

from animate.results.provenance import make_provenance


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
