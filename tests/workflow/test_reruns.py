"""Only what changed runs again: Snakemake's own list of jobs after each kind of change."""

import json
import os
import shutil
import time

import pytest
import yaml

FINISH = {"mux": 1, "provenance": 1, "page": 1}
JUDGE = {"result_keypoints": 1, "result_metrics": 1}
SAMPLE = {"accept": 1, "sample": 1, **JUDGE, **FINISH}
PREVIEW = {"preview": 1, "verdict": 1}


def test_a_second_run_has_nothing_to_do(project):
    assert project.pending_jobs() == {}
    assert "Nothing to be done" in project.snakemake().stderr


def test_steps_of_one_clip(project, rows):
    rows[0]["steps"] = "2"
    project.write_table(*rows)
    assert project.pending_jobs() == {"dance": SAMPLE}


def test_segments_of_one_clip_are_shown_anew(project, rows):
    rows[0]["segment_frames"] = "21"
    project.write_table(*rows)
    assert project.pending_jobs() == {"dance": {**PREVIEW, **SAMPLE}}


@pytest.mark.parametrize(
    ("setting", "value"), [("mask_kernel", "5"), ("mask_grid", "pixel"), ("mask_steady", "false")]
)
def test_mask(project, rows, setting, value):
    rows[1][setting] = value
    project.write_table(*rows)
    assert project.pending_jobs() == {"swap": {"mask": 1, "background": 1, **PREVIEW, **SAMPLE}}


def test_smoothing(project, rows):
    rows[0]["smooth_pose"] = "true"
    project.write_table(*rows)
    assert project.pending_jobs() == {"dance": {"pose_video": 1, **PREVIEW, **SAMPLE}}


def test_retargeting_and_another_person(project, rows):
    rows[0] |= {"retarget": "basic", "person": "center"}
    project.write_table(*rows)
    jobs = project.pending_jobs()["dance"]
    assert jobs["keypoints"] == jobs["pose_video"] == jobs["sample"] == 1
    # The verdict has looked at the reference before.
    assert jobs["timeline"] == jobs["reference"] == jobs["reference_keypoints"] == 0


def test_sound_samples_nothing(project, rows):
    rows[0]["sound"] = "none"
    project.write_table(*rows)
    assert project.pending_jobs() == {"dance": {"sound": 1, **FINISH}}


def test_sound_and_steps_at_once(project, rows):
    """The sampler does not run again for `ancient` files, but for its own reasons beside them."""
    rows[0] |= {"sound": "none", "steps": "2"}
    project.write_table(*rows)
    assert project.pending_jobs() == {"dance": {"sound": 1, **SAMPLE}}


def test_a_setting_that_the_clips_mode_does_not_use(project, rows):
    rows[0]["mask_kernel"] = "5"
    project.write_table(*rows)
    assert project.pending_jobs() == {"dance": {"provenance": 1, "page": 1}}


def test_prompt(project, rows):
    rows[0]["prompt"] = "a new text"
    project.write_table(*rows)
    assert project.pending_jobs() == {"": {"prompt": 1}, "dance": SAMPLE}


def test_prompts_of_seconds(project, rows):
    """Each text is encoded once; another second, too, samples the clip again."""
    rows[0]["prompts"] = "0: one; 0.9: two; 1.2: one"
    project.write_table(*rows)
    assert project.pending_jobs() == {"": {"prompt": 2}, "dance": SAMPLE}


def test_reference_of_one_clip(project, rows):
    shutil.copy(project.folder / "character.png", project.folder / "other.png")
    rows[1]["reference"] = "../other.png"
    project.write_table(*rows)
    jobs = project.pending_jobs()
    assert list(jobs) == ["swap"]
    assert jobs["swap"] == {"reference": 1, "reference_features": 1, **SAMPLE}


def test_a_new_row(project, rows):
    project.write_table(*rows, rows[0] | {"clip": "again"})
    jobs = project.pending_jobs()
    assert list(jobs) == ["again"]
    assert jobs["again"]["sample"] == 1


def test_a_removed_row(project, rows):
    project.write_table(rows[0])
    assert project.pending_jobs() == {}


def test_reordered_rows_and_columns(project, rows):
    project.write_table(*[dict(reversed(row.items())) for row in reversed(rows)])
    assert project.pending_jobs() == {}


def test_touched_but_unchanged_files(project):
    later = time.time() + 60
    for path in (*project.folder.glob("videos/*"), project.folder / "character.png"):
        os.utime(path, (later, later))
    for path in project.folder.glob("workflow/**/*.py"):
        os.utime(path, (later, later))
    assert project.pending_jobs() == {}


def test_a_changed_video(project):
    (video,) = project.folder.glob("videos/*")
    with video.open("ab") as file:
        file.write(b"more")
    jobs = project.pending_jobs()
    assert jobs["dance"]["timeline"] == jobs["swap"]["timeline"] == 1


def test_only_the_changed_clip_is_really_run(project, rows):
    rows[0]["seed"] = "1"
    project.write_table(*rows)
    other = project.folder / "results" / "swap" / "swap.mp4"
    result = project.folder / "results" / "dance" / "dance.mp4"
    before = other.stat().st_mtime_ns, result.read_bytes()
    project.snakemake()
    assert other.stat().st_mtime_ns == before[0]
    assert result.read_bytes() != before[1]
    assert project.pending_jobs() == {}


REPOSITORY = "Wan-AI/Wan2.2-Animate-14B"
POSE, MASK, TEXT = (
    f"process_checkpoint/{name}"
    for name in ("pose2d/weights", "sam2/sam2_hiera_large.pt", "pose2d/README.md")
)
PINNED = {POSE: "a", MASK: "b", TEXT: "c", "process_checkpoint/det/yolov10m.onnx": "d"}


def pin(project, commit, files):
    """Write a lock: the digit that the commit repeats, and that of each file's SHA-256."""
    locked = {name: {"size": 1, "sha256": digit * 64} for name, digit in files.items()}
    lock = {REPOSITORY: {"revision": "main", "commit": commit * 40, "files": locked}}
    (project.folder / "config/models.lock.yaml").write_text(yaml.safe_dump(lock))


@pytest.fixture
def official(project, rows):
    """The finished project, as if ViTPose and SAM 2 had made its clips with pinned weights."""
    rows[0] |= {"pose_backend": "vitpose", "retarget": "basic"}
    rows[1] |= {"mask_backend": "sam2"}
    project.write_table(*rows)
    pin(project, "1", PINNED)
    weights = project.folder / "models/preprocess/sources.json"
    weights.parent.mkdir()
    weights.write_text("{}")
    shutil.copy(
        project.folder / "results/dance/keypoints.npz",
        project.folder / "results/dance/reference_keypoints.npz",
    )
    project.snakemake("--touch", "--forceall", "--no-hooks")
    assert project.pending_jobs() == {}
    return project


def test_another_commit_with_the_same_weights(official):
    pin(official, "2", PINNED | {TEXT: "e", "unused": "f"})
    assert official.pending_jobs() == {}


def test_other_weights_run_what_they_feed(official):
    pin(official, "2", PINNED | {POSE: "e"})
    pose = {"keypoints": 1, "reference_keypoints": 1, "pose_video": 1, "face_video": 1}
    assert official.pending_jobs() == {"dance": {**pose, **PREVIEW, **SAMPLE}}
    pin(official, "2", PINNED | {MASK: "e"})
    mask = {"person_mask": 1, "mask": 1, "background": 1, **PREVIEW}
    assert official.pending_jobs() == {"swap": {**mask, **SAMPLE}}


def mark(project, **more):
    """Write the points file of `swap`: the person, and what `more` says."""
    marks = {"person": [{"second": 0.2, "positive": [[60, 60]]}], **more}
    (project.folder / "config/swap.json").write_text(json.dumps(marks))


@pytest.mark.slow
def test_points_run_the_mask_and_what_follows(official, rows):
    rows[1] |= {"mask_backend": "sam2", "points": "swap.json"}
    rows[0] |= {"pose_backend": "vitpose", "retarget": "basic"}
    official.write_table(*rows)
    mark(official)
    mask = {"mask_points": 1, "person_mask": 1, "mask": 1, "background": 1, **PREVIEW, **SAMPLE}
    assert official.pending_jobs() == {"swap": mask}
    guitar = {"name": "guitar", "second": 1, "box": [10, 10, 40, 40]}
    mark(official, exclude=[guitar])
    assert official.pending_jobs() == {"swap": {**mask, "excluded_mask": 1}}
    # As if all had run: then the file alone runs it again.
    official.snakemake("results/swap/mask_points.json")
    folder = official.folder / "results/swap"
    shutil.copy(folder / "person_mask.mp4", folder / "excluded_mask.mp4")
    official.snakemake("--touch", "--forceall", "--no-hooks")
    assert official.pending_jobs() == {}
    mark(official, exclude=[guitar | {"second": 1.2}])
    assert official.pending_jobs() == {"swap": {**mask, "excluded_mask": 1}}
    mark(official, exclude=[guitar | {"box": [1]}])
    done = official.snakemake("--dry-run", check=False)
    assert (
        "row 3, column 'points': file 'config/swap.json', exclude[0].box: "
        in done.stdout + done.stderr
    )
