"""Difficult driving videos and reference pictures, made on the fly."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.frame import VideoFrame
from PIL import Image
from skimage import data

RATE = Fraction(24)
COUNT = 12
SIZE = (320, 192)
UNEVEN_MS = [0, 40, 80, 200, 240, 280, 500, 540, 580, 620, 900, 944]


def quadrants(size: tuple[int, int] = SIZE) -> np.ndarray:
    """Return red and green over blue and white: shows size, colours and which way is up."""
    corners = np.array([[(220, 30, 30), (30, 200, 30)], [(30, 30, 220), (230, 230, 230)]], np.uint8)
    return cv2.resize(corners, size, interpolation=cv2.INTER_NEAREST)


def write_clip(
    path: Path,
    frames: Iterable[np.ndarray] | None = None,
    *,
    rate: Fraction = RATE,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    options: dict | None = None,
    times: list[int] | None = None,
    aspect: Fraction | None = None,
    rotation: int = 0,
    transfer: int = 0,
    matrix: int = 0,
    sound: float = 0,
) -> Path:
    """Write RGB or RGBA frames (12 of quadrants unless given); return `path`.

    `times` are the frames' times in ms; `rotation` is clockwise as a player applies it; `transfer`
    and `matrix` are tags in the numbers of ITU-T H.273, which the pixels do not follow; `sound` is
    the length of a sound track in seconds.
    """
    frames = [quadrants()] * COUNT if frames is None else list(frames)
    time_base = Fraction(1, 1000) if times else 1 / rate
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height = frames[0].shape[1::-1] if frames else SIZE
        stream.pix_fmt = pix_fmt
        stream.codec_context.time_base = time_base
        if rotation:
            stream.set_display_rotation(-rotation)
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if transfer:
            stream.codec_context.color_trc = transfer
        if matrix:
            stream.codec_context.colorspace = matrix
        tone = container.add_stream("aac", rate=16000, layout="mono") if sound else None
        container.start_encoding()
        for number, frame in enumerate(frames):
            picture = VideoFrame.from_ndarray(frame, "rgba" if frame.shape[2] == 4 else "rgb24")
            picture = picture.reformat(format=pix_fmt)
            picture.pts, picture.time_base = times[number] if times else number, time_base
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
        if tone:
            silence = np.zeros((1, int(16000 * sound)), np.float32)
            samples = av.AudioFrame.from_ndarray(silence, "fltp", "mono")
            samples.sample_rate, samples.pts = 16000, 0
            container.mux(tone.encode(samples))
            container.mux(tone.encode())
    return path


def write_bytes(path: Path, content: bytes) -> Path:
    """Write raw content; return `path`."""
    path.write_bytes(content)
    return path


def write_noise(path: Path) -> Path:
    """Write 2 s of noise, whose end is far from its beginning in the file too."""
    noise = np.random.default_rng(0).integers(0, 255, (48, 48, 80, 3), dtype=np.uint8)
    return write_clip(path, [cv2.resize(frame, SIZE) for frame in noise])


def remuxed(path: Path, target: Path, options: dict | None = None, **context) -> Path:
    """Write the pictures of a video into another container; return `target`.

    `context` are values that the container is to state, whatever the pictures say.
    """
    with av.open(str(path)) as source, av.open(str(target), "w", options=options or {}) as to:
        copy = to.add_stream_from_template(source.streams.video[0])
        for name, value in context.items():
            setattr(copy.codec_context, name, value)
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = copy
                to.mux(packet)
    return target


def cut_off(path: Path, share: float) -> Path:
    """Write a noisy clip whose index comes first, and keep only a share of the file."""
    fast = remuxed(write_noise(path), path.with_stem("fast"), {"movflags": "faststart"})
    content = fast.read_bytes()
    return write_bytes(path, content[: int(len(content) * share)])


def cut_in_last_frame(path: Path) -> Path:
    """Write a noisy clip whose index comes first, without the end of its last frame."""
    fast = remuxed(write_noise(path), path.with_stem("fast"), {"movflags": "faststart"})
    return write_bytes(path, fast.read_bytes()[:-100])


def unknown_codec(path: Path) -> Path:
    """Write a clip that names a codec which does not exist."""
    content = write_clip(path).read_bytes()
    return write_bytes(path, content.replace(b"avc1\0", b"zzz9\0").replace(b"avcC", b"zzzC"))


def cut_off_matroska(path: Path, share: float) -> Path:
    """Write a noisy clip, whose header comes first in Matroska, and keep a share of the file."""
    content = write_noise(path).read_bytes()
    return write_bytes(path, content[: int(len(content) * share)])


def subtitled(path: Path, seconds: int) -> Path:
    """Write the usual clip with one subtitle that lasts so many seconds."""
    text = write_bytes(
        path.with_suffix(".srt"), f"1\n00:00:00,100 --> 00:00:{seconds:02},000\nhello\n".encode()
    )
    silent = write_clip(path.with_stem("silent"))
    with (
        av.open(str(silent)) as pictures,
        av.open(str(text)) as words,
        av.open(str(path), "w") as to,
    ):
        tracks = [(words, words.streams.subtitles[0]), (pictures, pictures.streams.video[0])]
        copies = [to.add_stream_from_template(stream) for _, stream in tracks]
        for (source, stream), copy in zip(tracks, copies, strict=True):
            for packet in source.demux(stream):
                if packet.size:
                    packet.stream = copy
                    to.mux(packet)
    return path


def changing_size(path: Path) -> Path:
    """Write an interlaced stream whose second half is of another size."""
    sizes = ((160, 96), SIZE)
    interlaced = {"x264-params": "interlaced=1:tff=1"}
    parts = [write_clip(path, [quadrants(s)] * 6, options=interlaced).read_bytes() for s in sizes]
    return write_bytes(path, b"".join(parts))


def sound_only(path: Path) -> Path:
    """Write a sound track without pictures."""
    with av.open(str(path), "w") as container:
        tone = container.add_stream("aac", rate=16000, layout="mono")
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), "fltp", "mono")
        samples.sample_rate, samples.pts = 16000, 0
        container.mux(tone.encode(samples))
        container.mux(tone.encode())
    return path


def saved(path: Path, picture: Image.Image, **options) -> Path:
    """Save a picture whatever the suffix of `path`; return `path`."""
    picture.save(path, options.pop("format", None), **options)
    return path


def see_through() -> np.ndarray:
    """Return quadrants (h, w, 4) whose left edge is transparent."""
    alpha = np.full((SIZE[1], SIZE[0], 1), 255, np.uint8)
    alpha[:, :40] = 0
    return np.concatenate([quadrants(), alpha], axis=2)


@dataclass(frozen=True)
class Video:
    """A driving video and what must come of it: an error that says `error`, or these values."""

    make: Callable[[Path], Path]
    error: str = ""
    rate: Fraction = RATE
    count: int = COUNT
    size: tuple[int, int] = SIZE
    turns: int = 0
    settings: tuple = ()
    corners: bool = True


def _clip(name: str, **options) -> Callable[[Path], Path]:
    return lambda folder: write_clip(folder / name, **options)


def _file(name: str, content: bytes) -> Callable[[Path], Path]:
    return lambda folder: write_bytes(folder / name, content)


def _picture(name: str, kind: str) -> Callable[[Path], Path]:
    return lambda folder: saved(folder / name, Image.fromarray(quadrants()), format=kind)


def _alpha(name: str, codec: str, pix_fmt: str, **options: str) -> Callable[[Path], Path]:
    frames = [see_through()] * COUNT
    return _clip(name, frames=frames, codec=codec, pix_fmt=pix_fmt, options=options)


def _frames(count: int) -> list[np.ndarray]:
    return [quadrants()] * count


NTSC = Fraction(30000, 1001)
LATE_MS = [2000 + round(1000 * number / RATE) for number in range(COUNT)]
# At 30 frames/s, but one was dropped.
DROPPED_MS = [round(1000 * number / 30) for number in range(90) if number != 40]
# A phone that slows down in the dark: 1 s of 30 frames/s, then 2 s of 24.
SLOWER_MS = [round(1000 * number / 30) for number in range(30)] + [
    1000 + round(1000 * number / 24) for number in range(48)
]
VIDEOS = {
    "constant rate": Video(_clip("a.mp4")),
    "rational rate": Video(_clip("a.mp4", rate=NTSC), rate=NTSC),
    "rational rate, other rate wanted": Video(
        _clip("a.mp4", rate=NTSC), rate=Fraction(16), count=6, settings=(("fps", 16),)
    ),
    "milliseconds only": Video(_clip("a.mkv", rate=NTSC), rate=NTSC),
    "variable rate": Video(
        _clip("a.mp4", times=UNEVEN_MS), rate=Fraction(25), count=25, settings=(("fps", 25),)
    ),
    "one frame dropped": Video(
        _clip("a.mp4", frames=_frames(89), times=DROPPED_MS), rate=Fraction(30), count=90
    ),
    "one frame dropped, milliseconds only": Video(
        _clip("a.mkv", frames=_frames(89), times=DROPPED_MS), rate=Fraction(30), count=90
    ),
    "two rates": Video(
        _clip("a.mp4", frames=_frames(78), times=SLOWER_MS),
        rate=Fraction(24),
        count=72,
        settings=(("fps", 24),),
    ),
    "1000 frames per second": Video(
        _clip("a.mp4", times=list(range(COUNT))), error="a.mp4 has 1000 frames per second"
    ),
    "late first frame, MKV": Video(_clip("a.mkv", times=LATE_MS)),
    "late first frame, WebM": Video(_clip("a.webm", times=LATE_MS, codec="libvpx-vp9")),
    "long subtitles": Video(lambda folder: subtitled(folder / "a.mkv", 9)),
    "quarter turn": Video(_clip("a.mp4", rotation=90), size=SIZE[::-1], turns=1),
    "half turn": Video(_clip("a.mp4", rotation=180), turns=2),
    "three quarter turn": Video(_clip("a.mp4", rotation=270), size=SIZE[::-1], turns=3),
    "wide pixels": Video(_clip("a.mp4", aspect=Fraction(4, 3)), size=(427, 192)),
    "wide pixels, turned": Video(
        _clip("a.mp4", aspect=Fraction(4, 3), rotation=90), size=(192, 427), turns=1
    ),
    "odd size": Video(
        _clip("a.mp4", frames=[quadrants((321, 241))] * COUNT, pix_fmt="yuv444p"), size=(321, 241)
    ),
    "tall and narrow": Video(_clip("a.mp4", frames=[quadrants((32, 640))] * COUNT), size=(32, 640)),
    "10 bits": Video(_clip("a.mp4", pix_fmt="yuv420p10le")),
    "HDR PQ": Video(_clip("a.mp4", pix_fmt="yuv420p10le", transfer=16), corners=False),
    "HDR HLG": Video(_clip("a.mp4", pix_fmt="yuv420p10le", transfer=18), corners=False),
    "YCgCo": Video(_clip("a.mp4", matrix=8), error=r"colours \(YCgCo\)"),
    "BT.2020 constant luminance": Video(_clip("a.mp4", matrix=10), error="constant luminance"),
    "interlaced": Video(_clip("a.mp4", options={"x264-params": "interlaced=1:tff=1"})),
    "interlaced MPEG-2": Video(
        _clip("a.mpg", rate=Fraction(25), codec="mpeg2video", options={"flags": "+ildct+ilme"}),
        rate=Fraction(25),
    ),
    "interlaced, changing size": Video(
        lambda folder: changing_size(folder / "a.h264"), rate=Fraction(25), size=(160, 96)
    ),
    "alpha": Video(_alpha("a.mov", "qtrle", "argb"), corners=False),
    "alpha, VP8": Video(
        _alpha("a.webm", "libvpx", "yuva420p", **{"auto-alt-ref": "0"}), corners=False
    ),
    "alpha, VP9": Video(_alpha("a.webm", "libvpx-vp9", "yuva420p"), corners=False),
    "full range": Video(_clip("a.mp4", pix_fmt="yuvj420p")),
    "grey": Video(_clip("a.mp4", pix_fmt="gray"), corners=False),
    "sound longer": Video(_clip("a.mp4", sound=2)),
    "sound shorter": Video(_clip("a.mp4", sound=0.2)),
    "sound only": Video(lambda folder: sound_only(folder / "a.mp4"), error="no picture track"),
    "transport stream": Video(_clip("a.ts")),
    "motion JPEG": Video(_clip("a.avi", codec="mjpeg", pix_fmt="yuvj420p")),
    "VP9": Video(_clip("a.webm", codec="libvpx-vp9")),
    "name with spaces and letters of the world": Video(_clip("ein Tänzer 舞者.mp4")),
    "one frame": Video(_clip("a.mp4", frames=_frames(1)), count=1),
    "two frames": Video(_clip("a.mp4", frames=_frames(2)), count=2),
    "one frame at a lower rate": Video(
        _clip("a.mp4", frames=_frames(1)), rate=Fraction(8), count=1, settings=(("fps", 8),)
    ),
    "span": Video(_clip("a.mp4"), count=6, settings=(("start", 0.25), ("end", 0.5))),
    "span beyond the end": Video(_clip("a.mp4"), error="choose a span", settings=(("start", 5.0),)),
    "no frames": Video(_clip("a.mp4", frames=[]), error="a.mp4"),
    "last frame cut off": Video(
        lambda folder: cut_in_last_frame(folder / "a.mp4"), count=47, corners=False
    ),
    "unknown codec": Video(
        lambda folder: unknown_codec(folder / "a.mp4"), error="a codec that is not known here"
    ),
    "cut off": Video(lambda folder: cut_off(folder / "a.mp4", 0.6), error="cut off after"),
    "cut off near the end": Video(lambda folder: cut_off(folder / "a.mp4", 0.95), error="cut off"),
    "cut off MKV": Video(
        lambda folder: cut_off_matroska(folder / "a.mkv", 0.6), error="cut off after"
    ),
    "text": Video(_file("a.mp4", b"a film about a dancer\n"), error="is no video"),
    "empty file": Video(_file("a.mp4", b""), error="is no video"),
    "missing": Video(lambda folder: folder / "a.mp4", error="is no file"),
    "folder": Video(lambda folder: folder, error="is no file"),
    "JPEG picture": Video(_picture("a.mp4", "JPEG"), error="is a picture"),
    "PNG picture": Video(_picture("a.png", "PNG"), error="is a picture"),
    "WebP picture": Video(_picture("a.webp", "WEBP"), error="is a picture"),
}


def _sixteen_bits() -> Image.Image:
    return Image.fromarray(quadrants()[..., 0].astype(np.uint16) * 257)


def _turned() -> dict:
    exif = Image.Exif()
    exif[0x0112] = 6
    return {"exif": exif}


def _reference(name: str, picture: Callable[[], Image.Image], **options):
    return lambda folder: saved(folder / name, picture(), **options)


# What makes each reference picture, and the RGB of its corners or the error.
REFERENCES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "EXIF turned": (
        lambda folder: saved(
            folder / "a.png",
            Image.fromarray(np.rot90(quadrants())),
            **_turned(),
        ),
        "",
    ),
    "CMYK": (_reference("a.tif", lambda: Image.fromarray(quadrants()).convert("CMYK")), ""),
    "CMYK JPEG": (
        _reference("a.jpg", lambda: Image.fromarray(quadrants()).convert("CMYK"), quality=95),
        "",
    ),
    "palette": (_reference("a.png", lambda: Image.fromarray(quadrants()).quantize(8)), ""),
    "16 bits": (_reference("a.png", _sixteen_bits), "grey"),
    "grey": (_reference("a.png", lambda: Image.fromarray(quadrants()[..., 0])), "grey"),
    "alpha": (_reference("a.png", lambda: Image.fromarray(see_through())), "alpha"),
    "grey with alpha": (
        _reference("a.png", lambda: Image.fromarray(see_through()).convert("LA")),
        "alpha",
    ),
    "cut off": (
        lambda folder: write_bytes(
            folder / "b.jpg",
            _reference("a.jpg", lambda: Image.fromarray(data.astronaut()))(folder).read_bytes()[
                :9000
            ],
        ),
        "error",
    ),
    "text": (_file("a.png", b"a picture of a dancer\n"), "error"),
    "video": (_clip("a.mp4"), "error"),
    "missing": (lambda folder: folder / "a.png", "error"),
}

SCENE = (640, 360)


def place(scene: np.ndarray, person: np.ndarray, x: int) -> None:
    """Put a picture of a person into the scene, its left edge at `x`, on the lower edge."""
    height, width = person.shape[:2]
    left, right = max(x, 0), min(x + width, scene.shape[1])
    if left < right:
        scene[-height:, left:right] = person[:, left - x : right - x]


def _scene(*people: tuple[np.ndarray, int]) -> np.ndarray:
    scene = np.full((SCENE[1], SCENE[0], 3), 90, np.uint8)
    for person, x in people:
        place(scene, person, x)
    return scene


def driver(side: int = 300) -> np.ndarray:
    """Return the astronaut, a public-domain photograph of a person, `side` pixels square."""
    return cv2.resize(data.astronaut(), (side, side), interpolation=cv2.INTER_AREA)


def passer_by(side: int = 240) -> np.ndarray:
    """Return another person: mirrored, smaller and in other colours."""
    return np.ascontiguousarray(driver(side)[:, ::-1, ::-1])


def still() -> Iterator[np.ndarray]:
    """Yield 12 frames of one person who does not move."""
    yield from [_scene((driver(), 170))] * 12


def leaves_and_returns() -> Iterator[np.ndarray]:
    """Yield 48 frames in which the person walks out to the left and comes back."""
    for step in [*range(24), *range(24, 0, -1)]:
        yield _scene((driver(), 170 - 22 * step))


def crossing() -> Iterator[np.ndarray]:
    """Yield 40 frames in which a smaller person passes behind the driver."""
    for step in range(40):
        yield _scene((passer_by(), 420 - 14 * step), (driver(), 100 + 2 * step))


def crossing_in_front(passer: np.ndarray) -> Iterator[np.ndarray]:
    """Yield 40 frames in which another person hides the driver, who stands still."""
    for step in range(40):
        yield _scene((driver(), 170), (passer, 600 - 20 * step))


def upside_down() -> Iterator[np.ndarray]:
    """Yield 6 frames of a person on the head."""
    yield from [np.ascontiguousarray(_scene((driver(), 170))[::-1, ::-1])] * 6


def tiny() -> Iterator[np.ndarray]:
    """Yield 6 frames of a person of 60 pixels."""
    yield from [_scene((driver(60), 300))] * 6


def close_up() -> Iterator[np.ndarray]:
    """Yield 6 frames that show nothing but a face."""
    yield from [cv2.resize(data.astronaut()[20:133, 130:330], SCENE)] * 6


def plain(value: int) -> Iterator[np.ndarray]:
    """Yield 6 frames of one grey value: black, white, nobody."""
    yield from [np.full((SCENE[1], SCENE[0], 3), value, np.uint8)] * 6
