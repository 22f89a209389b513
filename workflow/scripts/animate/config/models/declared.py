"""What the workflow has to know of a generation model; its weights say the rest."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

# How a model is told of the motion: by a drawn pose and face crops, or by the driving video itself.
POSED, DRIVEN = "posed", "driven"
Kind = Literal["posed", "driven"]


@dataclass(frozen=True)
class Speed:
    """Seconds of a forward over 75,600 tokens, those of 77 frames of 1280x720, on one NVIDIA H200.

    `attention` grows with the square of the tokens, `linear` with the tokens. `first_pass`: what a
    segment takes before its first step, VAE apart, as a part of a forward.
    """

    attention: float
    linear: float
    first_pass: float = 0.0


@dataclass(frozen=True)
class GenerationModel:
    """One value of the setting `model`.

    `kind` decides which rules prepare a clip and which inputs its sampler gets. `modes`: those that
    the model has. `unread`: settings that nobody reads for it. `own_files`: whether a row may give
    the results of preparing stages. `one_file`: whether `transformer_file` may stand for its
    transformer. `prompt_form`: how its prompt must be written, "" when there is a default.
    `cleans_prompts`: whether spaces and entities of prompts are put in order before they are
    encoded. `log_scale`: what it wants added to the scores of the first generated frame's keys.
    `speed`: of the published size. `preset`: what a clip of it has under the user's settings, as
    values of theirs; it is the preset of the model's name. `notice`: what the videos of a small
    model are, "" for others.
    """

    name: str
    kind: Kind
    modes: tuple[str, ...]
    unread: frozenset[str]
    own_files: bool
    speed: Speed
    one_file: bool = True
    prompt_form: str = ""
    cleans_prompts: bool = True
    log_scale: float = 0.0
    preset: Mapping[str, Any] = field(default_factory=dict, hash=False)
    notice: str = ""

    @property
    def posed(self) -> bool:
        """Whether it reads a drawn pose and face crops."""
        return self.kind == POSED

    @property
    def small(self) -> bool:
        """Whether the workflow writes the model itself, small enough for a CPU."""
        return bool(self.notice)
