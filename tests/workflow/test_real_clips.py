"""Real driving videos and their reference images, through both modes, to the finished video."""

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from animate.video import read_masks
from project import new_project

CLIPS = Path(__file__).parents[3] / "shared" / "clips"
NAMES = ("market_boy", "talking_head")

pytestmark = [
    pytest.mark.skipif(not CLIPS.is_dir(), reason=f"no folder of real clips at {CLIPS}"),
]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = new_project(tmp_path_factory.mktemp("real") / "project")
    project.write_table(
        *(
            {"clip": f"{name}-{mode}", "video": str(CLIPS / f"{name}.mp4"), "mode": mode}
            | {"reference": str(CLIPS / f"{name}_reference.jpeg"), "segment_frames": "77"}
            | {"fps": "source"}
            for name in NAMES
            for mode in ("animate", "replace")
        )
    )
    project.snakemake()
    return project


@pytest.mark.parametrize("mode", ["animate", "replace"])
@pytest.mark.parametrize("name", NAMES)
def test_result_lasts_as_long_as_the_driving_video(project, name, mode):
    with av.open(str(CLIPS / f"{name}.mp4")) as container:
        source = container.streams.video[0]
        frames = sum(1 for _ in container.decode(video=0))
        rate = source.average_rate
    result = project.folder / f"results/{name}-{mode}/{name}-{mode}.mp4"
    with av.open(str(result)) as container:
        video, audio = container.streams.video[0], container.streams.audio
        assert sum(1 for _ in container.decode(video=0)) == frames
        assert video.average_rate == rate
        assert video.duration * video.time_base == Fraction(frames) / rate
        with av.open(str(CLIPS / f"{name}.mp4")) as original:
            assert bool(audio) == bool(original.streams.audio)


@pytest.mark.parametrize("name", NAMES)
def test_a_pose_is_drawn_and_a_person_is_masked(project, name):
    folder = project.folder / f"results/{name}-replace"
    with av.open(str(folder / "src_pose.mp4")) as container:
        drawn = [frame.to_ndarray(format="rgb24").max() > 100 for frame in container.decode()]
    assert np.mean(drawn) > 0.9
    covered = [mask.mean() for mask in read_masks(folder / "src_mask.mp4")]
    assert np.mean([0.02 < share < 0.98 for share in covered]) > 0.9


def test_the_record_names_the_real_files(project):
    record = json.loads(
        (project.folder / "results/market_boy-replace")
        .joinpath("market_boy-replace.json")
        .read_text()
    )
    assert record["inputs"]["driving_video"]["path"] == str(CLIPS / "market_boy.mp4")
