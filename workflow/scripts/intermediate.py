"""Keep a clip's frames as they were sampled, for the rows that take its result."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from animate.journal.joins import Joiner, Joins
from animate.journal.lock import remove_journal
from animate.journal.segments import Journal
from animate.journal.sink import sampled_frames
from animate.results.provenance import read_json
from animate.stage import run_stage, stage_parser, warn
from animate.video.files import VideoWriter, read_video, video_info
from animate.video.framed import Part


def main(args):
    info = video_info(args.video)
    record = read_json(args.record)
    journal = Journal(args.journal, record.get("key", ""))
    segments = journal.whole_clip(info.frame_count)
    framing = record.get("frame")
    size = tuple(framing["size"]) if framing else info.size
    if segments is not None:
        frames = frames_of(journal, segments, args.blend)
    else:
        warn(
            f"its frames are taken from {args.video}, in which H.264 has changed them a little:"
            " they were sampled before another row took them; to have them exactly, delete it"
        )
        part = Part(*framing["part"]) if framing else Part(0, 0, *size)
        frames = (part.put_back(frame, size) for frame in read_video(args.video))
    with VideoWriter(args.output, size, info.frame_rate, "exact") as video:
        for frame in frames:
            video.write(frame)
    remove_journal(args.journal)


def frames_of(journal: Journal, segments: int, blend: int) -> Iterator[np.ndarray]:
    """Yield the frames of a clip, uint8 RGB (h, w, 3), its segments joined as in its video."""
    overlaps = [journal.again_count(index) for index in range(segments)]
    joiner = Joiner(Joins(overlaps, blend))
    for index in range(segments):
        yield from joiner.take(index, sampled_frames(journal, index))


if __name__ == "__main__":
    parser = stage_parser(__doc__)
    for name in ("video", "record", "journal", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--blend", type=int, default=0, help="frames that segments fade over")
    run_stage(main, parser)
