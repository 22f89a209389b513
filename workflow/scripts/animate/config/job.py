"""The sampler's settings file, read once into typed values and checked."""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from animate.config.mistakes import find_mistakes
from animate.config.models.driven import WAN_ANIMATE_2
from animate.config.models.posed import WAN_ANIMATE
from animate.config.settings import SamplingSettings
from animate.errors import ClipError

MODES = ("animate", "replace")
# What the image encoder makes of the reference.
FEATURES = "features"
INPUTS = ("pose", "face", "reference", FEATURES, "prompt")
REPLACE_INPUTS = ("background", "mask")
# Of a model that sees the driving video itself; what the image encoder makes of its first frame.
DRIVING, DRIVING_FEATURES, DRIVING_PROMPT = "driving", "driving_features", "driving_prompt"
DRIVEN_INPUTS = (DRIVING, "reference", FEATURES, DRIVING_FEATURES, "prompt", DRIVING_PROMPT)
NEGATIVE_PROMPT = "negative_prompt"
PROMPT = "prompt"
# The last frames of the clip that this one goes on from: the result's, and those it was made from.
BEFORE, RESULT = "before", "result"
# Before the second of the clip from which a prompt holds.
TIMED_PROMPT = "prompt@"
# Tells where shots begin; without it the clip is one.
TIMELINE = "timeline"


@dataclass(frozen=True)
class SamplingJob:
    """One clip to sample: its input files by role, what to write and where to keep state.

    `output` is the video, `record` the JSON file that tells what sampled each segment. Where
    `cut_to` is a picture, the video is the part of the model's frame in which that picture lies.
    """

    clip: str
    mode: str
    model: Path
    inputs: dict[str, Path]
    output: Path
    record: Path
    journal: Path
    progress: Path | None
    settings: SamplingSettings
    cut_to: Path | None = None

    @property
    def driven(self) -> bool:
        """Whether the model sees the driving video itself, not drawn poses and cropped faces."""
        return DRIVING in self.inputs

    @property
    def unread(self) -> frozenset[str]:
        """The settings that the model has no use for."""
        return (WAN_ANIMATE_2 if self.driven else WAN_ANIMATE).unread


def read_job(path: Path) -> SamplingJob:
    """Return the job that a JSON settings file describes.

    Raises:
        ClipError: the file is not JSON, a key is missing or unknown, a value is out of range, or
            an input file is absent.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ClipError(f"settings file {path} cannot be read: {error}") from error
    _check_keys(path, content, {f.name for f in fields(SamplingJob)}, {"progress", "cut_to"})
    if content["mode"] not in MODES:
        raise ClipError(f"{path}: mode '{content['mode']}' must be {' or '.join(MODES)}")
    settings = _settings(path, content["settings"])
    return SamplingJob(
        clip=content["clip"],
        mode=content["mode"],
        model=Path(content["model"]),
        inputs=_inputs(path, content["inputs"], content["mode"], settings),
        output=Path(content["output"]),
        record=Path(content["record"]),
        journal=Path(content["journal"]),
        progress=Path(content["progress"]) if content.get("progress") else None,
        settings=settings,
        cut_to=_picture(path, content.get("cut_to")),
    )


def _picture(path: Path, value: str | None) -> Path | None:
    if value and not Path(value).is_file():
        raise ClipError(f"{path}: {value} does not exist; start Snakemake again, which makes it")
    return Path(value) if value else None


def seconds_of_prompts(job: SamplingJob) -> dict[str, float]:
    """Return the roles of the prompts that hold later, and from which second of the clip."""
    timed = [role for role in job.inputs if role.startswith(TIMED_PROMPT)]
    found = {role: float(role.removeprefix(TIMED_PROMPT)) for role in timed}
    return dict(sorted(found.items(), key=lambda item: item[1]))


def _settings(path: Path, values: dict[str, Any]) -> SamplingSettings:
    mistakes = find_mistakes(SamplingSettings, values)
    if mistakes:
        raise ClipError(f"{path}: {'; '.join(map(str, mistakes))}")
    settings = SamplingSettings(**values)
    if settings.conditioning_frames >= settings.segment_frames:
        raise ClipError(f"{path}: conditioning_frames must be fewer than segment_frames")
    if settings.overlap_blend > settings.conditioning_frames:
        raise ClipError(f"{path}: overlap_blend must be at most conditioning_frames")
    return settings


def _inputs(
    path: Path, files: dict[str, str], mode: str, settings: SamplingSettings
) -> dict[str, Path]:
    if DRIVING in files:
        needed = DRIVEN_INPUTS
        if mode == "replace" or settings.log_scale == "auto":
            raise ClipError(f"{path}: with a driving input, mode is animate and log_scale a number")
    else:
        needed = INPUTS + (REPLACE_INPUTS if mode == "replace" else ())
    needed += (NEGATIVE_PROMPT,) if settings.guided else ()
    needed += (BEFORE,) if settings.continue_from else ()
    timed = tuple(role for role in files if role.startswith(TIMED_PROMPT))
    optional = {NEGATIVE_PROMPT, TIMELINE, *timed} - {*needed}
    _check_keys(path, files, {*needed, *optional}, optional)
    needed += timed + ((TIMELINE,) if TIMELINE in files else ())
    for role in needed:
        if not Path(files[role]).is_file():
            raise ClipError(f"{role} input {files[role]} does not exist")
    return {role: Path(files[role]) for role in needed}


def _check_keys(path: Path, given: dict, known: set[str], optional: set[str]) -> None:
    if missing := sorted(known - optional - set(given)):
        raise ClipError(f"{path} lacks {', '.join(missing)}")
    if unknown := sorted(set(given) - known):
        raise ClipError(f"{path} has the unknown {', '.join(unknown)}")
