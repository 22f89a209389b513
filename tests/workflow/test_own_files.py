"""A user's own files through Snakemake: what runs, what does not, and that none is written."""

import json
import shutil

import av
import numpy as np
import pytest

from animate.video.files import read_masks, read_segment
from test_reruns import PREVIEW, SAMPLE

FOUND = {"keypoints", "reference_keypoints", "pose_video", "face_video", "person_mask", "mask"}


@pytest.fixture
def mine(project):
    """Copies of the clips' own videos, and their points as JSON, in a folder of the user's."""
    folder = project.folder / "mine"
    for clip in ("dance", "swap"):
        made = project.folder / "results" / clip
        (folder / clip).mkdir(parents=True)
        for file in (*made.glob("src_*.mp4"), made / "keypoints.npz"):
            shutil.copy(file, folder / clip)
    return folder


def contents(folder):
    return {file: file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def own(clip, *columns):
    names = {"pose": "src_pose", "face": "src_face", "mask": "src_mask", "background": "src_bg"}
    files = {f"{name}_video": f"../mine/{clip}/{file}.mp4" for name, file in names.items()}
    files["keypoints"] = f"../mine/{clip}/keypoints.npz"
    return {column: files[column] for column in columns}


@pytest.mark.parametrize(
    ("columns", "runs"),
    [
        (["pose_video"], {"given_pose"}),
        (["face_video"], {"given_face"}),
        (["mask_video"], {"given_mask", "background"}),
        (["background_video"], {"given_background"}),
        (["keypoints"], {"given_keypoints", "pose_video", "face_video", "person_mask", "mask"}),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_each_column_runs_what_depends_on_it_and_no_more(project, rows, mine, columns, runs):
    rows[1] |= own("swap", *columns)
    project.write_table(*rows)
    jobs = project.pending_jobs()
    assert list(jobs) == ["swap"]
    runs |= {"background"} if columns == ["keypoints"] else set()
    shown = set() if columns == ["background_video"] else set(PREVIEW)
    assert set(jobs["swap"]) - set(PREVIEW) == runs | set(SAMPLE)
    assert set(jobs["swap"]) >= shown


@pytest.mark.slow
def test_where_all_is_given_nothing_is_found_in_a_new_clip(project, rows, mine):
    given = ("pose_video", "face_video", "mask_video", "background_video")
    before = contents(mine)
    new = rows[1] | {"clip": "own"} | own("swap", *given)
    project.write_table(*rows, new)
    jobs = project.pending_jobs()["own"]
    assert not FOUND & set(jobs) and "background" not in jobs
    project.snakemake()
    made, first = (project.folder / "results" / clip for clip in ("own", "swap"))
    # The same model inputs, so the same frames.
    for name in ("src_pose.mp4", "src_face.mp4"):
        assert (made / name).read_bytes() == (first / name).read_bytes()
    for masks in zip(*(read_masks(path / "src_mask.mp4") for path in (made, first)), strict=True):
        np.testing.assert_array_equal(*masks)
    record = json.loads((made / "own.json").read_text())
    assert {column: record["inputs"][column]["path"] for column in given} == {
        column: f"mine/swap/src_{name}.mp4"
        for column, name in zip(given, ("pose", "face", "mask", "bg"), strict=True)
    }
    assert not {"body", "face", "people"} & set(json.loads((made / "metrics.json").read_text()))
    assert not {"pose_error", "eyes_in_step"} & set(record["figures"])
    assert project.pending_jobs() == {}
    # What a later change makes anew, or takes back, is the workflow's and never the user's.
    project.write_table(*rows, new | {"mask_grid": "pixel", "pose_video": ""})
    jobs = project.pending_jobs()["own"]
    assert {"keypoints", "pose_video", "given_mask", "given_background"} <= set(jobs)
    assert not {"face_video", "person_mask", "mask", "given_pose"} & set(jobs)
    project.snakemake("results/own/src_pose.mp4", "results/own/src_bg.mp4")
    assert contents(mine) == before


@pytest.mark.slow
def test_points_exported_edited_and_given_again(project, rows):
    project.snakemake("export_keypoints")
    exported = project.folder / "results/dance/keypoints"
    pose = project.folder / "results/dance/src_pose.mp4"
    frames = len(list(exported.glob("*.json")))
    detected = pose.read_bytes()
    mine = shutil.copytree(exported, project.folder / "mine")
    rows[0]["keypoints"] = "../mine"
    project.write_table(*rows)
    assert set(project.pending_jobs()["dance"]) >= {"given_keypoints", "pose_video", "face_video"}
    project.snakemake("results/dance/src_pose.mp4")
    # To the pixel, and to the byte.
    assert pose.read_bytes() == detected

    file = mine / "000003.json"
    values = json.loads(file.read_text())
    body = values["people"][0]["pose_keypoints_2d"]
    body[3 * 4 : 3 * 4 + 3] = [10.0, 10.0, 1.0]
    file.write_text(json.dumps(values))
    before = contents(mine)
    jobs = project.pending_jobs()
    assert list(jobs) == ["dance"]
    given = {"given_keypoints", "pose_video", "face_video"}
    assert set(jobs["dance"]) == given | set(PREVIEW) | set(SAMPLE)
    project.snakemake("results/dance/src_pose.mp4", "export_keypoints")
    frame = read_segment(pose, 3, 4)[0]
    assert frame[8:13, 8:13].max() > 100
    with av.open(str(pose)) as container:
        assert container.streams.video[0].frames == frames
    assert contents(mine) == before

    # An edit in the folder of the results is not overwritten either.
    edited = exported / "000001.json"
    edited.write_text("{}")
    done = project.snakemake("export_keypoints", "--forcerun", "export_clip_keypoints", check=False)
    assert "clip dance: results/dance/keypoints has files that were edited" in done.stderr
    assert edited.read_text() == "{}"


@pytest.mark.slow
def test_files_that_do_not_fit_are_refused_before_the_sampler(project, rows, mine):
    (source,) = project.folder.glob("videos/*")
    shutil.copy(source, mine / "driving.mp4")
    (mine / "none.npz").write_text("no points")
    bad = [
        {**rows[0], "clip": "long", "pose_video": "../mine/driving.mp4"},
        {**rows[0], "clip": "points", "keypoints": "../mine/none.npz"},
    ]
    project.write_table(*rows, *bad)
    done = project.snakemake("--keep-going", check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "clip long: pose_video mine/driving.mp4 has " in done.stderr
    assert "but the clip has 37 frames at 25 per second" in done.stderr
    assert "clip points: keypoints mine/none.npz is no keypoints.npz" in done.stderr
    assert not list(project.folder.glob("results/*/.src_*"))
    assert not (project.folder / "results/long/sampled.mp4").exists()


def test_files_where_the_workflow_writes_are_refused_with_the_table(project, rows):
    own_result = "../results/dance/src_pose.mp4"
    (project.folder / "link").symlink_to("results/swap")
    (project.folder / "empty").mkdir()
    project.write_table(
        rows[0] | {"pose_video": own_result, "keypoints": "../empty"},
        rows[1] | {"mask_video": "../link/src_mask.mp4", "background_video": "../none.mp4"},
    )
    done = project.snakemake(check=False)
    assert done.returncode == 1 and "rule " not in done.stderr
    assert "row 2, column 'pose_video': 'results/dance/src_pose.mp4' lies in" in done.stderr
    assert "row 2, column 'keypoints': 'empty' has no .json files" in done.stderr
    assert "row 3, column 'mask_video': 'link/src_mask.mp4' lies in" in done.stderr
    assert "row 3, column 'background_video': no such file: 'none.mp4'" in done.stderr


def test_what_own_files_leave_unread_is_said(project, rows, mine):
    rows[0] |= own("dance", "pose_video") | {"retarget": "basic", "draw": "body"}
    rows[0] |= {"mask_video": "../mine/swap/src_mask.mp4"}
    project.write_table(*rows)
    done = project.snakemake("--dry-run")
    said = done.stdout + done.stderr
    assert "'draw', which is not read with pose_video: ignored for dance" in said
    assert "'retarget', which is not read with pose_video" in said
    assert "'mask_video', which is read with mode replace only: ignored for dance" in said
