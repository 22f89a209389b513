"""Bad input: one clear line for each mistake, no traceback, and the good clips are finished."""

from pathlib import Path

import cv2
import numpy as np
import pytest


def add_bad_videos(folder: Path, good: Path) -> dict[str, str]:
    """Write unusable driving videos; return {file name: what the message must say}."""
    (folder / "text.mp4").write_text("this is not a video")
    content = good.read_bytes()
    (folder / "truncated.mp4").write_bytes(content[: len(content) // 2])
    (folder / "empty.mp4").write_bytes(b"")
    cv2.imwrite(str(folder / "picture.png"), np.zeros((64, 64, 3), np.uint8))
    return {"text.mp4": "video", "truncated.mp4": "cut", "empty.mp4": "", "picture.png": "picture"}


def test_broken_files_fail_alone_with_one_line_each(project, rows):
    (good,) = project.folder.glob("videos/*")
    bad = add_bad_videos(project.folder, good)
    bad_rows = [
        {**rows[0], "clip": Path(name).stem, "video": f"../{name}", "end": ""} for name in bad
    ]
    (project.folder / "page.txt").write_text("no picture")
    bad_rows.append({**rows[0], "clip": "bad-image", "reference": "../page.txt"})
    good_row = {**rows[1], "clip": "late", "end": "1"}
    project.write_table(*bad_rows, *rows, good_row)

    done = project.snakemake("--keep-going", check=False)

    console = done.stdout + done.stderr
    assert done.returncode == 1
    assert "Traceback" not in console
    for name, words in bad.items():
        (line,) = [x for x in console.splitlines() if x.startswith(f"clip {Path(name).stem}: ")]
        assert name in line and words in line
    assert "clip bad-image: " in console
    assert "5 of 8 clips failed, 0 more are not finished" in console
    assert "\n  text: driving video text.mp4 is no video" in console
    assert (project.folder / "results/late/late.mp4").is_file()
    assert set(project.pending_jobs()) >= {"text", "truncated", "bad-image"}


def test_mistakes_in_the_table_stop_everything_before_it_starts(project, rows):
    project.write_table(rows[0] | {"steps": "many"}, rows[1] | {"video": "none.mp4"})
    done = project.snakemake(check=False)
    assert done.returncode == 1
    assert "row 2, column 'steps': 'many' is not allowed" in done.stderr
    assert "row 3, column 'video': no such file" in done.stderr
    assert "Traceback" not in done.stderr and "rule " not in done.stderr
    project.write_table(*rows)
    assert "Nothing to be done" in project.snakemake().stderr


def test_keep_going_sets_refused_rows_aside_and_ends_with_an_error(project, rows):
    project.write_table(*rows, rows[0] | {"clip": "../x"}, rows[0] | {"clip": "", "mode": "walk"})
    done = project.snakemake("--keep-going", check=False)
    assert done.returncode == 1
    assert "row 4, column 'clip': '../x' is not allowed" in done.stderr
    assert "row 5, column 'mode': 'walk' is not allowed" in done.stderr
    assert not (project.folder / "x").exists()


def test_mistakes_in_the_config(project):
    done = project.snakemake("--config", "resluts=x", check=False)
    assert done.returncode == 1
    assert "resluts: unknown; did you mean 'results'?" in done.stderr
    assert "Traceback" not in done.stderr


def test_another_table_elsewhere(project, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (video,) = project.folder.glob("videos/*")
    (other / "my.csv").write_text(
        f"clip,video,reference,mode\nx,{video},{project.folder}/character.png,animate\n"
    )
    jobs = project.pending_jobs("--config", f"clips={other}/my.csv", f"results={other}/out")
    assert set(jobs) == {"", "x"}


def test_a_clone_without_clips_says_so(project):
    (project.folder / "config/clips.csv").write_text("clip,video,reference,mode\n")
    done = project.snakemake()
    assert "has no clips yet" in done.stderr


@pytest.mark.slow
def test_a_person_that_is_not_there_fails_its_clip_with_who_is(project, rows):
    rows[0]["person"] = "4"
    rows[1]["person"] = "1"
    project.write_table(*rows)
    done = project.snakemake("--keep-going", check=False)
    (line,) = [x for x in done.stderr.splitlines() if x.startswith("clip dance: ")]
    assert "person 4 is not there: the clip shows person 1 (box " in line
    assert not (project.folder / "results/dance/people.json").exists()
    assert (project.folder / "results/swap/people.json").is_file()
    assert set(project.pending_jobs()) == {"dance"}
