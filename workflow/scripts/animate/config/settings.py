"""The settings of a clip, declared once, by the stage that reads them.

Each class is what one rule hands its script; `ClipSettings` is all of them: what `defaults:`, a
preset and a row of the table may state. Add a setting here, and use it.
"""

import math
import os.path
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from animate.config.fields import (
    Area,
    AsList,
    ColorMatch,
    Declared,
    FourNPlusOne,
    FrameRate,
    NumberText,
    Seconds,
    checked,
    is_falling_schedule,
    setting,
)
from animate.config.models.known import MODELS
from animate.config.timed_prompts import Prompts, TimedPrompts, prompt_at

NEGATIVE_PROMPT = (
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，"
    "JPEG压缩残留，丑陋的，残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，"
    "手指融合，静止不动的画面，杂乱的背景，三条腿，背景人很多，倒着走"
)
REPOSITORY = r"^[\w-][\w.-]*/[\w-][\w.-]*$"
REPOSITORY_FILE = r"^[\w-][\w.-]*(/[\w-][\w.-]*)*$"
TRANSFORMER_CHOICE = r"^([\w-][\w.-]*|.+\.(safetensors|gguf))?$"
EDITOR_CHOICE = r"^([a-z0-9][a-z0-9._-]*|.*/.*)$"
OWN_TRANSFORMER = (".safetensors", ".gguf")
ROW = r"^([A-Za-z0-9][A-Za-z0-9._-]{0,99}(~seed[0-9]+)?)?$"
REVISION = r"^[\w-][\w.-]*$"
NUMBER = r"[0-9]+(\.[0-9]*)?"
PERSON = rf"^(largest|center|[1-9][0-9]*|{NUMBER} *, *{NUMBER}( *@ *{NUMBER})?)$"
# Numbers of GPUs that share the transformer's 40 heads evenly.
DEGREES = (1, 2, 4, 5, 8, 10, 20, 40)
ModelName = Literal[tuple(MODELS)]
# Numbers of frames that are whole latent frames, the first alone.
CONDITIONING = (1, 5, 9, 13)
REPLACE = {"mode": "replace"}
EDITED = {"mode": "animate", "retarget": "flux"}
GUIDED = {"guidance_scale": "above 1"}
SHARE, RATE = "a number from 0 to 1, or none", "a number of at least 0, or none"


class Lora(Declared):
    """A LoRA: a file of one's own, or one of a repository of the hub."""

    model_config = ConfigDict(
        json_schema_extra={
            "allowed": "path, or repo and file (and revision); weight and strict are optional"
        }
    )

    path: str | None = setting(None, "A file, relative to the table", "a path", min_length=1)
    repo: str | None = setting(None, "A repository of the hub", "OWNER/NAME", pattern=REPOSITORY)
    file: str | None = setting(
        None,
        "A file in it, which is downloaded and pinned",
        "a path in it",
        pattern=REPOSITORY_FILE,
    )
    revision: str = setting("main", "Its branch, tag or commit", "a name", pattern=REVISION)
    weight: float = setting(1.0, "Factor it is merged with")
    strict: bool = setting(
        True,
        "Every key of the file must fit the model. With `false`, keys without a place and tensors"
        " of another shape are left out, and the sampler's log says which",
    )

    @model_validator(mode="after")
    def _is_one_or_the_other(self) -> "Lora":
        of_hub = {"repo", "file", "revision"} & self.model_fields_set
        if bool(self.path) == bool(self.repo and self.file) or (self.path and of_hub):
            raise ValueError("not allowed")
        return self

    def relative_to(self, table_folder: Path) -> "Lora":
        """Return the LoRA with a file of one's own as seen from the working directory."""
        if not self.path:
            return self
        return self.model_copy(update={"path": relative_to_table(self.path, table_folder)})

    def location(self, models: str) -> str:
        """Return where the file is; those of the hub lie below the folder `models`."""
        return self.path or f"{models}/loras/{self.repo}/{self.revision}/{self.file}"


LORA_LIST = (
    "a list such as [{path: style.safetensors, weight: 0.8}, {repo: owner/name, file:"
    " x.safetensors}]"
)

LoraFiles = Annotated[tuple[Lora, ...], AsList, Field(strict=False)]


class TimelineSettings(Declared):
    """Which frames of the driving video are used, and their size."""

    resolution_area: Area = setting(
        "1280x720",
        "Width x height in pixels; only the product counts, the shape is the clip's own",
        "WIDTHxHEIGHT, such as 1280x720, from 64x64 to 4096x4096 in area",
    )
    fps: FrameRate = setting(
        "30",
        "Frames per second of the result",
        "a number from 1 to 120, a ratio such as 30000/1001, or source",
    )
    start: Seconds | None = setting(
        None,
        "Second of the driving video at which the clip starts",
        "a number of seconds, 0 or more, or a time such as 1:30",
        ge=0,
    )
    end: Seconds | None = setting(
        None,
        "Second of the driving video at which the clip ends",
        "a number of seconds above 0, or a time such as 1:30",
        gt=0,
    )


class SoundSettings(Declared):
    """Which sound the result gets."""

    sound: Annotated[int, checked(lambda v: v >= 1)] | Literal["auto", "none"] = setting(
        "auto",
        "Sound track of the driving video; auto is the default track, or else the first that can be"
        " decoded",
        "auto, none, or a track's number: 1, 2, ...",
    )


class PoseBackend(Declared):
    """Who finds points."""

    pose_backend: Literal["mediapipe", "vitpose"] = setting(
        "mediapipe", "Who finds body, hands and face"
    )


class KeypointSettings(PoseBackend):
    """Whose points are found in the driving video."""

    person: NumberText = setting(
        "largest",
        "Whom to follow when there are several people; in later shots, who looks the same",
        "largest, center, a number of the preview such as 2, who is at a point of the preview at a"
        " second of the clip such as 640,360@3.5, or a point such as 640,360, in pixels of the"
        " upright first frame",
        pattern=PERSON,
    )


class PoseSettings(Declared):
    """How the pose is drawn."""

    smooth_pose: bool = setting(False, "Steady body and hands with a One-Euro filter")
    draw: Literal["all", "no_head", "no_hands", "body"] = setting(
        "all", "Which parts of the skeleton are drawn; body is without head and hands"
    )
    line_width: Annotated[int, Field(ge=1, le=50)] | Literal["auto"] = setting(
        "auto",
        "Half the width of a limb, in pixels of the result; auto is the official width, which grows"
        " with the frame",
        "a whole number from 1 to 50, or auto",
    )


class EditSettings(Declared):
    """How a picture editor brings driver and reference into a standard pose."""

    retarget_steps: int = setting(
        28, "Denoising steps of a picture's edit", used_with=EDITED, ge=1, le=200
    )
    retarget_guidance: float = setting(2.5, "Guidance of the edit", used_with=EDITED, ge=1, le=20)
    retarget_seed: int = setting(
        0,
        "Seed of the edit; another one gives other pictures",
        used_with=EDITED,
        ge=0,
        le=2**63 - 1,
    )


class FaceSettings(Declared):
    """How faces are cut out."""

    smooth_face: bool = setting(True, "Steady the face crop with a One-Euro filter")


class PersonMaskSettings(Declared):
    """Who finds the outline that the character takes."""

    mask_backend: Literal["mediapipe", "sam2"] = setting(
        "mediapipe", "Who finds the person's outline", used_with=REPLACE
    )


class MaskGrid(Declared):
    """Where a mask may end."""

    mask_grid: Literal["cells", "pixel"] = setting(
        "cells",
        "Fill each cell of 8x8 pixels, the model's, that the mask touches, so that none is partly"
        " black but known; pixel, as in the official code, leaves the edge where it is",
        used_with=REPLACE,
    )


class MaskSettings(MaskGrid):
    """How the outline grows to the mask."""

    mask_steady: bool = setting(
        True, "Calm the mask: unite it with those of two frames each way", used_with=REPLACE
    )

    mask_iterations: int = setting(
        3, "How often the mask is dilated", used_with=REPLACE, ge=0, le=50
    )
    mask_kernel: int = setting(
        7, "Side of the dilation's square, in pixels", used_with=REPLACE, ge=1, le=101
    )
    mask_w_len: int = setting(
        1,
        "Columns of the grid whose touched cells are filled; 1 fills the bounding box",
        used_with=REPLACE,
        ge=1,
        le=200,
    )
    mask_h_len: int = setting(1, "Rows of that grid", used_with=REPLACE, ge=1, le=200)


class SegmentSettings(Declared):
    """How a clip is divided into segments."""

    segment_frames: FourNPlusOne = setting(
        77,
        "Frames sampled together",
        "4n + 1, from 5 to 201 (5, 9, ..., 49, ..., 77, ...)",
        ge=5,
        le=201,
    )
    segment_fit: Literal["even", "pad"] = setting(
        "even",
        "Even samples segments of equal length, as short as their number allows; pad samples all"
        " with segment_frames, as the official code does, and drops what is beyond the end",
    )
    conditioning_frames: Annotated[int, checked(CONDITIONING.__contains__)] = setting(
        1,
        "Last frames of a segment that the next one starts from; 1 and 5 are the official ones",
        "1, 5, 9 or 13",
    )
    continue_from: str = setting(
        "",
        "The row from whose last frames this clip goes on, as a segment does from the one before",
        "the name of another row of the same mode, frame size and kind of model",
        pattern=ROW,
    )
    cuts: Literal["split", "ignore"] = setting(
        "split",
        "Split starts afresh at each camera cut, so that no frame of one scene conditions the next;"
        " ignore samples the clip as one shot",
    )


class PreviewSettings(SegmentSettings, FaceSettings):
    """What a preview shows: segments and face crops."""


class Requirements(Declared):
    """What preprocessing must reach before a clip is sampled; nothing is asked of a None."""

    body: float | None = setting(0.8, "Least share of the frames with a body", SHARE, ge=0, le=1)
    face: float | None = setting(0.5, "Least share of the frames with a face", SHARE, ge=0, le=1)
    mask: float | None = setting(
        0.95, "Mode `replace`: least share of the frames with a mask", SHARE, ge=0, le=1
    )
    plausible: float | None = setting(
        0.9, "Least share of the bodies found that hold as a body", SHARE, ge=0, le=1
    )
    blinks: float | None = setting(
        5.0, "How often hands or hips may vanish for a moment in ten seconds", RATE, ge=0
    )
    edited: float | None = setting(
        None,
        "`retarget: flux`: least share of the two edited pictures with a usable pose; without one"
        " the clip is retargeted as with `basic`",
        SHARE,
        ge=0,
        le=1,
    )
    cuts: float | None = setting(
        5.0, "How many cuts there may be in ten seconds; not asked with `cuts: ignore`", RATE, ge=0
    )

    @property
    def asks(self) -> bool:
        """Whether anything is asked."""
        return any(value is not None for _, value in self)


def _number(text: str) -> float | str:
    try:
        # As it was written, for the sentence that refuses it.
        return int(text) if text.isdecimal() else float(text)
    except ValueError:
        return text


def _requirements(value: Any) -> Any:
    """Return the mapping of a text such as "body=0.6 face=none", or "none"; others as they are."""
    if value == "none":
        return dict.fromkeys(Requirements.model_fields)
    if isinstance(value, str):
        pairs = (part.partition("=") for part in value.split())
        value = {name: _number(text) for name, _, text in pairs}
    if isinstance(value, dict):
        return {key: None if each == "none" else each for key, each in value.items()}
    return value


class VerdictSettings(SegmentSettings, PersonMaskSettings, KeypointSettings):
    """What is asked of the preparation, and what could be set otherwise."""

    require: Annotated[
        Requirements,
        BeforeValidator(_requirements, json_schema_input_type=Requirements | Literal["none"]),
    ] = setting(
        Requirements(),
        "What preprocessing must reach, or the clip fails before it is sampled",
        "a mapping of the keys below; in the table such as `body=0.6 face=none`; or none",
    )


class SamplingSettings(SegmentSettings):
    """How a clip is sampled; the defaults are the official ones."""

    steps: int = setting(20, "Denoising steps per segment", ge=1, le=200)
    guidance_scale: float = setting(
        1.0,
        "Classifier-free guidance; above 1 each step costs two forwards",
        "a number from 1 to 20 (1 switches guidance off)",
        ge=1,
        le=20,
    )
    guidance_until: float = setting(
        1.0,
        "Share of the steps, from the first, that are guided when guidance_scale is above 1",
        ge=0,
        le=1,
    )
    shift: float = setting(5.0, "Shift of the noise schedule", gt=0, le=20)
    solver: Literal["unipc", "dpm++", "euler", "lcm"] = setting(
        "unipc",
        "Solver of the flow equation: unipc and dpm++ are the official ones, euler is for models"
        " distilled to few steps, lcm adds noise after each step",
    )
    timesteps: Annotated[
        tuple[float, ...], AsList, Field(strict=False), checked(is_falling_schedule)
    ] = setting(
        (),
        "Timesteps of the noise schedule before its shift, in place of `steps` evenly spaced ones",
        "a falling list of numbers above 0, at most 1000, such as [1000, 750, 500, 250]",
        max_length=200,
    )
    pose_strength: float = setting(
        1.0,
        "Factor of what the pose adds to the model's tokens; 1 is the official model, 0 no pose",
        ge=0,
        le=2,
    )
    face_strength: float = setting(
        1.0,
        "Factor of what each face adapter adds; 1 is the official model, 0 no expression",
        ge=0,
        le=2,
    )
    log_scale: Annotated[float, Field(ge=-20, le=20)] | Literal["auto"] = setting(
        "auto",
        "Wan-Animate-2: added to the scores of the keys of the first generated frame; auto is -1.3"
        " for the distilled model, which was trained so, and 0 for the other",
        "auto, or a number from -20 to 20",
    )
    seed: int = setting(
        0,
        "Seed of the noise; `1..4` in a cell gives four results: `clip`, `clip~seed2`, ...",
        "a whole number from 0 to 2^63 - 1, or in a cell several, at most 100, such as 1..4",
        ge=0,
        le=2**63 - 1,
    )
    relighting_lora: bool | Literal["auto"] = setting(
        "auto",
        "Merge the model's relighting LoRA; auto means in replacement mode, when it is there",
        "auto, true or false",
    )
    loras: LoraFiles = setting((), "LoRA files merged into the weights", LORA_LIST)
    transformer_file: str = setting(
        "",
        "One file with the transformer, in original naming, in place of the model's: safetensors"
        " in bf16, fp16 or scaled fp8, or GGUF",
        "a path of a .safetensors or .gguf file, absolute or relative to the table, or the name of"
        " a part under `transformers` in models.yaml, such as fp8_scaled",
        pattern=TRANSFORMER_CHOICE,
    )
    precision: Literal["bf16", "fp8"] = setting(
        "bf16",
        "Arithmetic of the blocks' linear layers on a GPU; fp8 is faster, 2.6% from bf16 on random"
        " weights",
    )
    attention: Literal["exact", "8bit"] = setting(
        "exact",
        "Arithmetic of self-attention; 8bit is faster on Ada and Hopper, which alone have it: int8"
        " scores, fp8 values, 4% from exact on random queries and keys",
    )
    vae_precision: Literal["bf16", "fp32"] = setting(
        "bf16",
        "Arithmetic of the VAE on a GPU; fp32, as in the official code, takes twice the memory and"
        " is slower, bf16 is 1.2% from it when decoding",
    )
    color_match: ColorMatch = setting(
        "off",
        "Overlap fits the colours of each segment to the frames that it starts from, which it"
        " paints again; a number is the largest correction of a segment's mean colour towards the"
        " reference's, as a part of the whole range",
        "off, overlap, or a number from 0 to 0.5",
    )

    overlap_blend: Annotated[int, Field(ge=0, le=13)] = setting(
        0,
        "Frames over which the end of a segment fades into the next one, which paints them again",
        "a whole number from 0 to 13, at most conditioning_frames",
    )

    @property
    def step_count(self) -> int:
        """Denoising steps per segment."""
        return len(self.timesteps) or self.steps

    @property
    def guided_steps(self) -> int:
        """How many of the steps, from the first, have a second forward, that of guidance."""
        return math.ceil(self.guidance_until * self.step_count) if self.guidance_scale > 1 else 0

    @property
    def guided(self) -> bool:
        """Whether there is classifier-free guidance: a second forward and a negative prompt."""
        return self.guided_steps > 0

    @property
    def branches(self) -> int:
        """Forwards of the steps that have most."""
        return 2 if self.guided else 1


class ResultSettings(SamplingSettings, PoseSettings):
    """What a result is compared with: the pose as it was drawn, the segments as sampled."""


class ClipSettings(
    VerdictSettings,
    SamplingSettings,
    MaskSettings,
    PersonMaskSettings,
    FaceSettings,
    EditSettings,
    PoseSettings,
    KeypointSettings,
    SoundSettings,
    TimelineSettings,
):
    """All settings of a clip."""

    model: ModelName = setting(
        "wan2.2-animate-14b",
        "Which weights; the key `model` of config.yaml where nobody states it here. A preset of the"
        " model's name stands under the one that the row names; wan-animate-2 and its distilled"
        " model come with one",
    )
    preset: str = setting(
        "standard",
        "Named group of settings under `presets:`",
        "the name of a preset in config.yaml, or of a model that has one",
    )
    prompt: str = setting(
        "视频中的人在做动作",
        "What the text encoder reads; wan2.2-animate-14b was trained with the default,"
        " wan-animate-2 needs one of its own, in the form of docs/wan-animate-2.md",
        min_length=1,
    )
    driving_prompt: str = setting(
        "人物动作的参考视频",
        "Wan-Animate-2: what it reads with the driving video; it was trained with the default",
        min_length=1,
    )
    prompts: TimedPrompts = setting(
        (),
        "Prompts that hold from a second of the driving video on, in place of `prompt`; a segment"
        " reads the one that holds where it begins",
        'rising times with texts, such as "0: a woman walks; 4.5: she runs"; in yaml also a mapping'
        " from seconds to texts",
    )
    negative_prompt: str = setting(
        NEGATIVE_PROMPT,
        "Used when guidance_scale is above 1",
        used_with=GUIDED,
        min_length=1,
    )
    retarget: Literal["none", "basic", "flux"] = setting(
        "none",
        "Basic gives the pose the reference person's proportions and place, in animate mode; flux"
        " measures both in pictures that an editor brings into a standard pose",
        used_with={"mode": "animate"},
    )
    retarget_model: str = setting(
        "flux-kontext",
        "The picture editor: FLUX.1 Kontext, whose licence is not commercial, or another one",
        "flux-kontext, qwen-image-edit, another model of models.yaml whose parts are marked"
        " `editor`, or a path with a slash of a folder that diffusers' pipeline loads, absolute or"
        " relative to the table",
        used_with=EDITED,
        pattern=EDITOR_CHOICE,
    )
    sam2_checkpoint: str = setting(
        "",
        "SAM 2 or 2.1 checkpoint of any size, under its released name; the official one when empty",
        "a path, absolute or relative to the table, such as sam2.1_hiera_tiny.pt",
        used_with={"mask_backend": "sam2"} | REPLACE,
    )
    points: str = setting(
        "",
        "JSON file with points and boxes: where the person is, and what stays out of the mask",
        "a path, absolute or relative to the table, such as points/dance.json",
        used_with=REPLACE,
    )
    gpus: Annotated[int, checked(DEGREES.__contains__)] | Literal["auto"] = setting(
        1,
        "GPUs that share the clip (Ulysses degree); auto shares the machine's GPUs among the clips",
        "a divisor of 40 from 1 to 40, or auto",
    )

    distillation_loras: LoraFiles = setting(
        (),
        "LoRA files of a few-step preset, merged before those of `loras`",
        LORA_LIST,
    )

    @property
    def first_prompt(self) -> str:
        """The prompt that holds where the clip begins."""
        return prompt_at(self.start or 0, self.prompt, self.prompts)

    @property
    def later_prompts(self) -> Prompts:
        """The prompts that hold later, each with the second of the clip from which it does."""
        begin = self.start or 0
        return tuple((since - begin, text) for since, text in self.prompts if since > begin)

    @property
    def all_prompts(self) -> list[str]:
        """Every text that the clip may read."""
        later = (text for _, text in self.later_prompts)
        return [self.first_prompt, *later, self.negative_prompt, self.driving_prompt]

    @property
    def all_loras(self) -> tuple[Lora, ...]:
        """The LoRAs that are merged, in this order."""
        return self.distillation_loras + self.loras

    @property
    def own_transformer(self) -> str:
        """The path of the user's own transformer, "" where it is another."""
        own = self.transformer_file.endswith(OWN_TRANSFORMER)
        return self.transformer_file if own else ""

    @property
    def own_editor(self) -> str:
        """The folder of the user's own picture editor, "" where it is another."""
        return self.retarget_model if "/" in self.retarget_model else ""

    @property
    def own_paths(self) -> dict[str, str]:
        """The user's files that settings name by their path, LoRAs apart."""
        paths = {name: getattr(self, name) for name in ("sam2_checkpoint", "points")}
        paths["transformer_file"] = self.own_transformer
        return {name: path for name, path in paths.items() if path}

    def text_for(self, stage: type[Declared]) -> str:
        """Return the values that a stage reads, as JSON text.

        Which model it is says each rule that reads weights, by its inputs. Exact attention is left
        out: before there was another, it was not stated, and clips from then are still right.
        """
        unread = {"model", *MODELS[self.model].unread}
        unread |= {"attention"} if self.attention == "exact" else set()
        return self.model_dump_json(include=set(stage.model_fields) - unread)

    def sampling(self, models: str) -> dict[str, Any]:
        """Return what the sampler reads, as JSON values; `models` is the folder of LoRAs."""
        values = self.model_dump(mode="json", include=set(SamplingSettings.model_fields))
        for name in MODELS[self.model].unread & values.keys():
            values[name] = SamplingSettings.model_fields[name].default
        if values["log_scale"] == "auto":
            values["log_scale"] = MODELS[self.model].log_scale
        own = ("weight", "strict")
        values["loras"] = [
            {"path": lora.location(models)} | {name: getattr(lora, name) for name in own}
            for lora in self.all_loras
        ]
        return values

    def relative_to(self, table_folder: Path) -> "ClipSettings":
        """Return the settings with the user's files as seen from the working directory."""
        changed: dict[str, Any] = {
            name: tuple(lora.relative_to(table_folder) for lora in getattr(self, name))
            for name in ("loras", "distillation_loras")
        }
        for name, path in self.own_paths.items():
            changed[name] = relative_to_table(path, table_folder)
        if self.own_editor:
            # Without a slash it would be a name.
            path = relative_to_table(self.own_editor, table_folder)
            changed["retarget_model"] = path if "/" in path else f"{path}/"
        return self.model_copy(update=changed)


def relative_to_table(path: str, table_folder: Path) -> str:
    """Return a path written in a table as seen from the working directory, without `..` inside."""
    return os.path.normpath(table_folder / Path(path).expanduser())
