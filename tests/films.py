"""Films with sound tracks of every kind, as phones and editors write them."""

from fractions import Fraction

import av
import numpy as np

BLACK = [np.zeros((64, 64, 3), np.uint8)] * 48


def write_film(path, tracks, default=None, frames=BLACK):
    """Write pictures at 24 a second with as much of each sound track: (rate, layout, codec, hertz).

    `frames` are uint8 RGB (h, w, 3); `default` is the number of the default track, from 0.
    """
    with av.open(str(path), "w") as container:
        picture = container.add_stream("libx264", rate=24)
        picture.height, picture.width = frames[0].shape[:2]
        picture.pix_fmt = "yuv420p"
        sounds = [container.add_stream(c, rate=r, layout=layout) for r, layout, c, _ in tracks]
        if default is not None:
            for number, stream in enumerate(sounds):
                stream.disposition = int(number == default)
        container.start_encoding()
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 24)
            container.mux(picture.encode(frame))
        container.mux(picture.encode())
        for stream, (rate, layout, _, hertz) in zip(sounds, tracks, strict=True):
            channels = {"mono": 1, "stereo": 2, "5.1": 6}[layout]
            tone = 0.3 * np.sin(np.arange(rate * len(frames) // 24) * 2 * np.pi * hertz / rate)
            for start in range(0, len(tone), 1024):
                part = np.tile(tone[start : start + 1024].astype(np.float32), (channels, 1))
                frame = av.AudioFrame.from_ndarray(part, "fltp", layout)
                frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    return path


def unknown(path, track):
    """Make a sound track of an MP4 one that nobody here can decode; return `path`."""
    parts = path.read_bytes().split(b"mp4a")
    parts[track] = parts[track].replace(b"esds", b"xsds", 1)
    path.write_bytes(b"mp4a".join(parts[:track]) + b"apac" + b"mp4a".join(parts[track:]))
    return path
