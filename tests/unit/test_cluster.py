"""What a clip costs, asks for and gets on a cluster, without one."""

import json
import signal
import socket
from dataclasses import replace
from datetime import datetime

import pytest

from animate.cluster.cost import disk_bytes, sampling_cost, segment_seconds, speed_up, stage_seconds
from animate.cluster.hopeless import Hopeless, hopeless_jobs, remedy_of
from animate.cluster.launch import ranks_command, step_command
from animate.cluster.nodes import ask_nodes, most_memory, read_nodes
from animate.cluster.plan import plan_clips, table_rows
from animate.cluster.queue import jobs_of, requeue_preempted, waiting
from animate.cluster.recovery import note_run, recover
from animate.cluster.requests.amounts import (
    detector_mb,
    grown_mb,
    sampling_mb,
    sampling_minutes,
    stage_minutes,
)
from animate.cluster.requests.gpus import auto_gpus, node_count, why_never
from animate.cluster.site import Site
from animate.cluster.work import Work, clip_work
from animate.config.configuration import Configuration
from animate.config.models.known import SMALL_MODELS
from animate.config.table import read_table
from animate.demo.clips import write_demo
from animate.demo.model import write_tiny_model
from animate.devices.world import ALONE
from animate.errors import ClipError
from animate.sampling.stopping import Stopped, stopping
from animate.weights.identity import model_identity
from animate.weights.storage.staging import stage_model

FULL = "wan2.2-animate-14b"
HD = Work(77, True, 1280 * 720, 77, 1, 20, 0, 1, "bf16", "bf16")
SITE = Site.of(Configuration())


@pytest.fixture
def table(tmp_path):
    """A table of two clips of the demo's video and one refused row, and its configuration."""
    write_demo(tmp_path)
    (tmp_path / "bad.mp4").write_text("this is not a video")
    (tmp_path / "clips.csv").write_text(
        "clip,video,reference,mode,end,gpus,steps\n"
        "good,driving.mp4,character.png,animate,2,auto,20\n"
        "bad,bad.mp4,character.png,animate,,1,20\n"
        "many,driving.mp4,character.png,replace,2,40,20\n"
        "wrong,driving.mp4,character.png,replace,2,1,none\n"
    )
    config = Configuration(results=str(tmp_path / "results"))
    return read_table(tmp_path / "clips.csv", config), config


def test_model_gives_the_measured_seconds():
    step = segment_seconds(replace(HD, steps=1), 77) - segment_seconds(replace(HD, steps=0), 77)
    assert step == pytest.approx(11.20, rel=0.001)
    assert speed_up(2) == pytest.approx(1.94)
    wide = replace(HD, pixels=832 * 464, steps=1)
    small = segment_seconds(wide, 77) - segment_seconds(replace(wide, steps=0), 77)
    # Measured as 2.77 s with cuDNN attention.
    assert small == pytest.approx(2.77, rel=0.05)


def test_a_guided_step_takes_as_long_as_two():
    """Guidance in a quarter of the steps costs a quarter of what it costs in all of them."""
    plain, part, all_steps = (
        segment_seconds(replace(HD, guided_steps=steps), 77) for steps in (0, 5, 20)
    )
    assert all_steps - plain == pytest.approx(4 * (part - plain))


def test_short_clips_cost_what_their_segments_take():
    """33 frames padded to 77 took 3.4 times the work."""
    short = replace(HD, frames=33)
    padded, even = (
        sampling_cost(replace(short, segment_fit=fit), 1, 1.0, FULL).seconds
        - sampling_cost(replace(short, segment_fit=fit, steps=0), 1, 1.0, FULL).seconds
        for fit in ("pad", "even")
    )
    assert padded / even == pytest.approx(3.4, rel=0.1)


def test_more_gpus_cost_more_gpu_minutes_but_less_time():
    one, two = (sampling_cost(HD, gpus, 1.0, FULL) for gpus in (1, 2))
    assert two.seconds < one.seconds and two.gpu_minutes > one.gpu_minutes


def test_time_limit_grows_with_attempts_up_to_the_sites():
    long = replace(HD, frames=77 * 40)
    minutes = [sampling_minutes(long, 1, SITE, FULL, n) for n in (1, 2, 9)]
    assert minutes[1] == 2 * minutes[0] and minutes[2] == SITE.max_minutes


# The most MB and the seconds of a frame on two cores that were measured, by detector.
MEASURED = {"vitpose": (3400, 1.9), "sam2": (2500, 19)}
WEIGHTS = {
    "vitpose": {"yolov10m.onnx": 61_700_000, "end2end.onnx": 400_000, "weight": 2_549_000_000},
    "sam2": {"sam2_hiera_large.pt": 898_000_000},
}


@pytest.mark.parametrize("detector", MEASURED)
def test_a_detectors_memory_and_time_hold_what_was_measured(detector):
    most, each = MEASURED[detector]
    asked = detector_mb(detector, WEIGHTS[detector], False)
    assert most * 1.2 < asked < most * 1.6
    assert detector_mb(detector, {}, False) == pytest.approx(asked, rel=0.02)
    assert detector_mb(detector, WEIGHTS[detector], True) > asked
    stage = "keypoints" if detector == "vitpose" else "person_mask"
    work = replace(HD, frames=300)
    minutes = [stage_minutes(stage, work, SITE, n, detector) for n in (1, 2)]
    assert 300 * each / 60 < minutes[0] < minutes[1]
    assert stage_minutes(stage, work, SITE, 1, detector, True) < minutes[0] / 3


def test_a_larger_checkpoint_asks_for_more_and_one_file_of_all_weights_for_twice_its_size():
    small, large = (detector_mb("sam2", {"a.pt": size}, False) for size in (156e6, 898e6))
    assert large - small == 1484
    whole = detector_mb("vitpose", {"a.onnx": 1_900_000_000}, False)
    # A network of that size had a peak of 4150 MB.
    assert whole > 4150
    assert detector_mb("mediapipe", {}, False) == 2000


def test_an_editor_asks_for_twice_its_weights_where_it_computes_in_fp32():
    weights = {"transformer/a.safetensors": 23_800_000_000, "vae/a.safetensors": 200_000_000}
    on_cpu, on_gpu = (detector_mb("flux", weights, gpu) for gpu in (False, True))
    assert on_cpu > 48_000 and 24_000 < on_gpu < 34_000


def test_memory_grows_with_attempts_up_to_the_largest_nodes():
    assert [grown_mb(2000, attempt) for attempt in (1, 2, 3)] == [2000, 3000, 4000]
    assert [grown_mb(2000, attempt, 2500) for attempt in (1, 2, 3)] == [2000, 2500, 2500]
    assert grown_mb(2000, 3, 1000) == 2000


@pytest.mark.parametrize("stage", ["keypoints", "person_mask", "face_video", "background"])
def test_what_is_decoded_and_not_shown_counts(stage):
    late = replace(HD, skipped=20_000)
    assert stage_minutes(stage, late, SITE, 1) > stage_minutes(stage, HD, SITE, 1) + 10
    assert stage_minutes("mask", late, SITE, 1) == stage_minutes("mask", HD, SITE, 1)


def test_a_timeline_decodes_the_whole_film():
    film = replace(HD, film=200_000)
    assert stage_minutes("timeline", film, SITE, 1) > 200_000 * 0.0093 / 60
    assert stage_minutes("keypoints", film, SITE, 1) == stage_minutes("keypoints", HD, SITE, 1)


@pytest.mark.parametrize(
    ("available", "per_node", "clips", "gpus"),
    [(8, 4, 100, 1), (8, 4, 2, 4), (8, 8, 1, 8), (8, 4, 0, 4), (7, 8, 1, 5), (1, 1, 1, 1)],
)
def test_auto_shares_the_gpus(available, per_node, clips, gpus):
    assert auto_gpus(available, per_node, clips) == gpus


def test_nodes_have_the_same_number_of_gpus():
    assert [node_count(gpus, 4) for gpus in (1, 4, 5, 8, 10)] == [1, 1, 5, 2, 5]


def test_frames_are_estimated_without_opening_the_video(table, tmp_path):
    clip = table[0].clips["good"]
    work = clip_work(clip, str(tmp_path))
    assert (work.frames, work.known) == (60, False)
    (tmp_path / "good").mkdir()
    timeline = {"frame_count": 7, "model_size": [64, 32], "source_indices": [900], "entry": None}
    (tmp_path / "good/timeline.json").write_text(json.dumps(timeline))
    work = clip_work(clip, str(tmp_path))
    assert (work.frames, work.pixels, work.known, work.skipped) == (7, 2048, True, 900)
    timeline["entry"] = {"seek": 1, "pts": 1, "number": 898}
    (tmp_path / "good/timeline.json").write_text(json.dumps(timeline) + " ")
    assert clip_work(clip, str(tmp_path)).skipped == 250


def test_a_clip_of_another_ones_result_is_planned_before_that_is_made(table, tmp_path):
    (tmp_path / "clips.csv").write_text(
        "clip,video,reference,mode,start,fps\n"
        "rest,clip:good,character.png,animate,0.5,source\n"
        "good,driving.mp4,character.png,animate,1,12\n"
        "late,clip:good,character.png,animate,60,\n"
    )
    found, results = read_table(tmp_path / "clips.csv", table[1]), table[1].results
    frames = {}
    for line in plan_clips(found, results, SITE, 1):
        frames[line.clip] = line.work and line.work.frames
        assert ("lasts" in line.refusal) == (line.clip == "late")
    assert frames["good"] - frames["rest"] == 6
    # Its size would promise hours.
    rest = found.clips["rest"]
    before = clip_work(rest, results)
    video = tmp_path / "results/good/intermediate.mp4"
    video.parent.mkdir(parents=True)
    with video.open("wb") as file:
        file.truncate(10**10)
    assert clip_work(rest, results) == before and before.frames < 200
    timeline = {"frame_count": 48, "model_size": [64, 32], "source_indices": [0]}
    (tmp_path / "results/good/timeline.json").write_text(json.dumps(timeline))
    (line, *_) = plan_clips(found, results, SITE, 1)
    assert line.work.film == 48 and line.work.frames == 42


def test_each_small_model_costs_what_was_measured():
    demo = {"frames": 69, "pixels": 272 * 272, "segment_frames": 21, "conditioning_frames": 5}
    clip = replace(HD, **demo, steps=6)
    seconds = {model: sampling_cost(clip, 1, 1, model, start=0).seconds for model in SMALL_MODELS}
    assert seconds["demo"] == pytest.approx(4 * 13, rel=0.1)
    assert seconds["tiny"] < seconds["demo"] / 5


def test_what_segments_share_counts_on_the_disk():
    """A stored segment has the frames that it paints again, and in fp32 those for the next."""
    long = replace(HD, frames=13 + 10 * 64, conditioning_frames=13)
    assert len(long.segment_lengths) == 10
    more = disk_bytes(long) - disk_bytes(replace(long, conditioning_frames=1))
    journals = [10 * 13, len(replace(long, conditioning_frames=1).segment_lengths)]
    assert more == pytest.approx((journals[0] - journals[1]) * 15 * 1280 * 720, abs=1)
    assert disk_bytes(long) > long.frames * long.pixels * 3 + 10 * 13 * long.pixels * 15


def test_frames_for_other_clips_cost_disk_and_time():
    taken, chained = replace(HD, taken=True), replace(HD, chained=True)
    assert disk_bytes(taken) - disk_bytes(HD) == pytest.approx(1.4 * 77 * 1280 * 720, abs=1)
    assert stage_seconds("keypoints", chained) > stage_seconds("keypoints", HD) + 77 * 0.2
    assert stage_seconds("mask", chained) == stage_seconds("mask", HD)


def test_shots_of_the_timeline_are_planned_as_the_sampler_does(table, tmp_path):
    clip = table[0].clips["good"]
    assert clip_work(clip, str(tmp_path)).segments == 1
    (tmp_path / "good").mkdir()
    timeline = {"frame_count": 200, "model_size": [1280, 720], "source_indices": [0]}
    timeline["shots"] = [0, 60, 65, 100]
    (tmp_path / "good/timeline.json").write_text(json.dumps(timeline))
    split = clip_work(clip, str(tmp_path))
    ignored = clip_work(
        replace(clip, settings=clip.settings.model_copy(update={"cuts": "ignore"})), str(tmp_path)
    )
    assert (split.shots, split.segments) == ((0, 65, 100), 4)
    assert (ignored.shots, ignored.segments) == ((0,), 3)
    assert split.segment_lengths == [65, 37, 53, 53]
    assert ignored.segment_lengths == [69, 69, 69]


def test_plan_says_what_each_clip_takes_and_why_some_cannot_run(table):
    found, config = table
    lines = list(plan_clips(found, config.results, SITE, 4))
    rows = {row[0]: row for row in table_rows(lines)}
    header = rows["clip"]
    good = dict(zip(header, rows["good"], strict=True))
    assert (good["frames"], good["segments"], good["GPUs"]) == ("~60", "1", "4")
    assert good["card: RAM GB"].startswith("12: ")
    assert float(good["GPU GiB"]) > 30 and good["cannot run because"] == ""
    assert "bad.mp4 cannot be read" in rows["bad"][-1]
    assert "40 GPUs are more than the 8" in rows["many"][-1]
    assert "row 5, column 'steps'" in rows["(row 5)"][-1]
    assert rows["total"][1] == "60" and rows["total"][-1] == "3 clips"


def test_plan_refuses_what_no_gpu_can_hold(table):
    found, config = table
    small = Site(gpu_memory_gb=4)
    line = next(plan_clips(found, config.results, small, 1))
    assert "GiB of GPU memory" in line.refusal


def test_why_never_names_both_ways_out():
    reason = why_never(40, SITE, "tiny", [])
    assert "gpus lower" in reason and "cluster.max_gpus" in reason


# Partition, GPUs, CPUs, MB and features, as sinfo prints them.
SINFO = (
    "gpu\tgpu:a100:4(S:0,1),gpu:1g.10gb:7(S:1)\t64\t500000+\tnvlink,ib\n"
    "gpu\tgpu:v100:2,mps:200\t16\t90000\tib\n"
    "gpu\tgpu:v100:2,mps:200\t16\t90000\tib\n"
    "cpu*\t(null)\t64\t250000\t(null)\n"
    "old\tgpu:2\t8\t250000\t(null)\n"
)


def test_nodes_are_read_as_sinfo_prints_them():
    mixed, volta, _, plain, old = read_nodes(SINFO)
    assert mixed.gpus == {"a100": 4, "1g.10gb": 7} and volta.gpus == {"v100": 2}
    assert (mixed.cpus, mixed.memory_mb, mixed.features) == (64, 500_000, {"nvlink", "ib"})
    assert plain.partition == "cpu" and not plain.gpus and not plain.features
    assert old.gpus == {"": 2}
    assert read_nodes("CLUSTER: here\n\n" + SINFO) == read_nodes(SINFO)


@pytest.mark.parametrize(
    ("gpus", "site", "model", "sentence"),
    [
        (2, {"gpu_partition": "gpu", "gpu_model": "v100"}, "tiny", ""),
        (4, {"gpu_partition": "gpu", "gpu_model": "A100"}, FULL, ""),
        (8, {"gpu_partition": "gpu", "gpus_per_node": 8}, FULL, ""),
        (1, {"gpu_partition": "gpu", "gpu_constraint": "nvlink&ib|none"}, FULL, ""),
        (1, {"gpu_partition": "gpu", "gpu_constraint": "[none*2]"}, FULL, ""),
        (1, {"gpu_partition": "no-such"}, FULL, ""),
        (
            8,
            {"gpu_partition": "old", "gpus_per_node": 8},
            "tiny",
            "8 GPUs of one node: no node of partition old has more than 2;"
            " set cluster.gpus_per_node in config.yaml to 2",
        ),
        (
            4,
            {"partition": "gpu", "gpu_model": "v100"},
            "tiny",
            "4 GPUs of type v100 of one node: no node of partition gpu has more than 2;"
            " set cluster.gpus_per_node in config.yaml to 2",
        ),
        (
            1,
            {"gpu_partition": "gpu", "gpu_model": "h100"},
            "tiny",
            "no node of partition gpu has GPUs of type h100: correct cluster.gpu_model in"
            " config.yaml; its nodes have 1g.10gb, a100, v100",
        ),
        (
            1,
            {"gpu_partition": "old", "gpu_model": "h100"},
            "tiny",
            "no node of partition old has GPUs of type h100: correct cluster.gpu_model in"
            " config.yaml; its nodes have GPUs without a type",
        ),
        # SLURM, or the user, may choose another partition than the default one.
        (1, {}, "tiny", ""),
        (
            1,
            {"partition": "cpu"},
            "tiny",
            "no node of partition cpu has GPUs: set cluster.gpu_partition in config.yaml",
        ),
        (
            1,
            {"gpu_partition": "gpu", "gpu_constraint": "nvlink&fast"},
            "tiny",
            "no node of partition gpu has the features nvlink&fast: correct cluster.gpu_constraint"
            " in config.yaml; its nodes have ib, nvlink",
        ),
        (
            2,
            {"gpu_partition": "old", "cpus_per_gpu": 8},
            "tiny",
            "16 CPUs of one node: no node of partition old with 2 GPUs has more than 8;"
            " set cluster.cpus_per_gpu in config.yaml to 4",
        ),
        (
            8,
            {"gpu_partition": "gpu", "gpu_model": "v100", "gpus_per_node": 2, "max_gpus": 8},
            "tiny",
            "4 nodes with 2 GPUs of type v100 each: partition gpu has only 2 of them; set the"
            " clip's gpus lower",
        ),
    ],
)
def test_why_never_says_what_no_node_has(gpus, site, model, sentence):
    assert why_never(gpus, Site(**site), model, read_nodes(SINFO)) == sentence


def test_why_never_knows_the_memory_of_the_nodes():
    (small,) = read_nodes("gpu*\tgpu:8\t64\t60000\t(null)")
    reason = why_never(4, SITE, FULL, [small])
    assert "72000 MB of memory of one node: no node of partition gpu with 4 GPUs" in reason
    assert why_never(1, SITE, FULL, [small]) == ""


def test_only_slurm_starts_a_clip_on_several_nodes():
    site = Site(max_gpus=8, gpus_per_node=4)
    assert why_never(8, site, "tiny", [], several=True) == ""
    refused = why_never(8, site, "tiny", [], several=False)
    assert "8 GPUs are 2 nodes of 4, and only SLURM" in refused
    assert why_never(4, site, "tiny", [], several=False) == ""


def test_no_attempt_asks_for_more_memory_than_the_largest_node_has():
    nodes = read_nodes(SINFO)
    assert most_memory(Site(gpu_partition="gpu", gpu_model="v100"), nodes) == 90_000
    assert most_memory(Site(gpu_partition="cpu"), nodes) is None
    asked = [sampling_mb(4, FULL, attempt, 90_000) for attempt in (1, 2, 3)]
    assert asked == [72_000, 90_000, 90_000]
    assert [sampling_mb(4, FULL, attempt) for attempt in (1, 2)] == [72_000, 96_000]
    # What the first attempt needs is refused with a reason, not cut.
    assert sampling_mb(4, FULL, 2, 60_000) == 72_000


# Number, state, partition, reason, time, folder, name and comment, as squeue prints them.
SQUEUE = """CLUSTER: here

7\tPENDING\tgpu\tPartitionTimeLimit\t{time}\t{folder}\twan-animate-a\trule_sample_wildcards_a_wildcards_b
8\tPENDING\tshort,long\tPartitionTimeLimit\t{time}\t{folder}\twan-animate-a\trule_prompt_wildcards_0f
9\tRUNNING\tgpu\tNone\t{time}\t{folder}\twan-animate-a\trule_prepare:my_dance.1:_background_mask_...
10\tPENDING\tgpu\tPriority\t{time}\t{folder}\twan-animate-a\trule_small_model
11\tPENDING\tgpu\tBadConstraints\t{time}\t{folder}\tother\trule_a
12\tPENDING\tgpu\tBadConstraints\t{time}\t/elsewhere\twan-animate-a\trule_a
"""


@pytest.fixture
def queue(tmp_path, monkeypatch):
    """The jobs of a folder, as another program than squeue prints them."""
    (tmp_path / "said").write_text(SQUEUE.format(folder=tmp_path, time="2026-11-28T00:00:00"))
    (tmp_path / "squeue").write_text(f"#!/bin/sh\nexec /bin/cat {tmp_path}/said\n")
    (tmp_path / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return jobs_of(tmp_path)


def test_only_the_jobs_of_the_folder_are_seen(queue):
    assert [job.number for job in queue] == ["7", "8", "9", "10"]


def test_a_job_says_its_clip(queue):
    assert [job.clip for job in queue] == ["a_wildcards_b", "", "my_dance.1", ""]


def test_what_is_said_of_a_hopeless_job(queue):
    said = str(Hopeless(queue[0], remedy_of(queue[0].reason)))
    assert said.startswith("SLURM job 7 of clip a_wildcards_b can never start (PartitionTimeLimit)")
    assert "job 8 of all clips" in str(Hopeless(queue[1], ""))


def test_a_job_that_another_partition_can_start_is_not_hopeless(queue):
    assert [job.number for job in hopeless_jobs(queue)] == ["7"]


def test_what_jobs_wait_for_is_said(queue):
    assert waiting(queue) == "2 waiting: PartitionTimeLimit; 1 waiting: Priority"
    assert waiting([]) == ""


def test_only_a_pre_empted_job_of_this_run_is_put_back(queue, tmp_path):
    line = "{}\tPREEMPTED\tgpu\tNone\t2026-11-28T0{}:00:00\t{}\twan-animate-a\t\n"
    (tmp_path / "said").write_text(line.format(13, 1, tmp_path) + line.format(14, 3, tmp_path))
    (tmp_path / "scontrol").write_text(f"#!/bin/sh\necho $* >> {tmp_path}/asked\n")
    (tmp_path / "scontrol").chmod(0o755)
    requeue_preempted(tmp_path, datetime(2026, 11, 28, 2).timestamp())
    assert (tmp_path / "asked").read_text() == "requeue 14\n"


def test_without_slurm_no_node_is_known(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ask_nodes() == []
    # A sinfo that finds no controller.
    (tmp_path / "sinfo").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "sinfo").chmod(0o755)
    assert ask_nodes() == []


@pytest.mark.parametrize(
    ("reason", "key"),
    [
        ("BadConstraints", "gpus_per_node"),
        ("PartitionConfig", "partition"),
        ("PartitionTimeLimit", "max_minutes"),
        ("QOSMaxWallDurationPerJobLimit", "max_minutes"),
        ("AssocMaxNodePerJobLimit", "fewer GPUs"),
        ("QOSMaxGRESPerJob", "gpus_per_node"),
        ("InvalidQOS", "qos"),
        ("Job's_account_not_permitted_to_use_this_partition_(gpu_allows_lab)", "account"),
    ],
)
def test_a_reason_that_waiting_does_not_end_has_a_remedy(reason, key):
    assert key in remedy_of(reason)


@pytest.mark.parametrize(
    "reason",
    [
        *("None", "Priority", "Resources", "BeginTime", "Licenses", "JobHeldUser", "JobHeldAdmin"),
        *("QOSGrpCpuLimit", "AssocGrpGRES", "QOSMaxJobsPerUserLimit", "QOSMaxGRESPerUser"),
        *("AssocMaxJobsLimit", "MaxGRESPerAccount", "PartitionDown"),
        "ReqNodeNotAvail, UnavailableNodes:n2",
        "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority"
        " partitions",
    ],
)
def test_a_reason_that_goes_away_has_none(reason):
    assert remedy_of(reason) == ""


def test_ranks_of_two_nodes_meet_where_slurm_says():
    environment = {"SLURM_JOB_ID": "20007", "SLURM_LAUNCH_NODE_IPADDR": "10.0.0.1"}
    command = ranks_command(2, 4, ["sample.py"], environment)
    assert {"--nnodes=2", "--rdzv-endpoint=10.0.0.1:20007", "--nproc-per-node=4"} <= {*command}
    assert "--standalone" in ranks_command(1, 4, ["sample.py"])
    # Since SLURM 22.05, srun does not take the CPUs of the job by itself.
    command = step_command(2, 8, 16, ["task"])
    assert {"--nodes=2", "--gres=gpu:4", "--cpus-per-task=16"} <= {*command}


def test_staged_model_is_the_same_and_is_copied_once(tmp_path):
    model, said = tmp_path / "model", []
    write_tiny_model(model, 0, face_size=32)
    environment = {"SCRATCH": str(tmp_path)}
    copy = stage_model(model, "$SCRATCH", environment, said.append)
    assert copy != model and model_identity(copy) == model_identity(model)
    assert stage_model(model, "$SCRATCH", environment, said.append) == copy
    assert said == []


@pytest.mark.parametrize(
    ("scratch", "problem"), [("$NOWHERE", "is not set"), ("/nowhere", "No such file")]
)
def test_model_is_read_in_place_without_scratch(tmp_path, scratch, problem):
    model, said = tmp_path / "model", []
    model.mkdir()
    assert stage_model(model, scratch, {}, said.append) == model
    assert problem in said[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_stops_after_the_step(number):
    before = signal.getsignal(number)
    steps = []
    with pytest.raises(Stopped) as raised, stopping(ALONE, lambda *at: steps.append(at)) as on_step:
        on_step(0, 1)
        signal.raise_signal(number)
        on_step(1, 2)
    assert steps == [(0, 1), (1, 2)] and signal.getsignal(number) == before
    assert f"stopped by {number.name} after step 2 of segment 2" in str(raised.value)


def test_recovery_refuses_while_the_run_is_alive_or_elsewhere(tmp_path):
    note = tmp_path / "run.json"
    note_run(note)
    with pytest.raises(ClipError, match="a run is alive here"):
        recover(tmp_path, note, print)
    note.write_text(json.dumps({"host": "other", "pid": 1, "started": 0}))
    with pytest.raises(ClipError, match="started on other"):
        recover(tmp_path, note, print)


def test_recovery_removes_the_lock_of_a_dead_run(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    note, locks = tmp_path / "run.json", tmp_path / ".snakemake/locks"
    note.write_text(json.dumps({"host": socket.gethostname(), "pid": 1, "started": -1}))
    locks.mkdir(parents=True)
    recover(tmp_path, note, print)
    assert not locks.exists() and not note.exists()
