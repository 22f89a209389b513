"""The reference picture: any image file becomes the RGB picture the sampler reads."""

import warnings
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageOps

from animate.atomic import atomic_output
from animate.errors import ClipError
from animate.video.hdr import find_hdr
from animate.video.source import on_white, picture_of, upright

SIXTEEN_BIT_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N")
HEIC = (b"ftypheic", b"ftypheix", b"ftypmif1")


def load_reference(path: Path) -> np.ndarray:
    """Return the picture upright as uint8 RGB (h, w, 3), transparent parts over white.

    EXIF rotation, CMYK, grey, palette, 16-bit, alpha and AVIF in HDR are resolved. Raises ClipError
    when the file is missing, no picture, HEIC, cut off or too large.
    """
    path = Path(path)
    if not path.is_file():
        raise ClipError(f"reference {path} does not exist; correct its path")
    try:
        with warnings.catch_warnings(), Image.open(path) as picture:
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            tone_mapped = _hdr_to_rgb(path) if picture.format == "AVIF" else None
            if tone_mapped is not None:
                return tone_mapped
            return _to_rgb(ImageOps.exif_transpose(picture))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ClipError(f"reference {path} is too large a picture; scale it down") from error
    except (OSError, SyntaxError, ValueError, av.FFmpegError) as error:
        with path.open("rb") as file:
            if file.read(12)[4:] in HEIC:
                raise ClipError(f"reference {path} is HEIC; save it as JPEG or PNG") from error
        raise ClipError(
            f"reference {path} is no picture or is cut off; save it again as PNG or JPEG"
        ) from error


def write_reference(path: Path, output: Path) -> None:
    """Write the picture at `path` as the 8-bit RGB PNG that every tool reads alike."""
    with atomic_output(output) as temporary:
        Image.fromarray(load_reference(path)).save(temporary)


def _to_rgb(picture: Image.Image) -> np.ndarray:
    if picture.mode in SIXTEEN_BIT_MODES:
        grey = (np.asarray(picture).astype(np.uint32) + 128) // 257
        return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
    if picture.has_transparency_data:
        return on_white(np.asarray(picture.convert("RGBA")))
    return np.asarray(picture.convert("RGB")).copy()


def _hdr_to_rgb(path: Path) -> np.ndarray | None:
    """Return a picture in PQ or HLG as SDR, None when it is SDR itself."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stated = stream.color_trc, stream.color_primaries
        frame = next(container.decode(stream))
        hdr = find_hdr(frame, *stated)
        return upright(frame, picture_of(frame, stream, hdr)) if hdr else None
