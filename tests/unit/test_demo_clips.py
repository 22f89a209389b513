"""The demo's driving video: the same file each time, so what was made of it is made once."""

import os

import pytest

from animate.demo.clips import write_driving_video


@pytest.fixture
def one_processor():
    """Have this thread run on one processor, as x264 would count it."""
    all_of_them = os.sched_getaffinity(0)
    yield lambda: os.sched_setaffinity(0, {min(all_of_them)})
    os.sched_setaffinity(0, all_of_them)


def test_driving_video_has_the_same_bytes_each_time(tmp_path, one_processor):
    path = tmp_path / "driving.mp4"
    found = set()
    for _ in range(2):
        write_driving_video(path)
        found.add(path.read_bytes())
    one_processor()
    write_driving_video(path)
    assert found == {path.read_bytes()}
