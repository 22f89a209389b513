"""Nothing half-written under a final name."""

import os
import platform
import subprocess
import time

import pytest

from animate.atomic import SILENT_SECONDS, atomic_output, process_label


def test_the_file_appears_when_it_is_whole(tmp_path):
    with atomic_output(tmp_path / "deep" / "a.mp4") as temporary:
        temporary.write_text("half")
        assert temporary.suffix == ".mp4"
        assert not (tmp_path / "deep" / "a.mp4").exists()
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.mp4"]


def test_a_failure_keeps_the_old_file_and_leaves_nothing_else(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(RuntimeError), atomic_output(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_leftovers_of_ended_processes_are_removed_and_no_others(tmp_path):
    """A killed job cannot tidy up, and what still runs may be about to finish."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    node = platform.node()
    names = {
        "killed": f".a.{node}-{ended.pid}.part.txt",
        "running": f".a.{node}-{os.getppid()}.part.txt",
        "elsewhere": ".a.other-node.cluster-1.part.txt",
        "silent": ".a.other-node.cluster-2.part.txt",
        "of another output": f".a.b.{node}-{ended.pid}.part.txt",
    }
    for name in names.values():
        (tmp_path / name).write_text("half")
    long_ago = time.time() - SILENT_SECONDS - 60
    os.utime(tmp_path / names["silent"], (long_ago, long_ago))
    with atomic_output(tmp_path / "a.txt") as temporary:
        temporary.write_text("whole")
        assert process_label() in temporary.name
    kept = {names["running"], names["elsewhere"], names["of another output"], "a.txt"}
    assert {path.name for path in tmp_path.iterdir()} == kept
