"""Which sound a result gets, and the sampled video with it, trimmed to the same seconds."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.stream import Disposition

from animate.atomic import atomic_output
from animate.errors import ClipError

SOUND_RATE = 48_000
SOUND_BITS_PER_SECOND = 192_000
# Times of frames waver; a gap of this many seconds is silence.
GAP = 0.1


@dataclass(frozen=True)
class Sound:
    """The sound track of a result, counted from 1, None for no sound; and what a user must know."""

    track: int | None
    note: str = ""


def choose_sound(video: Path, wanted: str | int) -> Sound:
    """Return the sound track that `wanted` means: "none", "auto" or a track's number from 1.

    Auto takes the default track, or else the first of which a sample can be decoded. Raises
    ClipError for a number without a track, or whose track cannot be decoded.
    """
    with av.open(str(video)) as container:
        defaults = [bool(s.disposition & Disposition.default) for s in container.streams.audio]
    if wanted == "none" or (wanted == "auto" and not defaults):
        return Sound(None)
    if wanted == "auto":
        order = sorted(range(1, len(defaults) + 1), key=lambda track: not defaults[track - 1])
        track = next((track for track in order if _decodes(video, track)), None)
        if track is None:
            return Sound(None, f"no sound of {video} can be decoded: the result is silent")
        skipped = f"sound track {order[0]} of {video} cannot be decoded: track {track} is taken"
        return Sound(track, "" if track == order[0] else skipped)
    if wanted > len(defaults):
        raise ClipError(
            f"sound {wanted}: driving video {video} has {len(defaults)} sound tracks; choose one of"
            " them, auto or none"
        )
    if not _decodes(video, wanted):
        raise ClipError(
            f"sound {wanted}: this sound track of driving video {video} cannot be decoded; choose"
            " another, auto or none"
        )
    return Sound(wanted)


def _decodes(path: Path, track: int) -> bool:
    return next(_decode(path, track, []), None) is not None


def mux_sound(
    video: Path,
    sound: Path | None,
    start: float,
    output: Path,
    bits_per_second: int = SOUND_BITS_PER_SECOND,
    track: int = 1,
) -> list[float]:
    """Write `output`: the H.264 stream of `video` as it is, and a sound track of `sound` as AAC.

    The sound runs from `start` (seconds of the file `sound`) for as long as the video does: what is
    missing or cannot be decoded is silent, what is too long is cut. Without an audio stream, or
    with `sound=None`, the file has no sound. Returns the seconds of `sound` at which its packets
    cannot be decoded.
    """
    lost: list[float] = []
    with atomic_output(output) as temporary, av.open(str(video)) as source:
        picture = source.streams.video[0]
        with av.open(str(temporary), "w", options={"movflags": "+faststart"}) as target:
            copied = target.add_stream_from_template(picture)
            samples = _decode(sound, track, lost) if sound and has_sound(sound) else None
            audio = target.add_stream("aac", rate=SOUND_RATE) if samples else None
            if audio:
                audio.bit_rate = bits_per_second
                audio.layout = "stereo"
            duration = _copy_packets(source, picture, target, copied)
            if audio:
                length = round(duration * SOUND_RATE)
                _encode(target, audio, samples, round(start * SOUND_RATE), length)
    return [second for second in lost if second >= start]


def has_sound(path: Path) -> bool:
    """Return whether a media file has an audio stream."""
    with av.open(str(path)) as container:
        return bool(container.streams.audio)


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


def _decode(path: Path, track: int, lost: list[float]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (first sample at SOUND_RATE, samples (2, n) float32) of a sound track.

    Rate and layout may change in it. Seconds of packets that cannot be decoded go into `lost`.
    """
    position = None
    frames = _frames(path, track, lost)
    # A resampler takes sound of one kind.
    for _, alike in groupby(frames, lambda f: (f.sample_rate, f.layout.name, f.format.name)):
        resampler = av.AudioResampler(format="fltp", layout="stereo", rate=SOUND_RATE)
        for frame in _ended(alike):
            if frame and frame.time is not None:
                own = round(frame.time * SOUND_RATE)
                if position is None or own > position + GAP * SOUND_RATE:
                    position = own
            try:
                parts = resampler.resample(frame)
            except av.FFmpegError:
                lost.append((position or 0) / SOUND_RATE)
                break
            for part in parts:
                position = position or 0
                yield position, part.to_ndarray()
                position += part.samples


def _ended(frames: Iterator[AudioFrame]) -> Iterator[AudioFrame | None]:
    """Yield the frames, and the None that empties a resampler."""
    yield from frames
    yield None


def _frames(path: Path, track: int, lost: list[float]) -> Iterator[AudioFrame]:
    """Yield what can be decoded of a sound track."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[track - 1]
        packets, second = container.demux(stream), 0.0
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    return
                second = second if packet.pts is None else float(packet.pts * packet.time_base)
                frames = packet.decode()
            except av.FFmpegError:
                # After an error the demuxer itself is at its end.
                lost.append(second)
                continue
            yield from frames


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
