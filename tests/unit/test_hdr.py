"""HDR becomes SDR: by the standards' formulas, as FFmpeg does it, from every kind of file."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.filter import Graph

from animate.errors import ClipError
from animate.video.files import read_frames
from animate.video.hdr import (
    SWSCALE_WHITE,
    TO_BT709,
    WHITE,
    Hdr,
    eetf,
    hlg_scene,
    pq_light,
    pq_signal,
    to_sdr,
)
from animate.video.reference import load_reference
from animate.video.timeline import Timeline, make_timeline
from difficult import SIZE, remuxed

PQ, HLG = 16, 18
BT2020 = 9
HLG_1000 = Hdr("HLG", BT2020, 1000)


def hlg_signal(light: np.ndarray) -> np.ndarray:
    """Return the HLG signal of linear BT.2020 RGB in cd/m2 (BT.2100: inverse OOTF, OETF)."""
    display = light / 1000
    luminance = display @ np.array([0.2627, 0.6780, 0.0593])
    scene = display * np.maximum(luminance, 1e-9)[..., None] ** (1 / 1.2 - 1)
    log = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), log)


SIGNALS = {PQ: pq_signal, HLG: hlg_signal}
NAMES = {PQ: "PQ", HLG: "HLG"}


def shades(light: np.ndarray) -> np.ndarray:
    """Return the 8-bit BT.709 levels of linear BT.709 RGB in units of white."""
    return 255 * np.clip(light, 0, 1) ** (1 / 2.4)


def patches(least: int = 40) -> np.ndarray:
    """Return uint8 RGB (192, 320, 3): 15 colours in squares, greys and black among them."""
    colours = np.random.default_rng(3).integers(least, 160, (3, 5, 3))
    colours[0] = np.linspace(0, 160, 5)[:, None]
    return cv2.resize(colours.astype(np.uint8), SIZE, interpolation=cv2.INTER_NEAREST)


def light_of(picture: np.ndarray) -> np.ndarray:
    """Return the linear BT.2020 RGB in cd/m2 that an SDR picture shows below the knee."""
    return (picture / 255) ** 2.4 * WHITE @ np.linalg.inv(TO_BT709[BT2020]).T


def frame_of(signal: np.ndarray, transfer: int, pix_fmt="yuv420p10le", full=False):
    """Return a tagged frame of an R'G'B' signal in 0..1."""
    values = (np.clip(signal, 0, 1) * SWSCALE_WHITE).astype(np.uint16)
    frame = av.VideoFrame.from_ndarray(values, "rgb48le")
    frame = frame.reformat(format=pix_fmt, dst_colorspace=BT2020, dst_color_range=2 if full else 1)
    frame.color_trc, frame.color_primaries, frame.colorspace = transfer, BT2020, BT2020
    return frame


def write_hdr(
    path: Path, transfer: int, *, pix_fmt="yuv420p10le", full=False, tags=True, params="", **context
) -> Path:
    """Write four frames of `patches` as HEVC; without `tags` as if nobody knew the colours."""
    frame = frame_of(SIGNALS[transfer](light_of(patches())), transfer, pix_fmt, full)
    options = {"crf": "4", "x265-params": f"log-level=none{params}"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx265", rate=24, options=options)
        (stream.width, stream.height), stream.pix_fmt = SIZE, pix_fmt
        stated = {"color_trc": transfer, "color_primaries": BT2020, "colorspace": BT2020}
        stated = (stated if tags else {}) | {"color_range": 2 if full else 1} | context
        for name, value in stated.items():
            setattr(stream.codec_context, name, value)
        if not tags:
            frame.color_trc = frame.color_primaries = frame.colorspace = 2
        for number in range(4):
            frame.pts, frame.time_base = number, Fraction(1, 24)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def read(path: Path) -> tuple[Timeline, np.ndarray]:
    """Return the timeline and the last frame, as every stage reads it."""
    timeline = make_timeline(path, resolution_area=320 * 192)
    return timeline, list(read_frames(path, timeline))[-1]


def assert_shows_patches(picture: np.ndarray) -> None:
    middles = np.ix_(range(32, 192, 64), range(32, 320, 64))
    np.testing.assert_allclose(picture[middles].astype(int), patches()[middles], atol=4)


def filtered(frame: av.VideoFrame, name: str, options: str) -> np.ndarray:
    """Return what a filter of FFmpeg makes of a frame, in planes."""
    graph = Graph()
    frame.pts, frame.time_base = 0, Fraction(1, 24)
    size = {"width": frame.width, "height": frame.height}
    source = graph.add_buffer(**size, format=frame.format, time_base=frame.time_base)
    sink = graph.add("buffersink")
    graph.link_nodes(source, graph.add(name, options), sink).configure()
    graph.push(frame)
    return graph.vpull().reformat(format="gbrpf32le").to_ndarray()


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_what_needs_no_mapping_is_as_swscale_shows_it(transfer):
    """FFmpeg's own conversion clips at white; below the knee, at 92 cd/m2, it is the same.

    Its table of 33 steps is not exact at the edge of the gamut, so no colour is saturated.
    """
    shown = patches(60)
    signal = SIGNALS[transfer](light_of(shown))
    frame = frame_of(signal, transfer, "gbrp16le")
    colorimetric = "out_transfer=bt709:out_primaries=bt709:intent=relative_colorimetric"
    expected = 255 * filtered(frame, "scale", colorimetric)
    values = (np.clip(signal, 0, 1) * SWSCALE_WHITE).astype(np.uint16)
    mapped = to_sdr(values, Hdr(NAMES[transfer], BT2020, 1000))
    assert np.abs(mapped - expected).max() < 3
    assert np.abs(mapped - shown.astype(int)).max() <= 1


@pytest.mark.parametrize("tint", [(1, 1, 1), (1, 0.6, 0.4), (0.2, 0.3, 1)])
def test_curve_is_near_ffmpegs_tonemap(tint):
    """Mobius with the same knee and peak, which too maps the brightest channel: within 9 levels."""
    peak, knee = 1000 / WHITE, 92 / WHITE
    light = np.linspace(0, peak, 512)[:, None] * np.array(tint)
    frame = av.VideoFrame.from_ndarray(np.tile(light.astype(np.float32), (2, 1, 1)), "gbrpf32le")
    frame.color_trc, frame.color_primaries = 8, 1
    theirs = filtered(frame, "tonemap", f"mobius:param={knee}:peak={peak}:desat=0")[0]
    ramp = (pq_signal(light * WHITE) * SWSCALE_WHITE).round().astype(np.uint16)
    ours = to_sdr(ramp[None], Hdr("PQ", 1, 1000))[0]
    assert np.abs(ours - shades(theirs)).max() < 9


def test_published_levels():
    """BT.2408: white is 75% of HLG and 58% of PQ; BT.2100: 1000 cd/m2 are 0.7518 of PQ."""
    assert pq_signal(np.array([0.0, WHITE, 1000, 10_000])) == pytest.approx(
        [0, 0.5807, 0.7518, 1], abs=1e-4
    )
    assert pq_light(pq_signal(np.array([0.01, 1, 400]))) == pytest.approx([0.01, 1, 400])
    assert hlg_scene(np.array([0, 0.5, 1])) == pytest.approx([0, 1 / 12, 1], abs=1e-6)
    assert 1000 * hlg_scene(np.array(0.75)) ** 1.2 == pytest.approx(WHITE, rel=0.01)


@pytest.mark.parametrize("peak", [203, 600, 1000, 4000, 10_000])
def test_curve_keeps_shadows_and_ends_at_white(peak):
    light = np.linspace(0, peak, 2000)
    bent = eetf(light, peak)
    assert (np.diff(bent) > 0).all()
    assert bent[-1] == pytest.approx(WHITE, rel=1e-3)
    low = light < 20
    assert bent[low] == pytest.approx(light[low], rel=1e-6)


@pytest.mark.parametrize("hdr", [HLG_1000, Hdr("PQ", BT2020, 1000)])
def test_levels_of_a_grey_ramp(hdr):
    ramp = np.arange(1 << 16, dtype=np.uint16).reshape(256, 256, 1).repeat(3, axis=2)
    mapped = to_sdr(ramp, hdr)
    # The standard's matrices have four digits.
    assert np.ptp(mapped.astype(int), axis=2).max() <= 1
    levels = mapped[..., 0].ravel().astype(int)
    assert (np.diff(levels) >= 0).all() and (levels[0], levels[-1]) == (0, 255)
    white = round((0.75 if hdr.transfer == "HLG" else 0.5807) * SWSCALE_WHITE)
    # Nine tenths of the signal, so that lights stay above it.
    assert abs(levels[white] - 230) <= 1


def test_colours_outside_bt709_stay_the_colours_they_are():
    pure = np.eye(3)[[0, 1, 2]] * 100
    mapped = to_sdr((hlg_signal(pure)[None] * SWSCALE_WHITE).astype(np.uint16), HLG_1000)[0]
    assert (mapped.argmax(axis=1) == [0, 1, 2]).all()
    assert (np.sort(mapped, axis=1)[:, 0] == 0).all()


@pytest.mark.parametrize("transfer", [PQ, HLG])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp4", {}),
        ("a.mp4", {"full": True}),
        ("a.mp4", {"pix_fmt": "yuv420p12le"}),
        ("a.mkv", {"pix_fmt": "yuv444p10le"}),
        ("a.mov", {"pix_fmt": "yuv422p12le", "full": True}),
        ("a.ts", {}),
    ],
)
def test_every_depth_and_range_is_read_alike(name, options, transfer, tmp_path):
    timeline, picture = read(write_hdr(tmp_path / name, transfer, **options))
    assert timeline.picture.hdr == Hdr(NAMES[transfer], BT2020, 1000)
    assert_shows_patches(picture)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov"])
def test_tags_of_the_container_alone_are_enough(name, tmp_path):
    bare = write_hdr(tmp_path / "bare.mp4", HLG, tags=False)
    tags = {"color_trc": HLG, "color_primaries": BT2020, "colorspace": BT2020}
    _, picture = read(remuxed(bare, tmp_path / name, **tags))
    assert_shows_patches(picture)


def test_matrix_and_primaries_are_those_of_hdr_where_nobody_says(tmp_path):
    path = write_hdr(tmp_path / "a.mp4", HLG, color_primaries=2, colorspace=2)
    assert_shows_patches(read(path)[1])


@pytest.mark.parametrize(
    ("params", "peak"),
    [
        ("max-cll=600,100", 600),
        ("max-cll=20,10", WHITE),
        (
            "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(40000000,50)",
            4000,
        ),
    ],
)
def test_peak_of_pq_is_what_the_metadata_say(params, peak, tmp_path):
    path = write_hdr(tmp_path / "a.mp4", PQ, params=f":{params}")
    timeline, _ = read(path)
    assert timeline.picture.hdr.peak == peak
    timeline.to_json(tmp_path / "timeline.json")
    assert Timeline.from_json(tmp_path / "timeline.json") == timeline


def dolby_vision(path: Path, transfer: int, profile: int, compatible: int) -> Path:
    """Write HEVC with a configuration record of Dolby Vision, where the bit rates were."""
    content = write_hdr(path, transfer, codec_tag="hvc1").read_bytes()
    record = struct.pack(">BBHB7x", 1, 0, profile << 9 | 6 << 3 | 5, compatible << 4)
    before, after = content.split(b"btrt", 1)
    path.write_bytes(before + b"dvvC" + record + after[len(record) :])
    return path


@pytest.mark.parametrize(("transfer", "compatible"), [(PQ, 1), (HLG, 4)])
@pytest.mark.parametrize("name", ["dolby.mp4", "a.mkv"])
def test_dolby_vision_of_phones_is_read_through_its_base_layer(
    name, transfer, compatible, tmp_path
):
    path = dolby_vision(tmp_path / "dolby.mp4", transfer, 8, compatible)
    if name != path.name:
        path = remuxed(path, tmp_path / name)
    timeline, picture = read(path)
    assert timeline.picture.hdr.transfer == NAMES[transfer]
    assert_shows_patches(picture)


@pytest.mark.parametrize("name", ["a film.mp4", "a film.mkv"])
def test_dolby_vision_without_a_base_layer_is_refused(name, tmp_path):
    path = dolby_vision(tmp_path / "a film.mp4", PQ, 5, 0)
    path = path if name == path.name else remuxed(path, tmp_path / name)
    with pytest.raises(
        ClipError, match=r"Dolby Vision of profile 5.*ffmpeg -i '.*a film"
    ) as caught:
        make_timeline(path, resolution_area=320 * 192)
    assert "\n" not in str(caught.value)


def test_reference_in_hdr_is_tone_mapped(tmp_path):
    path = tmp_path / "a.avif"
    frame = frame_of(pq_signal(light_of(patches())), PQ)
    with av.open(str(path), "w", format="avif") as container:
        stream = container.add_stream("libsvtav1", rate=1, options={"crf": "5"})
        (stream.width, stream.height), stream.pix_fmt = SIZE, "yuv420p10le"
        context = stream.codec_context
        context.color_trc, context.color_primaries, context.colorspace = PQ, BT2020, BT2020
        frame.pts, frame.time_base = 0, Fraction(1)
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert_shows_patches(load_reference(path))
