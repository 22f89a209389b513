"""Nothing half-written under a final name."""

import pytest

from animate.atomic import atomic_output


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
