"""Read people's videos: any container, codec, rotation, pixel shape or interlacing, upright RGB."""

import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from hashlib import blake2b
from itertools import chain, dropwhile, groupby
from pathlib import Path

import av
import cv2
import numpy as np
from av.codec.context import CodecContext
from av.container import InputContainer
from av.filter import Graph
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace
from av.video.stream import VideoStream

from animate.errors import ClipError
from animate.video.hdr import Hdr, dolby_vision_alone, find_hdr, to_sdr
from animate.video.letterbox import Letterbox

TURNS = {
    90: cv2.ROTATE_90_CLOCKWISE,
    180: cv2.ROTATE_180,
    270: cv2.ROTATE_90_COUNTERCLOCKWISE,
}
PICTURE_BRANDS = ("heic", "heix", "mif1", "avif")
UNSPECIFIED_COLORSPACES = (0, 2, 3)
# The others of ITU-T H.273 FFmpeg would refuse, or take for BT.601 without a word.
CONVERTED_COLORSPACES = (1, 4, 5, 6, 7, 9)
COLORSPACE_NAMES = {8: "YCgCo", 10: "BT.2020 constant luminance", 14: "ICtCp"}
# FFmpeg's own decoders of these drop the alpha channel.
ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
MATROSKA_DURATION = re.compile(r"(\d+):(\d+):(\d+(?:\.\d+)?)")
HD_HEIGHT = 720
CUT_OFF_SECONDS = 0.5


@dataclass(frozen=True)
class Picture:
    """How a coded frame becomes an upright one with square pixels.

    `size` is the upright (width, height) of the first; frames of another size or rotation are
    placed in it whole. `pixel_aspect` is the width of a coded pixel by its height, as a fraction
    such as "4/3"; `colorspace` the number of the YUV matrix (ITU-T H.273); `hdr` is None for SDR.
    """

    size: tuple[int, int]
    pixel_aspect: str
    interlaced: bool
    colorspace: int
    hdr: Hdr | None


@dataclass(frozen=True)
class Entry:
    """Where decoding may begin: after a seek to `seek`, frame `number` comes out at `pts`.

    Both are in ticks of the stream; `number` counts all frames in presentation order from 0.
    """

    seek: int
    pts: int
    number: int


@dataclass(frozen=True)
class Scan:
    """What one pass over a video found; `times` are seconds in the container's clock.

    `stamps` are the frames' own times in ticks.
    """

    times: list[Fraction]
    last_duration: Fraction
    declared_rates: list[Fraction]
    tick: Fraction
    picture: Picture
    stamps: list[int | None]


Watch = Callable[[int, Fraction, VideoFrame], None]


def scan(path: Path, watch: Watch = lambda number, seconds, frame: None) -> Scan:
    """Decode the video once and return what it holds.

    `watch` is shown each frame, its number from 0 and its seconds from the first frame.
    Raises ClipError when it cannot be opened or decoded, is cut off, has no frames or is in colours
    that cannot be converted.
    """
    with _open(path) as (container, stream):
        # Decoders forget what the container says where the frames say nothing.
        stated = stream.color_trc, stream.color_primaries
        profile = dolby_vision_alone(container, stream)
        rates = [stream.average_rate, stream.guessed_rate, stream.base_rate]
        rates = [Fraction(rate) for rate in rates if rate]
        step = 1 / rates[0] if rates else Fraction(1, 25)
        times: list[Fraction] = []
        stamps: list[int | None] = []
        interlaced, first, duration = 0, None, 0
        for frame in _decode(path, container, stream):
            first = first or frame
            times.append(_time(frame, times, step))
            stamps.append(frame.pts)
            watch(len(times) - 1, times[-1] - times[0], frame)
            interlaced += frame.interlaced_frame
            duration = frame.duration
        if first is None:
            raise ClipError(f"driving video {path} has no frames; export it again")
        last_duration = duration * stream.time_base if duration else step
        end = times[-1] + last_duration
        if _promised_end(container, stream, times[0]) - end > CUT_OFF_SECONDS:
            raise ClipError(_cut_off(path, len(times)))
        if profile is not None:
            raise ClipError(_needs_dolbys_decoder(path, profile))
        picture = picture_of(first, stream, find_hdr(first, *stated), 2 * interlaced > len(times))
        if problem := _unconverted(first, picture):
            raise ClipError(
                f"driving video {path} has colours ({problem}) that this workflow cannot convert;"
                " export it again as SDR (BT.709)"
            )
        tick = Fraction(stream.time_base)
        return Scan(times, last_duration, rates, tick, picture, stamps)


def digest(frame: VideoFrame) -> bytes:
    """Return what identifies a decoded frame's pixels; nothing for a format that has no array."""
    try:
        values = np.ascontiguousarray(frame.to_ndarray())
    except (ValueError, AssertionError):
        return b""
    return blake2b(values, digest_size=16, person=frame.format.name.encode()[:16]).digest()


def upright_frames(
    path: Path, picture: Picture, wanted: Iterable[int], entry: Entry | None = None
) -> Iterator[np.ndarray]:
    """Yield the frames numbered `wanted` as uint8 RGB (height, width, 3) of `picture.size`.

    `wanted` ascends. Decoding begins at `entry`, or else at the first frame; what is not wanted is
    not converted.
    """
    frames: Iterable[VideoFrame] = decoded_frames(path, entry)
    if picture.interlaced:
        frames = _deinterlaced(frames)
    coming, rotation = iter(wanted), None
    due = next(coming, None)
    for number, frame in enumerate(frames, entry.number if entry else 0):
        # Streams that say it in the pictures say it with key frames alone.
        if rotation is None or frame.key_frame or frame.rotation:
            rotation = _rotation(frame)
        if number == due:
            yield upright(frame, picture, rotation)
            due = next(coming, None)
        if due is None:
            return


def decoded_frames(path: Path, entry: Entry | None = None) -> Iterator[VideoFrame]:
    """Yield the frames as decoded, in presentation order from `entry` or else from the first.

    Nothing comes out where a seek does not lead to the frame that `entry` names.
    """
    with _open(path) as (container, stream):
        if entry:
            container.seek(entry.seek, stream=stream)
        frames = _decode(path, container, stream)
        if entry:
            frames = dropwhile(lambda frame: frame.pts is None or frame.pts < entry.pts, frames)
            first = next(frames, None)
            frames = chain([first], frames) if first and first.pts == entry.pts else iter(())
        yield from frames


@contextmanager
def _open(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    if not path.is_file():
        raise ClipError(f"driving video {path} is no file; correct its path")
    try:
        container = av.open(str(path))
    except av.FFmpegError as error:
        raise ClipError(
            f"driving video {path} is no video or is cut off ({error.strerror}); export it again"
        ) from error
    with container:
        if _is_picture(container):
            raise ClipError(f"driving video {path} is a picture; give a video of a moving person")
        streams = [
            s for s in container.streams.video if not s.disposition & Disposition.attached_pic
        ]
        if not streams:
            raise ClipError(f"driving video {path} has no picture track; give a video")
        known = [stream for stream in streams if stream.codec_context]
        if not known:
            raise ClipError(
                f"driving video {path} has pictures in a codec that is not known here; convert it,"
                " for example to H.264"
            )
        # Phones keep tracks beside the one that players show.
        chosen = next((s for s in known if s.disposition & Disposition.default), known[0])
        chosen.thread_type = "AUTO"
        yield container, chosen


def _is_picture(container: InputContainer) -> bool:
    name = container.format.name
    brand = container.metadata.get("major_brand", "")
    return name == "image2" or name.endswith("_pipe") or brand in PICTURE_BRANDS


def _decode(path: Path, container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    count, decoder, lost, frame, start = 0, _decoder(stream), False, None, None
    # Broadcast streams are cut anywhere; in files with an index a corrupt packet is a lost end.
    indexed = "mpegts" not in container.format.name
    try:
        for packet in container.demux(stream):
            if lost and packet.size:
                raise ClipError(_cut_off(path, count))
            lost = lost or (packet.is_corrupt and indexed)
            for frame in [] if lost and packet.size else decoder.decode(packet):
                count += 1
                start = _own_time(frame) if count == 1 else start
                yield frame
    except av.FFmpegError as error:
        raise ClipError(
            f"driving video {path} is damaged after {count} frames ({error.strerror});"
            " copy or export it again"
        ) from error
    if lost and not (frame and _is_last(frame, _promised_end(container, stream, start))):
        raise ClipError(_cut_off(path, count))


def _is_last(frame: VideoFrame, end: Fraction) -> bool:
    """Return whether at most one frame is missing between this one and the end."""
    length = frame.duration * frame.time_base
    return end - _own_time(frame) < 2.5 * length


def _decoder(stream: VideoStream) -> CodecContext:
    name = ALPHA_DECODERS.get(stream.codec_context.name)
    if not name or stream.metadata.get("alpha_mode") != "1":
        return stream.codec_context
    return CodecContext.create(name, "r")


def _time(frame: VideoFrame, earlier: list[Fraction], step: Fraction) -> Fraction:
    """Return the frame's time; where it is missing or does not advance, one step after the last."""
    time = _own_time(frame)
    if earlier and (frame.pts is None or time <= earlier[-1]):
        return earlier[-1] + step
    return time


def _own_time(frame: VideoFrame) -> Fraction:
    """Return the seconds at which the container shows a frame, 0 where it does not say."""
    return Fraction(0) if frame.pts is None else Fraction(frame.pts * frame.time_base)


def _promised_end(container: InputContainer, stream: VideoStream, first: Fraction) -> Fraction:
    """Return when the video ends by its header, 0 where that does not say.

    As `first`, the time of the first frame, it is in seconds of the container's clock.
    """
    if stream.duration:
        return first + stream.duration * stream.time_base
    if match := MATROSKA_DURATION.fullmatch(stream.metadata.get("DURATION", "")):
        hours, minutes, seconds = map(Fraction, match.groups())
        return 3600 * hours + 60 * minutes + seconds
    # Sound and subtitles may be longer than the video.
    known = container.duration and len(container.streams) == 1
    return Fraction(container.duration, av.time_base) if known else Fraction(0)


def _cut_off(path: Path, count: int) -> str:
    return f"driving video {path} is cut off after {count} frames; copy or export it again"


def _needs_dolbys_decoder(path: Path, profile: int) -> str:
    name = shlex.quote(str(path))
    return (
        f"driving video {path} is Dolby Vision of profile {profile}: only a decoder of Dolby's has"
        " its right colours, and no HDR10, HLG or SDR is beside them; convert it with an FFmpeg"
        f" that has libplacebo: ffmpeg -i {name} -vf libplacebo=tonemapping=bt.2390:"
        "colorspace=bt709:color_primaries=bt709:color_trc=bt709:format=yuv420p sdr.mp4"
    )


def picture_of(
    first: VideoFrame, stream: VideoStream, hdr: Hdr | None, interlaced: bool = False
) -> Picture:
    """Return how the frames of a stream become upright ones, from the first of them."""
    aspect = stream.sample_aspect_ratio or Fraction(1)
    colorspace = int(first.colorspace)
    if colorspace in UNSPECIFIED_COLORSPACES:
        # Players take untagged video of HD height for BT.709 and smaller video for BT.601.
        sdr = Colorspace.ITU709 if first.height >= HD_HEIGHT else Colorspace.ITU601
        colorspace = int(Colorspace.BT2020 if hdr else sdr)
    turned = _rotation(first) % 180
    size = _square(first, aspect)[:: -1 if turned else 1]
    return Picture(size, str(aspect), interlaced, colorspace, hdr)


def _square(frame: VideoFrame, aspect: Fraction) -> tuple[int, int]:
    """Return the (width, height) of a frame with square pixels, not yet turned."""
    return max(round(frame.width * aspect), 1), frame.height


def _rotation(frame: VideoFrame) -> int:
    """Return by how many degrees a frame is turned clockwise."""
    return round(-frame.rotation / 90) * 90 % 360


def _unconverted(frame: VideoFrame, picture: Picture) -> str:
    """Return what keeps the frame from becoming RGB, nothing when it can."""
    if picture.colorspace not in CONVERTED_COLORSPACES:
        return COLORSPACE_NAMES.get(picture.colorspace, f"matrix {picture.colorspace}")
    try:
        upright(frame, picture)
    except av.FFmpegError:
        return f"pixel format {frame.format.name}"
    return ""


def upright(frame: VideoFrame, picture: Picture, rotation: int | None = None) -> np.ndarray:
    """Return a frame as uint8 RGB (height, width, 3) of `picture.size`.

    `rotation` is in degrees clockwise, by default the frame's own.
    """
    rotation = _rotation(frame) if rotation is None else rotation
    size = _square(frame, Fraction(picture.pixel_aspect))
    if picture.hdr:
        image = to_sdr(_converted(frame, size, "gbrp16le", picture), picture.hdr)
    elif any(component.is_alpha for component in frame.format.components):
        image = on_white(_converted(frame, size, "rgba", picture))
    else:
        image = _converted(frame, size, "rgb24", picture)
    if rotation:
        image = cv2.rotate(image, TURNS[rotation])
    return Letterbox(image.shape[1::-1], picture.size).image(image)


def _converted(
    frame: VideoFrame, size: tuple[int, int], pixel_format: str, picture: Picture
) -> np.ndarray:
    return frame.reformat(*size, pixel_format, src_colorspace=picture.colorspace).to_ndarray()


def on_white(rgba: np.ndarray) -> np.ndarray:
    """Return uint8 RGBA (h, w, 4) as RGB over white, as an image viewer shows it."""
    alpha = rgba[..., 3:].astype(np.uint16)
    return ((rgba[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _deinterlaced(frames: Iterable[VideoFrame]) -> Iterator[VideoFrame]:
    """Yield one whole frame per interlaced one."""
    # A filter graph takes frames of one shape; those of broadcasts change.
    for shape, alike in groupby(frames, lambda f: (f.width, f.height, f.format.name, f.time_base)):
        yield from _filtered(alike, *shape)


def _filtered(
    frames: Iterable[VideoFrame], width: int, height: int, pix_fmt: str, time_base: Fraction
) -> Iterator[VideoFrame]:
    graph = Graph()
    source = graph.add_buffer(width=width, height=height, format=pix_fmt, time_base=time_base)
    graph.link_nodes(
        source, graph.add("bwdif", "mode=send_frame:deint=all"), graph.add("buffersink")
    ).configure()
    for frame in frames:
        graph.push(frame)
        yield from _pulled(graph)
    graph.push(None)
    yield from _pulled(graph)


def _pulled(graph: Graph) -> Iterator[VideoFrame]:
    while True:
        try:
            yield graph.vpull()
        except (av.BlockingIOError, av.EOFError):
            return
