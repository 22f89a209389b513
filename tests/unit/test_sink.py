"""Frames on their way into the journal and the video: at once while the encoder keeps up."""

import os
import threading
import time
from fractions import Fraction

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save

from animate.devices.arrivals import Arrivals
from animate.journal import segments as journal_module
from animate.journal.joins import Joiner, Joins
from animate.journal.segments import Journal, NewSegment
from animate.journal.sink import open_sink
from animate.video.files import VideoInfo, VideoWriter, read_video

KEY = "0" * 64
TAIL = torch.zeros(1, 3, 1, 16, 16)
DEADLINE = 20


def pieces(segment: int) -> list[torch.Tensor]:
    """Return five grey frames, each segment and frame brighter, in two pieces."""
    levels = torch.arange(5, dtype=torch.uint8) * 10 + 60 * segment
    frames = levels.view(5, 1, 1, 1).expand(5, 16, 16, 3).contiguous()
    return [frames[:1], frames[1:]]


@pytest.fixture
def opened(tmp_path):
    """Return what opens a sink of a clip of so many segments, which may overlap."""

    def open_it(segments: int, overlap: int = 0, blend: int = 0, lengths: tuple = ()):
        info = VideoInfo(5 * segments, Fraction(25), (16, 16))
        where = tmp_path / "journal", KEY, tmp_path / "clip.mp4", info
        joins = Joins([0, *[overlap] * (segments - 1)], blend)
        return open_sink(*where, lengths or [5] * segments, print, joins)

    return open_it


@pytest.fixture
def written(monkeypatch):
    """Return the frames that the encoder has written, and an event that it waits for."""
    frames, may = [], threading.Event()
    may.set()
    write = VideoWriter.write

    def noted(self, frame):
        assert may.wait(DEADLINE)
        write(self, frame)
        frames.append(int(frame[0, 0, 0]))

    monkeypatch.setattr(VideoWriter, "write", noted)
    return frames, may


def wait_until(condition) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_segment_is_encoded_before_it_is_whole(opened, written):
    frames, _ = written
    with opened(1) as sink:
        first, rest = pieces(0)
        sink.add(first)
        wait_until(lambda: frames == [0])
        sink.add(rest)
        sink.put(TAIL, {})
    assert frames == [0, 10, 20, 30, 40]


def test_segments_wait_in_the_journal_for_an_encoder_that_is_behind(
    opened, written, tmp_path, monkeypatch
):
    (frames, may), asked = written, []
    may.clear()
    read = Journal.frames
    monkeypatch.setattr(Journal, "frames", lambda self, n: asked.append(n) or read(self, n))
    with opened(3) as sink:
        for segment in range(2):
            for piece in pieces(segment):
                sink.add(piece)
            sink.put(TAIL, {"segment": segment})
        sink.settle()
        assert asked == []
        may.set()
        wait_until(lambda: sink._encoder.idle)
        for piece in pieces(2):
            sink.add(piece)
        sink.put(TAIL, {"segment": 2})
    levels = [10 * frame + 60 * segment for segment in range(3) for frame in range(5)]
    assert frames == levels
    shown = [frame.mean() for frame in read_video(tmp_path / "clip.mp4")]
    assert np.allclose(shown, levels, atol=3)
    assert asked == [1]
    journal = Journal(tmp_path / "journal", KEY)
    assert [journal.made_by(number)["segment"] for number in range(3)] == [0, 1, 2]
    assert torch.equal(journal.frames(1), torch.cat(pieces(1)))


def test_the_next_segment_begins_while_one_is_stored(opened, monkeypatch):
    may, finish = threading.Event(), NewSegment.finish

    def slow(*arguments):
        assert may.wait(DEADLINE)
        finish(*arguments)

    monkeypatch.setattr(NewSegment, "finish", slow)
    with opened(2) as sink:
        sink.add(torch.cat(pieces(0)))
        sink.put(TAIL, {})
        sink.add(pieces(1)[0])
        may.set()
        sink.add(pieces(1)[1])
        sink.put(TAIL, {})


def test_what_was_put_is_stored_when_a_run_is_stopped(opened, tmp_path, monkeypatch):
    finish = NewSegment.finish

    def slow(*arguments):
        time.sleep(0.3)
        finish(*arguments)

    monkeypatch.setattr(NewSegment, "finish", slow)
    with pytest.raises(KeyboardInterrupt), opened(2) as sink:
        sink.add(torch.cat(pieces(0)))
        sink.put(TAIL, {})
        sink.add(pieces(1)[0])
        raise KeyboardInterrupt
    journal = tmp_path / "journal"
    assert Journal(journal, KEY).count(2) == 1
    assert len([*(journal / KEY[:16]).iterdir()]) == 1


def test_frames_are_on_the_disk_before_their_segment_is_whole(opened, tmp_path, monkeypatch):
    synced, sync = [], os.fdatasync

    def noted(file):
        synced.append(os.fstat(file).st_size)
        sync(file)

    monkeypatch.setattr(journal_module.os, "fdatasync", noted)
    with opened(1) as sink:
        first, rest = pieces(0)
        sink.add(first)
        wait_until(lambda: len(synced) == 1)
        assert synced[0] > first.nbytes
        assert Journal(tmp_path / "journal", KEY).count(1) == 0
        sink.add(rest)
        sink.put(TAIL, {"of": "words"})
        sink.settle()
        journal = Journal(tmp_path / "journal", KEY)
        assert journal.count(1) == 1 and journal.whole_clip(5) == 1
        assert torch.equal(journal.frames(0), torch.cat(pieces(0)))
        assert torch.equal(journal.tail(0), TAIL) and journal.made_by(0) == {"of": "words"}
    assert synced[1] - synced[0] == rest.nbytes


def test_a_segment_that_lacks_frames_is_not_stored(opened, tmp_path):
    with pytest.raises(ValueError, match="1 frames of 5 have come"), opened(1) as sink:
        sink.add(pieces(0)[0])
        sink.put(TAIL, {})
    assert Journal(tmp_path / "journal", KEY).count(1) == 0


def test_a_segment_that_is_written_otherwise_is_read(tmp_path):
    """Files of earlier versions have a header of their own length, and the tail first."""
    journal = Journal(tmp_path, KEY)
    frames = torch.cat(pieces(1))
    journal.store(0, frames, TAIL, {"by": "hand"})
    path = tmp_path / KEY[:16] / "segment_00000.safetensors"
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    path.write_bytes(save({"frames": frames, "tail": TAIL}, metadata))
    assert journal.count(1) == 1 and journal.made_by(0) == {"by": "hand"}
    assert torch.equal(journal.frames(0), frames) and torch.equal(journal.tail(0), TAIL)


def test_arrivals_keep_the_order_and_the_last_waits_to_be_asked_for():
    came = []
    arrivals = Arrivals(came.append)
    for number in range(3):
        arrivals.send(torch.tensor(number))
    assert came == [0, 1]
    arrivals.wait()
    arrivals.wait()
    assert came == [0, 1, 2]


def part(*levels: int) -> torch.Tensor:
    """Return grey frames of these levels."""
    frames = torch.tensor(levels, dtype=torch.uint8).view(-1, 1, 1, 1)
    return frames.expand(-1, 16, 16, 3).contiguous()


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize(
    ("blend", "joined"),
    [
        (0, [0, 0, 0, 0, 200, 200, 100, 100]),
        (1, [0, 0, 0, 100, 200, 150, 100, 100]),
        (3, [0, 50, 100, 138, 150, 125, 100, 100]),
    ],
)
def test_segments_fade_into_each_other_where_they_are_written(
    opened, written, tmp_path, blend, joined, behind
):
    """Each paints three frames again; of the second, one of these three is its own."""
    frames, may = written
    if behind:
        may.clear()
    segments = [part(0, 0, 0, 0), part(200, 200, 200, 200, 200), part(100, 100, 100, 100, 100)]
    with opened(3, 3, blend, (4, 2, 2)) as sink:
        for segment in segments:
            for piece in segment.split(2):
                sink.add(piece)
            sink.put(TAIL, {})
        sink.settle()
        may.set()
    assert frames == joined
    journal = Journal(tmp_path / "journal", KEY)
    for number, segment in enumerate(segments):
        stored = torch.cat([journal.again(number), journal.frames(number)])
        assert torch.equal(stored, segment)
        assert len(journal.again(number)) == (3 if number else 0)


def test_a_segment_of_an_earlier_version_loses_no_frame(opened, written, tmp_path):
    """It does not have what it painted again, so there is nothing to leave out, or to fade into."""
    frames, _ = written
    journal = Journal(tmp_path / "journal", KEY)
    for number, segment in enumerate((part(10, 20, 30, 40), part(50, 60))):
        journal.store(number, segment, TAIL, {})
        path = tmp_path / "journal" / KEY[:16] / f"segment_{number:05d}.safetensors"
        with safe_open(path, "pt") as file:
            metadata = {key: text for key, text in file.metadata().items() if key != "again"}
        path.write_bytes(save({"frames": segment, "tail": TAIL}, metadata))
    with opened(3, 3, 1, (4, 2, 2)) as sink:
        assert sink.finished == 2
        sink.add(part(40, 50, 80, 90, 100))
        sink.put(TAIL, {})
    assert frames == [10, 20, 30, 40, 50, 70, 90, 100]


def test_a_fade_is_monotone_and_goes_on_after_a_kill(opened, written):
    frames, _ = written
    dark, bright = part(*[20] * 9), part(*[220] * 9)
    with pytest.raises(KeyboardInterrupt), opened(2, 5, 5, (9, 4)) as sink:
        sink.add(dark)
        sink.put(TAIL, {})
        raise KeyboardInterrupt
    frames.clear()
    with opened(2, 5, 5, (9, 4)) as sink:
        assert sink.finished == 1
        sink.add(bright)
        sink.put(TAIL, {})
    assert len(frames) == 13 and frames[:4] == [20] * 4 and frames[9:] == [220] * 4
    steps = np.diff(frames[3:10])
    assert steps.min() > 0 and steps.max() - steps.min() <= 1


def test_another_scene_is_no_end_to_fade_into():
    joiner = Joiner(Joins([0, 0, 2], blend=2))
    frames = [
        list(joiner.take(0, part(10, 10).numpy())),
        list(joiner.take(1, part(90, 90).numpy())),
    ]
    frames.append(list(joiner.take(2, part(90, 90, 90).numpy())))
    assert [[int(f[0, 0, 0]) for f in some] for some in frames] == [[10, 10], [], [90, 90, 90]]


def test_frames_that_go_on_from_another_clip_are_not_shown_again():
    joiner = Joiner(Joins([2, 2], blend=2))
    shown = [
        *joiner.take(0, part(10, 10, 50, 60).numpy()),
        *joiner.take(1, part(50, 60, 70).numpy()),
    ]
    assert [int(f[0, 0, 0]) for f in shown] == [50, 60, 70]
