"""Time what the host does of a segment besides the steps: pixels to a VAE, frames to a file.

PYTHONPATH=workflow/scripts:tests python benchmarks/between.py [--decoding 2.15] [--tiny]

No model is needed: a decoder is a pause before each of its pieces. Seconds are from the last piece
to the stored segment and the finished video.
"""

import argparse
import time
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from measure import FULL, TINY, Table, Video, timed

from animate.journal.sink import open_sink
from animate.model.vae import in_range
from animate.sampling.conditions.frames import as_video
from animate.video.files import VideoInfo

PIECE = 4
COLUMNS = {"what": 44, "seconds": 8}


def noise(video: Video) -> np.ndarray:
    """Return frames of random squares, which cost the encoder more than most films."""
    small = video.frames, video.height // 8, video.width // 8, 3
    squares = np.random.default_rng(0).integers(0, 256, small, np.uint8)
    return squares.repeat(8, axis=1).repeat(8, axis=2)


def seconds_to_a_file(frames: torch.Tensor, decoding: float) -> float:
    """Return the seconds from a segment's last piece, of `decoding` seconds, to its file."""
    size = frames.shape[2], frames.shape[1]
    info = VideoInfo(len(frames), Fraction(30), size)
    pieces = [frames[:1], *frames[1:].split(PIECE)]
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        where = folder / "journal", "0" * 64, folder / "clip.mp4", info, [len(frames)], print
        with open_sink(*where) as sink:
            for piece in pieces:
                time.sleep(decoding / len(pieces))
                sink.add(piece)
            began = time.perf_counter()
            sink.put(torch.zeros(1, 3, 1, *frames.shape[1:3]), {})
        return time.perf_counter() - began


def main(arguments: argparse.Namespace) -> None:
    """Print a row for each."""
    video = TINY if arguments.tiny else FULL
    table = Table(COLUMNS)
    frames = noise(video)
    moved, whole = as_video(frames), torch.from_numpy(frames)
    name = f"one video {video} to bf16 on the host"
    table.add(name, seconds=timed(lambda: in_range(moved).to(torch.bfloat16))[0].seconds)
    table.add("its pixels copied", seconds=timed(moved.clone)[0].seconds)
    table.add("to a file, all frames at the end", seconds=seconds_to_a_file(whole, 0))
    name = f"to a file, decoded in {arguments.decoding} s"
    table.add(name, seconds=seconds_to_a_file(whole, arguments.decoding))
    table.write(arguments.output, {"threads": torch.get_num_threads()})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--decoding", type=float, default=2.15, help="seconds of the decoder")
    parser.add_argument("--tiny", action="store_true", help="a size for a test")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    main(parser.parse_args())
