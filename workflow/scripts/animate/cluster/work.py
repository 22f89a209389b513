"""How much there is to do for a clip, exactly once its timeline is there, estimated before."""

import json
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from animate.config.fields import frame_rate, parse_area
from animate.config.models.declared import POSED, Kind
from animate.config.table import Clip
from animate.sampling.segments import sampled_shots, segment_lengths

# Of a video whose length is unknown: 2 Mbit/s, so that most are shorter than estimated.
BYTES_PER_SECOND = 250_000
SECONDS = 5, 1800
SOURCE_RATE = 30
# Most frames between two keyframes, as x264 sets them unless told otherwise.
KEYFRAME_DISTANCE = 250


@dataclass(frozen=True)
class Work:
    """The sampling of one clip.

    `frames`: output frames; `known` is False while they are an estimate. `pixels`: of one frame.
    `guided_steps` of the `steps` have two forwards, the others one. `encoded`: videos that
    the VAE encodes per segment. `kind`: that of the model. `shots`: the first frames of those that
    are sampled apart, one while they are not known. `skipped`: source frames that each stage
    decodes before its first.
    `continued`: whether the first segment starts from another clip's frames, too.
    `film`: frames of the driving video; `chained` whether another clip made them, and `taken`
    whether another clip takes this one's.
    """

    frames: int
    known: bool
    pixels: int
    segment_frames: int
    conditioning_frames: int
    steps: int
    guided_steps: int
    encoded: int
    precision: str
    vae_precision: str
    attention: str = "exact"
    kind: Kind = POSED
    segment_fit: str = "pad"
    shots: tuple[int, ...] = (0,)
    continued: bool = False
    skipped: int = 0
    film: int = 0
    chained: bool = False
    taken: bool = False

    @property
    def segments(self) -> int:
        """Segments of the clip."""
        return len(self.segment_lengths)

    @cached_property
    def segment_lengths(self) -> list[int]:
        """Frames that each segment samples."""
        lengths = self.frames, self.segment_frames, self.conditioning_frames
        return segment_lengths(*lengths, self.shots, self.segment_fit, self.continued)

    @property
    def branches(self) -> int:
        """Forwards of the steps that have most."""
        return 2 if self.guided_steps else 1

    @property
    def tokens(self) -> int:
        """Tokens of the longest segment."""
        return self.tokens_of(max(self.segment_lengths))

    def tokens_of(self, frames: int) -> int:
        """Tokens of a segment: 16 x 16 pixels of each latent frame, the reference's included."""
        return (frames // 4 + 2) * self.pixels // 256


def clip_work(clip: Clip, results: str) -> Work:
    """Return the work of a clip; of its files only the timeline is read, if it is there."""
    settings = clip.settings
    # The size of a file that is not there yet says nothing, of one without losses something else.
    film = clip_work(clip.source, results).frames if clip.source else _film_frames(clip.video)
    # Asked for every job of a clip: joining paths as text is many times as fast.
    timeline = f"{results}/{clip.name}/timeline.json"
    try:
        found = _read_timeline(timeline, Path(timeline).stat().st_mtime_ns)
        frames, pixels, shots, skipped = found
        known = True
    except FileNotFoundError:
        rate = frame_rate(clip.source.settings.fps, SOURCE_RATE) if clip.source else SOURCE_RATE
        estimate = [settings.fps, settings.start, settings.end, settings.resolution_area]
        frames, pixels = _estimate(film / rate, *estimate)
        known, shots = False, (0,)
        skipped = min(round((settings.start or 0) * SOURCE_RATE), KEYFRAME_DISTANCE)
    return Work(
        frames=frames,
        known=known,
        pixels=pixels,
        segment_frames=settings.segment_frames,
        conditioning_frames=settings.conditioning_frames,
        steps=settings.step_count,
        guided_steps=settings.guided_steps,
        encoded=2 if clip.mode == "replace" else 1,
        precision=settings.precision,
        vae_precision=settings.vae_precision,
        attention=settings.attention,
        kind=clip.model.kind,
        segment_fit=settings.segment_fit,
        shots=sampled_shots(shots, frames, settings.cuts),
        continued=bool(settings.continue_from),
        skipped=skipped,
        film=film,
        chained=clip.source is not None,
        taken=clip.taken,
    )


@lru_cache(maxsize=256)
def _read_timeline(path: str, changed: int) -> tuple[int, int, tuple[int, ...], int]:
    """Return frames, pixels of a frame, first frames of the shots, and source frames skipped."""
    values = json.loads(Path(path).read_text())
    width, height = values["model_size"]
    first = values["source_indices"][0]
    # A timeline of an earlier version, about to be made anew, has no shots and no entry.
    skipped = min(first, KEYFRAME_DISTANCE) if values.get("entry") else first
    return values["frame_count"], width * height, tuple(values.get("shots", (0,))), skipped


@lru_cache(maxsize=256)
def _estimate(
    film_seconds: float, fps: str, start: float | None, end: float | None, area: str
) -> tuple[int, int]:
    if end is None:
        shortest, longest = SECONDS
        seconds = film_seconds - (start or 0)
        seconds = min(max(seconds, shortest), longest)
    else:
        seconds = end - (start or 0)
    return max(1, round(seconds * frame_rate(fps, SOURCE_RATE))), parse_area(area)


@lru_cache(maxsize=256)
def _film_frames(video: str) -> int:
    return round(Path(video).stat().st_size / BYTES_PER_SECOND * SOURCE_RATE)
