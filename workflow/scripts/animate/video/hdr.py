"""HDR video, PQ or HLG as in ITU-R BT.2100, becomes SDR in BT.709: a tone mapping of light.

Light of the display is kept up to a knee, and above it bent until the video's peak is white. White
is the 203 cd/m2 of diffuse white (BT.2408); the curve is the EETF of BT.2390, without a lift of
black, on the brightest of the three channels: so hues stay, and nothing but colours outside BT.709
is clipped. HLG becomes light of a display of 1000 cd/m2 by its OOTF, with a gamma of 1.2.
"""

import re
import struct
from dataclasses import dataclass
from functools import cache

import av
import cv2
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

TRANSFERS = {16: "PQ", 18: "HLG"}
BT709, UNSPECIFIED, BT2020, DISPLAY_P3 = 1, 2, 9, 12
WHITE, HLG_PEAK, PQ_PEAK = 203, 1000, 10_000
# Of PQ whose metadata does not say how bright it gets: what phones and most masters keep to.
USUAL_PEAK = 1000
HLG_GAMMA = 1.2
# Of a display of BT.1886, for which BT.709 video is graded.
SDR_GAMMA = 2.4
STEPS = 1 << 16
ROWS = 16
# 255 in 8 bits; the white of 10 and 12 bits in full range is up to 0.4% brighter.
SWSCALE_WHITE = 255 << 8
# Linear RGB to that of BT.709: ITU-R BT.2087, and the same for Display P3.
TO_BT709 = {
    BT709: np.eye(3),
    BT2020: ((1.6605, -0.5876, -0.0728), (-0.1246, 1.1329, -0.0083), (-0.0182, -0.1006, 1.1187)),
    DISPLAY_P3: ((1.2249, -0.2247, 0), (-0.0420, 1.0419, 0), (-0.0197, -0.0786, 1.0979)),
}
BT709_LUMINANCE = (0.2126, 0.7152, 0.0722)
DOLBY_VISION = r"DOVI configuration record:.* profile: (\d+),.* compatibility id: (\d+)"


@dataclass(frozen=True)
class Hdr:
    """How code values stand for light.

    `transfer` is "PQ" or "HLG", `primaries` a key of `TO_BT709`, `peak` the brightest light in
    cd/m2.
    """

    transfer: str
    primaries: int
    peak: int


def find_hdr(frame: VideoFrame, transfer: int, primaries: int) -> Hdr | None:
    """Return how a frame is HDR, None for SDR.

    `transfer` and `primaries` are what the container says (ITU-T H.273), for frames that do not.
    """
    if frame.color_trc != UNSPECIFIED:
        transfer, primaries = frame.color_trc, frame.color_primaries
    if transfer not in TRANSFERS:
        return None
    peak = HLG_PEAK if TRANSFERS[transfer] == "HLG" else _stated_peak(frame)
    return Hdr(TRANSFERS[transfer], primaries if primaries in TO_BT709 else BT2020, peak)


def dolby_vision_alone(container: InputContainer, stream: VideoStream) -> int | None:
    """Return the Dolby Vision profile of a video whose pictures need a decoder of Dolby's.

    None where there is no Dolby Vision, or under it PQ, HLG or SDR that everybody can show.
    """
    level = av.logging.get_level()
    av.logging.set_level(av.logging.INFO)
    # PyAV shows the record nowhere else.
    described = container.dumps_format()
    av.logging.set_level(level)
    own = re.search(rf"Stream #0:{stream.index}\b.*?(?=Stream #|\Z)", described, re.DOTALL)
    record = re.search(DOLBY_VISION, own[0] if own else "")
    return int(record[1]) if record and record[2] == "0" else None


def to_sdr(signal: np.ndarray, hdr: Hdr) -> np.ndarray:
    """Return the uint8 RGB (h, w, 3) in BT.709 of an HDR signal, uint16 RGB as swscale makes it."""
    # What is computed on the way stays in the processor's cache: three times as fast.
    strips = (signal[top : top + ROWS] for top in range(0, len(signal), ROWS))
    return np.concatenate([_strip_to_sdr(strip, hdr) for strip in strips])


def _strip_to_sdr(signal: np.ndarray, hdr: Hdr) -> np.ndarray:
    linear, gains, shades = _tables(hdr)
    light = linear.take(signal, mode="clip")
    light = cv2.transform(light, np.array(TO_BT709[hdr.primaries], np.float32))
    channels = cv2.split(light)
    brightest = cv2.max(cv2.max(*channels[:2]), channels[2])
    if hdr.transfer == "HLG":
        luminance = cv2.transform(light, np.array([BT709_LUMINANCE], np.float32))
        system = cv2.pow(cv2.max(luminance, 0), HLG_GAMMA - 1)
        gain = gains.take(_steps(cv2.multiply(brightest, system)), mode="clip")
        gain = cv2.multiply(gain, system)
    else:
        gain = gains.take(_steps(brightest), mode="clip")
    light = cv2.merge([cv2.multiply(channel, gain) for channel in channels])
    return shades.take(_steps(cv2.sqrt(np.maximum(light, 0))), mode="clip")


def _steps(share: np.ndarray) -> np.ndarray:
    return (np.clip(share, 0, 1) * (STEPS - 1)).astype(np.uint16)


@cache
def _tables(hdr: Hdr) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the light of each code value, the gain of each light, the uint8 shade of each root.

    Light is in units of the peak, with HLG that of the scene; the gain, which is that of the
    brightest channel, turns it to units of white. The root of light has even steps in the dark.
    """
    steps = np.arange(STEPS) / (STEPS - 1)
    signal = np.arange(STEPS) / SWSCALE_WHITE
    linear = hlg_scene(signal) if hdr.transfer == "HLG" else pq_light(signal) / hdr.peak
    shown = np.maximum(steps, 1 / STEPS) * hdr.peak
    gains = eetf(shown, hdr.peak) / WHITE * hdr.peak / shown
    shades = 255 * steps ** (2 / SDR_GAMMA) + 0.5
    return linear.astype(np.float32), gains.astype(np.float32), shades.astype(np.uint8)


def eetf(light: np.ndarray, peak: float) -> np.ndarray:
    """Return light in cd/m2, of up to `peak`, bent to at most white (BT.2390-11, 5.4.1)."""
    top = pq_signal(peak)
    most = min(pq_signal(WHITE) / top, 1)
    knee = 1.5 * most - 0.5
    relative = np.minimum(pq_signal(light) / top, 1)
    t = np.maximum(relative - knee, 0) / max(1 - knee, 1e-9)
    bent = (
        (2 * t**3 - 3 * t**2 + 1) * knee
        + (t**3 - 2 * t**2 + t) * (1 - knee)
        + (3 * t**2 - 2 * t**3) * most
    )
    return pq_light(np.where(relative < knee, relative, bent) * top)


def pq_light(signal: np.ndarray) -> np.ndarray:
    """Return the light in cd/m2 of a PQ signal in 0..1 (BT.2100, table 4)."""
    power = np.minimum(signal, 1) ** (32 / 2523)
    return PQ_PEAK * (np.maximum(power - 107 / 128, 0) / (2413 / 128 - 2392 / 128 * power)) ** (
        8192 / 1305
    )


def pq_signal(light: np.ndarray) -> np.ndarray:
    """Return the PQ signal in 0..1 of light in cd/m2 (BT.2100, table 4)."""
    power = (np.asarray(light) / PQ_PEAK) ** (1305 / 8192)
    return ((107 / 128 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32)


def hlg_scene(signal: np.ndarray) -> np.ndarray:
    """Return the light of the scene, 0..1, of an HLG signal in 0..1 (BT.2100, table 5)."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    signal = np.minimum(signal, 1)
    return np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)


def _stated_peak(frame: VideoFrame) -> int:
    """Return the brightest light in cd/m2 that the metadata of a PQ frame states."""
    peak = 0
    if content := frame.side_data.get("CONTENT_LIGHT_LEVEL"):
        peak, _ = struct.unpack("=II", bytes(content))
    if not peak and (display := frame.side_data.get("MASTERING_DISPLAY_METADATA")):
        # libavutil's struct: eight fractions, the least light, the most, and which are known.
        *_, most, parts, _, known = struct.unpack("=22i", bytes(display))
        peak = most // max(parts, 1) if known else 0
    return min(max(peak or USUAL_PEAK, WHITE), PQ_PEAK)
