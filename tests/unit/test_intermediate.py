"""The frames of a clip for the rows that take its result: exact, or from the sampled video."""

import json
import logging
from argparse import Namespace
from fractions import Fraction

import numpy as np
import pytest
import torch

import intermediate
from animate.journal.record import write_record
from animate.journal.segments import Journal
from animate.video.files import VideoWriter, read_frames, read_video, video_info
from animate.video.timeline import make_timeline

KEY, RATE, SIZE = "k" * 64, Fraction(30000, 1001), (80, 48)


@pytest.fixture
def clip(tmp_path):
    """A sampled clip of two segments that differ, and the arguments of the script."""
    frames = np.random.default_rng(0).integers(0, 256, (13, *SIZE[::-1], 3), np.uint8)
    args = Namespace(
        video=tmp_path / "sampled.mp4",
        record=tmp_path / "sampling.json",
        journal=tmp_path / ".journal",
        output=tmp_path / "intermediate.mp4",
        blend=0,
    )
    journal = Journal(args.journal, KEY)
    for index, part in enumerate((frames[:8], frames[8:])):
        journal.store(index, torch.from_numpy(part), torch.zeros(1), {})
    (args.journal / "lock").touch()
    with VideoWriter(args.video, SIZE, RATE, "result") as video:
        for frame in frames:
            video.write(frame)
    write_record(args.record, KEY, {}, {}, [])
    return frames, args


def said(caplog):
    return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]


def test_the_next_clip_reads_the_very_frames_at_their_own_rate(clip, caplog):
    frames, args = clip
    intermediate.main(args)
    assert video_info(args.output) == video_info(args.video)
    timeline = make_timeline(args.output, resolution_area=1280 * 720, fps="source", keep_size=True)
    assert (timeline.frame_rate, timeline.model_size, timeline.start) == (RATE, SIZE, 0)
    assert timeline.source_indices == tuple(range(len(frames)))
    for read, frame in zip(read_frames(args.output, timeline), frames, strict=True):
        assert np.array_equal(read, frame)
    assert not args.journal.exists() and said(caplog) == []


def test_a_part_of_them_is_read_as_exactly(clip):
    frames, args = clip
    intermediate.main(args)
    where = {"start": float(3 / RATE), "end": float(9 / RATE), "keep_size": True}
    timeline = make_timeline(args.output, resolution_area=64 * 64, fps="source", **where)
    assert timeline.source_indices == tuple(range(3, 9))
    assert np.array_equal(list(read_frames(args.output, timeline)), frames[3:9])


def test_segments_are_joined_as_in_the_clips_own_video(clip):
    frames, args = clip
    args.blend = 1
    again = np.full((2, *frames.shape[1:]), 255, np.uint8)
    Journal(args.journal, KEY).store(
        1, torch.from_numpy(frames[8:]), torch.zeros(1), {}, torch.from_numpy(again)
    )
    intermediate.main(args)
    read = np.array(list(read_video(args.output)))
    assert np.array_equal(np.delete(read, 7, axis=0), np.delete(frames, 7, axis=0))
    assert np.array_equal(read[7], np.rint((frames[7] + 255.0) / 2).astype(np.uint8))


@pytest.mark.parametrize("lost", ["journal", "segment", "key"])
def test_without_the_sampled_frames_the_sampled_video_is_taken_and_said(clip, caplog, lost):
    frames, args = clip
    if lost == "key":
        args.record.write_text(json.dumps({"segments": []}))
    else:
        for path in args.journal.glob(f"*/segment_0000{'?' if lost == 'journal' else '1'}.*"):
            path.unlink()
    intermediate.main(args)
    decoded = np.array(list(read_video(args.video)))
    assert np.array_equal(list(read_video(args.output)), decoded)
    assert not np.array_equal(decoded, frames)
    assert "H.264 has changed them a little" in said(caplog)[0]
