"""Whole runs of the sampler on the tiny model: clip lengths, shapes, resuming, faults."""

import errno
import hashlib
import json
import os
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from animate.config.job import read_job
from animate.devices.machine import Machine
from animate.errors import ClipError
from animate.journal import lock as clip_lock
from animate.journal import segments as journal_module
from animate.journal.key import input_hashes, job_key
from animate.journal.lock import held, remove_journal
from animate.journal.segments import Journal
from animate.parallel import vae_stream
from animate.parallel.plan import Workload
from animate.sampling.clip import read_clip
from animate.sampling.conditions import shared
from animate.sampling.conditions.latents import given_video
from animate.sampling.models import KeptModels, load_models
from animate.sampling.progress import Progress
from animate.sampling.run import run_job
from animate.sampling.weights import job_loras
from animate.video.files import VideoWriter, video_info
from animate.video.timeline import make_timeline
from animate.weights import identity
from animate.weights.storage.early import EarlyWeights
from intermediate import frames_of
from sampler_clip import RATE, change_settings, result_frames, write_clip, write_model

CPU = Machine(torch.device("cpu"), torch.float32)


class Interrupted(Exception):
    """Stands for the end of a process."""


class StepCounter(Progress):
    """Counts the steps done and can stop the run after some of them."""

    def __init__(self, stop_after: int | None = None):
        super().__init__("test")
        self.steps = 0
        self._stop_after = stop_after

    def step(self, segment, step):
        self.steps += 1
        if self.steps == self._stop_after:
            raise Interrupted

    def say(self, message):
        self.last = message


def sample(path: Path, stop_after: int | None = None) -> int:
    """Run a settings file in this process; return how many steps were done."""
    progress = StepCounter(stop_after)
    run_job(read_job(path), CPU, progress)
    return progress.steps


def interrupt(path: Path, steps: int) -> None:
    with pytest.raises(Interrupted):
        sample(path, stop_after=steps)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize(
    ("frames", "segments"),
    [(1, 1), (2, 1), (5, 1), (76, 1), (77, 1), (78, 2), (153, 2), (154, 3)],
)
def test_clip_lengths(model, tmp_path, frames, segments):
    path = write_clip(tmp_path, model, frames)
    assert sample(path) == segments
    info = video_info(tmp_path / "sampled.mp4")
    assert (info.frame_count, info.frame_rate, info.size) == (frames, RATE, (32, 32))
    assert len(result_frames(path)) == frames


@pytest.mark.parametrize("frames", [1, 2, 5, 77, 78])
def test_clip_lengths_with_five_conditioning_frames(model, tmp_path, frames):
    path = write_clip(tmp_path, model, frames, "replace", conditioning_frames=5)
    assert sample(path) == (2 if frames == 78 else 1)
    assert len(result_frames(path)) == frames


@pytest.mark.parametrize(("mode", "size"), [("animate", (32, 64)), ("replace", (48, 32))])
@pytest.mark.parametrize(("segment_frames", "frames"), [(5, 11), (49, 50), (105, 60)])
@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_shapes(model, tmp_path, mode, size, segment_frames, frames, guidance):
    path = write_clip(
        tmp_path, model, frames, mode, size, segment_frames=segment_frames, guidance_scale=guidance
    )
    sample(path)
    assert result_frames(path).shape == (frames, *size[::-1], 3)


def test_guidance_changes_the_result(model, tmp_path):
    results = []
    for scale in (1.0, 2.0):
        path = write_clip(tmp_path / str(scale), model, 5, segment_frames=5, guidance_scale=scale)
        sample(path)
        results.append(result_frames(path))
    assert not np.array_equal(*results)


def test_guidance_until_leaves_the_later_steps_unguided(model, tmp_path):
    def frames(name, **settings):
        path = write_clip(
            tmp_path / name,
            model,
            5,
            segment_frames=5,
            **{"steps": 2, "guidance_scale": 2.0} | settings,
        )
        sample(path)
        return result_frames(path)

    never, half, always = (frames(str(share), guidance_until=share) for share in (0.0, 0.5, 1.0))
    assert not np.array_equal(never, half) and not np.array_equal(half, always)
    assert np.array_equal(never, frames("none", guidance_scale=1.0))


def test_a_solver_that_adds_noise_resumes_with_the_same_noise(model, tmp_path):
    settings = {"segment_frames": 5, "solver": "lcm", "timesteps": [1000, 400]}
    whole = write_clip(tmp_path / "whole", model, 13, **settings)
    assert sample(whole) == 6
    other = write_clip(tmp_path / "other", model, 13, **settings)
    interrupt(other, 5)
    assert sample(other) == 2
    assert np.array_equal(result_frames(other), result_frames(whole))


@pytest.fixture
def clip(model, tmp_path):
    """A clip of three segments, and its frames when nothing interrupts it."""
    path = write_clip(tmp_path / "whole", model, 13, segment_frames=5, steps=2)
    assert sample(path) == 6
    path = write_clip(tmp_path / "clip", model, 13, segment_frames=5, steps=2)
    return path, result_frames(tmp_path / "whole" / "settings.json")


def test_resumed_clip_is_the_same(clip):
    path, whole = clip
    interrupt(path, 3)
    assert not (path.parent / "sampled.mp4").exists()
    interrupt(path, 1)
    interrupt(path, 3)
    assert sample(path) == 2
    assert np.array_equal(result_frames(path), whole)


def test_nothing_of_other_settings_is_deleted(clip):
    path, whole = clip
    interrupt(path, 5)
    change_settings(path, seed=3)
    interrupt(path, 3)
    assert len(segments_of(path)) == 3
    change_settings(path, seed=0)
    assert sample(path) == 2
    assert np.array_equal(result_frames(path), whole)
    assert len(segments_of(path)) == 4


def test_only_the_rule_that_finishes_a_clip_removes_its_journal(clip):
    path, whole = clip
    sample(path)
    (path.parent / "sampled.mp4").unlink()
    assert sample(path) == 0
    assert np.array_equal(result_frames(path), whole)
    journal = path.parent / ".journal"
    with held(journal, print):
        remove_journal(journal)
        assert len(segments_of(path)) == 3
    remove_journal(journal)
    assert not journal.exists()


def test_a_journal_on_a_disk_without_locks_is_removed(clip, monkeypatch):
    path, _ = clip

    def no_locks(*arguments):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(clip_lock.fcntl, "flock", no_locks)
    sample(path)
    remove_journal(path.parent / ".journal")
    assert not (path.parent / ".journal").exists()


@pytest.mark.parametrize(("compiling", "compiled"), [("on", True), ("off", False)])
def test_the_vae_is_compiled_with_the_transformer(model, compiling, compiled):
    machine = Machine(torch.device("cpu"), torch.float32, compiling=compiling)
    models = load_models(model, [], Workload(32, 32, 5), machine, print)
    assert (models.codec._stream._prepare is not vae_stream._normalise) == compiled
    assert models.made_by["compiled"] == compiled


def test_the_record_tells_what_sampled_each_segment(clip):
    path, _ = clip
    interrupt(path, 3)
    sample(path)
    record = json.loads((path.parent / "sampling.json").read_text())
    (run,) = record["segments"]
    assert (run["first"], run["last"], len(run["seconds"])) == (1, 3, 3)
    assert run["made_by"]["ranks"] == 1
    assert run["made_by"]["packages"]["torch"] == torch.__version__
    assert record["inputs"].keys() == {"pose", "face", "reference", "features", "prompt"}
    for read in record["inputs"].values():
        assert read["sha256"] == hashlib.sha256(Path(read["path"]).read_bytes()).hexdigest()
    stages = ["start", "imports and inputs", "models", "segments", "video"]
    assert list(record["seconds"]) == stages
    assert all(seconds >= 0 for seconds in record["seconds"].values())
    assert record["seconds"]["segments"] >= run["seconds"][-1]


def test_a_clip_that_goes_on_elsewhere_says_so(clip):
    path, _ = clip
    interrupt(path, 3)
    run_job(read_job(path), Machine(torch.device("cpu"), torch.bfloat16), StepCounter())
    first, second = json.loads((path.parent / "sampling.json").read_text())["segments"]
    assert (first["first"], first["last"], first["made_by"]["type"]) == (1, 1, "float32")
    assert (second["first"], second["last"], second["made_by"]["type"]) == (2, 3, "bfloat16")


def test_touched_inputs_are_the_same_clip(clip):
    path, _ = clip
    interrupt(path, 5)
    for file in path.parent.iterdir():
        os.utime(file)
    assert sample(path) == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda path, model: change_settings(path, seed=1),
        lambda path, model: change_settings(path, relighting_lora=True),
        lambda path, model: write_model(model, seed=1),
        lambda path, model: (path.parent / "src_ref.png").write_bytes(
            (path.parent / "other.png").read_bytes()
        ),
    ],
    ids=["setting", "lora", "model", "input"],
)
def test_a_change_starts_afresh(tmp_path, change):
    model = write_model(tmp_path / "model")
    path = write_clip(tmp_path / "clip", model, 13, segment_frames=5)
    cv2.imwrite(str(path.parent / "other.png"), np.zeros((8, 8, 3), np.uint8))
    interrupt(path, 3)
    change(path, model)
    assert sample(path) == 3


def test_fading_samples_nothing_again_and_changes_the_joins_alone(model, tmp_path):
    settings = {"segment_frames": 9, "steps": 2, "conditioning_frames": 5}
    plain = write_clip(tmp_path / "plain", model, 17, **settings)
    assert sample(plain) == 6
    faded = write_clip(tmp_path / "faded", model, 17, **settings)
    interrupt(faded, 5)
    change_settings(faded, overlap_blend=2)
    assert sample(faded) == 2
    stored = [[load_file(file) for file in segments_of(path)] for path in (plain, faded)]
    for one, other in zip(*stored, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)
    joined, kept = (frames_as_joined(path) for path in (faded, plain))
    changed = [not np.array_equal(a, b) for a, b in zip(joined, kept, strict=True)]
    assert [index for index, is_so in enumerate(changed) if is_so] == [7, 8, 11, 12]


def frames_as_joined(path: Path) -> list[np.ndarray]:
    """Return the frames of a finished clip before they are encoded."""
    job = read_job(path)
    journal = Journal(job.journal, json.loads(job.record.read_text())["key"])
    return list(frames_of(journal, len(segments_of(path)), job.settings.overlap_blend))


def test_weights_fetched_again_are_the_same_model(model, tmp_path, monkeypatch):
    monkeypatch.setattr(identity, "WHOLE_FILE_LIMIT", 0)
    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    weights = next((folder / "transformer").glob("*.safetensors"))
    before = identity.model_identity(folder)
    os.utime(weights, (1, 1))
    assert identity.model_identity(folder) != before
    record = {"generation": {"files": {str(weights.relative_to(folder)): "1a2b"}}}
    (folder / "sources.json").write_text(json.dumps(record))
    before = identity.model_identity(folder)
    os.utime(weights, (2, 2))
    assert identity.model_identity(folder) == before


def test_what_a_clip_does_not_read_is_no_part_of_its_key(model, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    lora = (folder / "relighting_lora.ckpt").read_bytes()
    (folder / "relighting_lora.ckpt").unlink()
    job = read_job(write_clip(tmp_path / "clip", folder, 5, "animate", segment_frames=5))
    before = job_key(job, job_loras(job), input_hashes(job))
    (folder / "relighting_lora.ckpt").write_bytes(lora)
    (folder / "text_encoder" / "model.safetensors").unlink()
    (folder / "vae" / "notes.txt").write_text("of another clip")
    assert job_key(job, job_loras(job), input_hashes(job)) == before


def with_shots(path: Path, shots: tuple[int, ...], frames: int) -> Path:
    """Give the clip of a settings file a timeline of `frames` frames; return the file."""
    timeline = make_timeline(path.parent / "src_pose.mp4", resolution_area=32 * 32)
    timeline = replace(timeline, source_indices=tuple(range(frames)), shots=shots)
    timeline.to_json(path.parent / "timeline.json")
    job = json.loads(path.read_text())
    job["inputs"]["timeline"] = str(path.parent / "timeline.json")
    path.write_text(json.dumps(job))
    return path


SHOTS = {"segment_frames": 9, "steps": 2}


@pytest.fixture
def two_shots(model, tmp_path):
    """Return a clip of two shots, 14 and 13 frames long, in a folder of its own."""

    def make(name: str, shots=(0, 14), **settings) -> Path:
        path = write_clip(tmp_path / name, model, 27, **SHOTS | settings)
        return with_shots(path, shots, 27)

    return make


@pytest.mark.parametrize("conditioning", [1, 5])
def test_a_clip_of_two_shots_goes_on_with_the_same_frames(two_shots, conditioning):
    whole, killed = (two_shots(name, conditioning_frames=conditioning) for name in ("a", "b"))
    segments = {1: 4, 5: 5}[conditioning]
    assert sample(whole) == 2 * segments
    for _ in range(segments):
        # Two steps finish a segment, the third is lost: it stops in each segment of the clip.
        with suppress(Interrupted):
            sample(killed, stop_after=3)
    assert np.array_equal(result_frames(killed), result_frames(whole))
    assert len(segments_of(killed)) == segments


def test_a_shot_knows_nothing_of_the_one_before(two_shots, monkeypatch):
    given = []

    def record(previous, *others):
        given.append(previous is not None)
        return given_video(previous, *others)

    monkeypatch.setattr(shared, "given_video", record)
    split, ignored = two_shots("split"), two_shots("ignored", cuts="ignore")
    sample(split)
    assert given == [False, True, False, True]
    given.clear()
    sample(ignored)
    assert given == [False, True, True, True]
    frames, others = result_frames(split), result_frames(ignored)
    assert np.array_equal(frames[:9], others[:9]) and not np.array_equal(frames, others)


def test_only_shots_that_are_sampled_apart_are_part_of_the_key(two_shots, model, tmp_path):
    def key(path: Path) -> str:
        job = read_job(path)
        return job_key(job, job_loras(job), input_hashes(job), read_clip(job).shots)

    plain = key(write_clip(tmp_path / "plain", model, 27, **SHOTS))
    assert key(two_shots("one", (0,))) == key(two_shots("short", (0, 5))) == plain
    assert key(two_shots("ignored", cuts="ignore")) == plain
    assert len({plain, key(two_shots("two")), key(two_shots("later", (0, 15)))}) == 3


def test_a_timeline_of_another_length_is_refused(two_shots):
    path = with_shots(two_shots("clip"), (0, 14), 26)
    with pytest.raises(ClipError, match="has 26 frames but the pose video 27"):
        sample(path)


def segments_of(path: Path) -> list[Path]:
    return sorted((path.parent / ".journal").rglob("segment_*.safetensors"))


@pytest.mark.parametrize("damage", ["truncate", "empty"])
def test_a_cut_segment_is_redone(clip, damage):
    path, whole = clip
    interrupt(path, 5)
    segment = segments_of(path)[1]
    segment.write_bytes({"truncate": segment.read_bytes()[:-7], "empty": b""}[damage])
    assert sample(path) == 4
    assert np.array_equal(result_frames(path), whole)


@pytest.mark.parametrize("place", [-20, -8000], ids=["tail", "frames"])
def test_a_segment_with_other_content_is_named_and_redone(clip, place):
    path, whole = clip
    interrupt(path, 5)
    segment = segments_of(path)[1]
    data = bytearray(segment.read_bytes())
    data[place] ^= 1
    segment.write_bytes(data)
    with pytest.raises(ClipError, match=r"segment 2 was damaged .* run again"):
        sample(path)
    assert sample(path) == 4
    assert np.array_equal(result_frames(path), whole)


def test_leftovers_of_killed_runs_are_removed(clip):
    path, _ = clip
    interrupt(path, 3)
    (segment,) = segments_of(path)
    leftovers = [
        path.parent / ".sampled.12345.part.mp4",
        segment.with_name(".segment_00001.12345.part"),
    ]
    for leftover in leftovers:
        leftover.write_bytes(b"half of it")
    sample(path)
    assert not any(leftover.exists() for leftover in leftovers)


def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_full_disk_keeps_finished_segments(clip, monkeypatch):
    path, whole = clip
    interrupt(path, 3)
    with monkeypatch.context() as patch:
        patch.setattr(journal_module.os, "fsync", full)
        with pytest.raises(ClipError, match=r"no space left .* its 1 finished segments are kept"):
            sample(path)
    with monkeypatch.context() as patch:
        patch.setattr(VideoWriter, "write", full)
        with pytest.raises(ClipError, match="no space left"):
            sample(path)
    # Segments go on being sampled until the encoder is heard.
    assert sample(path) <= 4
    assert np.array_equal(result_frames(path), whole)


def test_relighting_lora_is_used_in_replacement_only(model, tmp_path):
    for mode, expected in (("replace", 1), ("animate", 0)):
        job = read_job(write_clip(tmp_path / mode, model, 2, mode))
        assert len(job_loras(job)) == expected


def test_relighting_lora_that_is_not_there(model, tmp_path):
    path = write_clip(tmp_path, model, 2, relighting_lora=True)
    job = json.loads(path.read_text()) | {"model": str(tmp_path)}
    path.write_text(json.dumps(job))
    with pytest.raises(ClipError, match="relighting_lora is true, but the model has no"):
        job_loras(read_job(path))


def test_unequal_lengths_are_refused(model, tmp_path):
    path = write_clip(tmp_path, model, 6)
    write_clip(tmp_path / "other", model, 7)
    (tmp_path / "src_face.mp4").write_bytes((tmp_path / "other/src_face.mp4").read_bytes())
    with pytest.raises(ClipError, match=r"src_face\.mp4 \(face\) has 7 frames but .* 6"):
        sample(path)


def test_a_folder_that_is_no_model(model, tmp_path):
    path = write_clip(tmp_path, model, 2)
    path.write_text(path.read_text().replace(str(model), str(tmp_path)))
    with pytest.raises(ClipError, match="is not a model folder"):
        sample(path)


def test_ranks_that_stay_encode_what_stands_for_nothing_once(model, tmp_path, monkeypatch):
    clips = [
        write_clip(tmp_path / f"{number}", model, frames, **options)
        for number, (frames, options) in enumerate(
            [
                (13, {"segment_frames": 13}),
                (13, {"segment_frames": 13}),
                (5, {"segment_frames": 5}),
                (25, {"segment_frames": 13}),
                (13, {"segment_frames": 13, "mode": "replace", "relighting_lora": False}),
            ]
        )
    ]
    encoded, encode = [], vae_stream.VaeStream.encode

    def counting(self, video, *others):
        encoded.append(len(video))
        return encode(self, video, *others)

    monkeypatch.setattr(vae_stream.VaeStream, "encode", counting)
    # Of each clip: the reference, what is given, the pose; a later segment is given a frame.
    expected = [[1, 13, 13], [1, 13], [1, 5, 5], [1, 13, 13, 13], [1, 13, 13]]
    with EarlyWeights(model / "transformer", CPU.device) as early:
        kept = KeptModels(CPU, early)
        for path, lengths in zip(clips, expected, strict=True):
            encoded.clear()
            run_job(read_job(path), CPU, StepCounter(), kept)
            assert sorted(encoded) == lengths, path
    monkeypatch.undo()
    for path in clips[1], clips[3]:
        shown = result_frames(path)
        shutil.rmtree(path.with_name(".journal"))
        sample(path)
        assert np.array_equal(result_frames(path), shown)
