"""The sampled video with the driving video's sound, trimmed to the same seconds."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from animate.atomic import atomic_output
from animate.errors import ClipError

SOUND_RATE = 48_000
SOUND_BITS_PER_SECOND = 192_000


def mux_sound(
    video: Path,
    sound: Path | None,
    start: float,
    output: Path,
    bits_per_second: int = SOUND_BITS_PER_SECOND,
) -> None:
    """Write `output`: the H.264 stream of `video` as it is, and the sound of `sound` as AAC.

    The sound runs from `start` (seconds of the file `sound`) for as long as the video does: what is
    missing at either end is silent, what is too long is cut. Without an audio stream, or with
    `sound=None`, the file has no sound. Raises `ClipError` when the sound cannot be decoded.
    """
    with atomic_output(output) as temporary, av.open(str(video)) as source:
        picture = source.streams.video[0]
        with av.open(str(temporary), "w", options={"movflags": "+faststart"}) as target:
            copied = target.add_stream_from_template(picture)
            samples = _open_sound(sound)
            audio = target.add_stream("aac", rate=SOUND_RATE) if samples else None
            if audio:
                audio.bit_rate = bits_per_second
                audio.layout = "stereo"
            duration = _copy_packets(source, picture, target, copied)
            if audio:
                length = round(duration * SOUND_RATE)
                _encode(target, audio, samples, round(start * SOUND_RATE), length)


def has_sound(path: Path) -> bool:
    """Return whether a media file has an audio stream."""
    with av.open(str(path)) as container:
        return bool(container.streams.audio)


def _open_sound(path: Path | None) -> Iterator[tuple[int, np.ndarray]] | None:
    return _decode(path) if path is not None and has_sound(path) else None


def _copy_packets(source, picture, target, copied) -> Fraction:
    """Copy the packets of a video stream and return its duration in seconds."""
    end = 0
    for packet in source.demux(picture):
        if packet.dts is None:
            continue
        end = max(end, packet.pts + packet.duration)
        packet.stream = copied
        target.mux(packet)
    return end * picture.time_base


def _decode(path: Path) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (first sample at SOUND_RATE, samples (2, n) float32) of the first audio stream."""
    resampler = av.AudioResampler(format="fltp", layout="stereo", rate=SOUND_RATE)
    position = None
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(container.streams.audio[0]):
                if position is None:
                    position = round((frame.time or 0) * SOUND_RATE)
                for part in resampler.resample(frame):
                    yield position, part.to_ndarray()
                    position += part.samples
            for part in resampler.resample(None):
                yield position or 0, part.to_ndarray()
                position = (position or 0) + part.samples
    except av.FFmpegError as error:
        raise ClipError(
            f"the sound of '{path}' cannot be decoded ({error.strerror}); "
            "convert the file, or remove its sound"
        ) from None


def _encode(target, audio, samples, first: int, length: int) -> None:
    """Encode samples [first, first + length) of a decoded sound; gaps are silent."""
    written = 0
    for position, block in samples:
        offset = position - first
        if offset > written:
            silence = np.zeros((2, min(offset, length) - written), np.float32)
            written += _encode_block(target, audio, silence, written)
        block = block[:, max(0, written - offset) : max(0, length - offset)]
        written += _encode_block(target, audio, block, written)
        if written >= length:
            break
    silence = np.zeros((2, length - written), np.float32)
    _encode_block(target, audio, silence, written)
    target.mux(audio.encode(None))


def _encode_block(target, audio, block: np.ndarray, position: int) -> int:
    """Encode samples (2, n) that start at `position`; return n."""
    for begin in range(0, block.shape[1], SOUND_RATE):
        part = np.ascontiguousarray(block[:, begin : begin + SOUND_RATE])
        frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="stereo")
        frame.sample_rate = SOUND_RATE
        frame.pts = position + begin
        frame.time_base = Fraction(1, SOUND_RATE)
        target.mux(audio.encode(frame))
    return block.shape[1]
