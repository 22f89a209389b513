"""What rules ask a cluster for, without Snakemake: groups of the preparation, and resources."""

from types import SimpleNamespace

import pytest

from animate.cluster.requests.amounts import STAGE_MB
from animate.cluster.requests.detectors import Detectors
from animate.cluster.requests.resources import Requests
from animate.cluster.site import Site
from animate.cluster.work import Work
from animate.config.configuration import Configuration
from animate.config.table import read_table
from animate.demo.clips import write_demo

HD = Work(77, True, 1280 * 720, 77, 1, 20, 0, 1, "bf16", "bf16")


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Clips by name: their detectors and their mode are in it."""
    folder = tmp_path_factory.mktemp("table")
    write_demo(folder)
    (folder / "clips.csv").write_text(
        "clip,video,reference,mode,pose_backend,mask_backend,gpus\n"
        "plain,driving.mp4,character.png,animate,mediapipe,mediapipe,1\n"
        "pose,driving.mp4,character.png,animate,vitpose,mediapipe,1\n"
        "mask,driving.mp4,character.png,replace,mediapipe,sam2,1\n"
        "both,driving.mp4,character.png,replace,vitpose,sam2,1\n"
        "wide,driving.mp4,character.png,animate,mediapipe,mediapipe,10\n"
        "open,driving.mp4,character.png,animate,mediapipe,mediapipe,auto\n"
    )
    table = read_table(folder / "clips.csv", Configuration(results=str(folder / "results")))
    assert not table.row_mistakes
    return table.clips


def requests_of(clips, submitted=True, on_gpu=("vitpose", "sam2"), **site):
    return Requests(
        site=Site(gpus_per_node=8, **site),
        submitted=submitted,
        counted="gpu",
        detectors=Detectors(frozenset({"vitpose", "sam2"}), frozenset(on_gpu)),
        clips=clips,
        clip_of=lambda wildcards: clips[wildcards.clip],
        work_of=lambda wildcards: HD,
        auto_gpus=lambda: 4,
        most_mb=lambda: None,
        detector_bytes=lambda setting, clip: {},
    )


def of(clip):
    return SimpleNamespace(clip=clip)


def value(resource, clip, **more):
    return resource(of(clip), **more) if callable(resource) else resource


@pytest.mark.parametrize(
    ("clip", "parts"),
    [
        ("plain", "prepare prepare prepare prepare"),
        # The skeleton needs the points that a GPU found, and the reference was found before.
        ("pose", "prepare prepare detect complete"),
        # Only the mask waits for a GPU: the points are found with the timeline.
        ("mask", "prepare complete prepare complete"),
        ("both", "prepare complete detect complete"),
    ],
)
def test_stages_are_submitted_before_with_or_after_the_detectors(clips, clip, parts):
    stages = ("timeline", "reference", "keypoints", "pose_video")
    groups = [requests_of(clips).submission(stage)(of(clip)) for stage in stages]
    assert groups == [f"{part}:{clip}:" for part in parts.split()]


def test_without_detectors_on_gpus_a_clip_is_prepared_by_one_job(clips):
    assert requests_of(clips, on_gpu=()).submission("keypoints") == "prepare:{clip}:"


def test_a_detector_asks_for_a_gpu_where_its_clip_uses_one(clips):
    asked = requests_of(clips).detector_job("keypoints")
    assert value(asked["gpu"], "pose") == 1 and value(asked["gpu"], "plain") is None
    assert "gpu" not in requests_of(clips, on_gpu=()).detector_job("keypoints")


def test_a_sampler_has_its_gpus_evenly_on_the_fewest_nodes(clips):
    asked = requests_of(clips).gpu_job()
    for clip, gpus, nodes, starter in (
        ("plain", 1, 1, None),
        ("open", 4, 1, None),
        ("wide", 10, 2, "srun"),
    ):
        assert value(asked["gpu"], clip) == gpus
        assert value(asked["nodes"], clip) == nodes
        assert value(asked["mpi"], clip) == starter
        flags = value(asked["slurm_extra"], clip)
        assert f"--gpus-per-node={gpus // nodes}" in flags


def test_clips_that_want_as_many_gpus_state_a_number(clips):
    same = {name: clips[name] for name in ("plain", "pose")}
    asked = requests_of(same).gpu_job()
    assert asked["gpu"] == 1 and asked["nodes"] == 1 and "mpi" not in asked


def test_memory_is_not_asked_for_where_the_site_forbids_it(clips):
    for job in ("cpu_job", "detector_job"):
        assert getattr(requests_of(clips, memory=False), job)("keypoints")["mem_mb"] == 0
    assert requests_of(clips, memory=False).gpu_job()["mem_mb"] == 0
    # On this machine it is how Snakemake schedules, whatever the site says.
    assert requests_of(clips, submitted=False, memory=False).cpu_job("mask") == {"mem_mb": STAGE_MB}


def test_each_attempt_asks_for_more_time_and_memory(clips):
    asked = requests_of(clips).cpu_job("keypoints")
    first, second = (
        [asked[n](of("plain"), attempt=a) for n in ("runtime", "mem_mb")] for a in (1, 2)
    )
    assert all(more > less for less, more in zip(first, second, strict=True))
