"""The sampler's settings file, read once into typed values and checked."""

import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from animate.config.lora_choice import LoraFile
from animate.errors import ClipError

SOLVERS = ("unipc", "dpm++")
MODES = ("animate", "replace")
INPUTS = ("pose", "face", "reference", "prompt")
REPLACE_INPUTS = ("background", "mask")
NEGATIVE_PROMPT = "negative_prompt"
PRECISIONS = ("bf16", "fp8")
VAE_PRECISIONS = ("bf16", "fp32")


@dataclass(frozen=True)
class SamplingSettings:
    """How a clip is sampled; the defaults are the official ones.

    segment_frames: frames sampled together, 4n + 1, at least 5.
    steps: denoising steps of a segment.
    guidance_scale: classifier-free guidance; above 1 a step costs two forwards.
    conditioning_frames: last frames of a segment that the next continues from, 1 or 5.
    shift: shift of the noise schedule, above 0.
    solver: "unipc" or "dpm++".
    seed: seed of the noise, 0 to 2^63 - 1.
    relighting_lora: True, False, or "auto": in replacement mode when the model folder has it.
    loras: merged into the weights, in order.
    precision: of the linear layers on a GPU, "bf16", or "fp8" for speed at a small error.
    vae_precision: of the VAE on a GPU, "bf16" or, as in the official code, "fp32".
    color_match: largest colour correction of a segment, 0 (off) to 0.5; see `sampling.color`.
    """

    segment_frames: int = 77
    steps: int = 20
    guidance_scale: float = 1.0
    conditioning_frames: int = 1
    shift: float = 5.0
    solver: str = "unipc"
    seed: int = 0
    relighting_lora: bool | str = "auto"
    loras: tuple[LoraFile, ...] = ()
    color_match: float = 0.0
    precision: str = "bf16"
    vae_precision: str = "bf16"


@dataclass(frozen=True)
class Job:
    """One clip to sample: its input files by role, what to write and where to keep state.

    `output` is the video, `record` the JSON file that tells what sampled each segment.
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


CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "segment_frames": (lambda v: _whole(v) and v >= 5 and v % 4 == 1, "4n + 1, at least 5"),
    "steps": (lambda v: _whole(v) and v >= 1, "a whole number of at least 1"),
    "guidance_scale": (lambda v: _number(v) and v >= 1, "a number of at least 1"),
    "conditioning_frames": (lambda v: _whole(v) and v in (1, 5), "1 or 5"),
    "shift": (lambda v: _number(v) and v > 0, "a number above 0"),
    "solver": (lambda v: v in SOLVERS, " or ".join(SOLVERS)),
    "seed": (lambda v: _whole(v) and 0 <= v < 2**63, "a whole number from 0 to 2^63 - 1"),
    "relighting_lora": (lambda v: isinstance(v, bool) or v == "auto", "auto, true or false"),
    "precision": (lambda v: v in PRECISIONS, " or ".join(PRECISIONS)),
    "vae_precision": (lambda v: v in VAE_PRECISIONS, " or ".join(VAE_PRECISIONS)),
    "color_match": (lambda v: _number(v) and 0 <= v <= 0.5, "a number from 0 to 0.5"),
}


def read_job(path: Path) -> Job:
    """Return the job that a JSON settings file describes.

    Raises:
        ClipError: the file is not JSON, a key is missing or unknown, a value is out of range, or
            an input file is absent.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ClipError(f"settings file {path} cannot be read: {error}") from error
    _check_keys(path, content, {f.name for f in fields(Job)}, optional={"progress"})
    if content["mode"] not in MODES:
        raise ClipError(f"{path}: mode '{content['mode']}' must be {' or '.join(MODES)}")
    settings = _settings(path, content["settings"])
    return Job(
        clip=content["clip"],
        mode=content["mode"],
        model=Path(content["model"]),
        inputs=_inputs(path, content["inputs"], content["mode"], settings.guidance_scale > 1),
        output=Path(content["output"]),
        record=Path(content["record"]),
        journal=Path(content["journal"]),
        progress=Path(content["progress"]) if content.get("progress") else None,
        settings=settings,
    )


def _settings(path: Path, values: dict[str, Any]) -> SamplingSettings:
    names = {f.name for f in fields(SamplingSettings)}
    _check_keys(path, values, names, optional=names)
    for name, (check, allowed) in CHECKS.items():
        if name in values and not check(values[name]):
            raise ClipError(f"{path}: {name} is {values[name]!r}, but must be {allowed}")
    loras = tuple(
        LoraFile(Path(lora["path"]), float(lora.get("weight", 1.0)), lora.get("strict", True))
        for lora in values.get("loras", ())
    )
    settings = SamplingSettings(**{**values, "loras": loras})
    if settings.conditioning_frames >= settings.segment_frames:
        raise ClipError(f"{path}: conditioning_frames must be fewer than segment_frames")
    return settings


def _inputs(path: Path, files: dict[str, str], mode: str, guided: bool) -> dict[str, Path]:
    needed = INPUTS + (REPLACE_INPUTS if mode == "replace" else ())
    needed += (NEGATIVE_PROMPT,) if guided else ()
    _check_keys(path, files, {*needed, NEGATIVE_PROMPT}, optional={NEGATIVE_PROMPT} - {*needed})
    for role in needed:
        if not Path(files[role]).is_file():
            raise ClipError(f"{role} input {files[role]} does not exist")
    return {role: Path(files[role]) for role in needed}


def _check_keys(path: Path, given: dict, known: set[str], optional: set[str]) -> None:
    if missing := sorted(known - optional - set(given)):
        raise ClipError(f"{path} lacks {', '.join(missing)}")
    if unknown := sorted(set(given) - known):
        raise ClipError(f"{path} has the unknown {', '.join(unknown)}")


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
