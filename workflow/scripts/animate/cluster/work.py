"""How much there is to do for a clip, exactly once its timeline is there, estimated before."""

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from animate.config.fields import frame_rate, parse_area
from animate.config.table import Clip
from animate.sampling.segments import sampled_shots, segment_count

# Of a video whose length is unknown: 2 Mbit/s, so that most are shorter than estimated.
BYTES_PER_SECOND = 250_000
SECONDS = 5, 1800
SOURCE_RATE = 30


@dataclass(frozen=True)
class Work:
    """The sampling of one clip.

    `frames`: output frames; `known` is False while they are an estimate. `pixels`: of one frame.
    `branches`: forwards per step. `encoded`: videos that the VAE encodes per segment. `shots`: the
    first frames of those that are sampled apart, one while they are not known.
    """

    frames: int
    known: bool
    pixels: int
    segment_frames: int
    conditioning_frames: int
    steps: int
    branches: int
    encoded: int
    precision: str
    vae_precision: str
    shots: tuple[int, ...] = (0,)

    @property
    def segments(self) -> int:
        """Segments of the clip."""
        lengths = self.frames, self.segment_frames, self.conditioning_frames
        return segment_count(*lengths, self.shots)

    @property
    def tokens(self) -> int:
        """Tokens of one segment: 16 x 16 pixels of each latent frame, the reference's included."""
        return (self.segment_frames // 4 + 2) * self.pixels // 256


def clip_work(clip: Clip, results: str) -> Work:
    """Return the work of a clip; of its files only the timeline is read, if it is there."""
    settings = clip.settings
    # Asked for every job of a clip: joining paths as text is many times as fast.
    timeline = f"{results}/{clip.name}/timeline.json"
    try:
        frames, pixels, shots = _read_timeline(timeline, Path(timeline).stat().st_mtime_ns)
        known = True
    except FileNotFoundError:
        estimate = [settings.fps, settings.start, settings.end, settings.resolution_area]
        frames, pixels = _estimate(clip.video, *estimate)
        known, shots = False, (0,)
    return Work(
        frames=frames,
        known=known,
        pixels=pixels,
        segment_frames=settings.segment_frames,
        conditioning_frames=settings.conditioning_frames,
        steps=settings.steps,
        branches=2 if settings.guidance_scale > 1 else 1,
        encoded=2 if clip.mode == "replace" else 1,
        precision=settings.precision,
        vae_precision=settings.vae_precision,
        shots=sampled_shots(shots, frames, settings.cuts),
    )


@lru_cache(maxsize=256)
def _read_timeline(path: str, changed: int) -> tuple[int, int, tuple[int, ...]]:
    values = json.loads(Path(path).read_text())
    width, height = values["model_size"]
    # A timeline of an earlier version, about to be made anew, has none.
    return values["frame_count"], width * height, tuple(values.get("shots", (0,)))


@lru_cache(maxsize=256)
def _estimate(
    video: str, fps: str, start: float | None, end: float | None, area: str
) -> tuple[int, int]:
    if end is None:
        shortest, longest = SECONDS
        seconds = Path(video).stat().st_size / BYTES_PER_SECOND - (start or 0)
        seconds = min(max(seconds, shortest), longest)
    else:
        seconds = end - (start or 0)
    return max(1, round(seconds * frame_rate(fps, SOURCE_RATE))), parse_area(area)
