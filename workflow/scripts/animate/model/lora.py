"""LoRA files of every common naming, merged into the weights as they are loaded.

A file names layers as the original checkpoint or as diffusers does, with or without a prefix, with
dots or (musubi) underscores, and holds low-rank pairs (`lora_A`/`lora_B`, `lora_down`/`lora_up`,
optional `alpha`) or whole differences (`diff`, `diff_b`, `diff_m`). All become one thing: a
difference for a named parameter. Merging costs nothing at run time.
"""

import json
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file

from animate.errors import ClipError
from animate.model.folder import ADAPTER_CONFIG
from animate.model.original_names import Names

PREFIX = re.compile(
    r"^(base_model\.model\.|model\.diffusion_model\.|diffusion_model\.|transformer\.|model\.)+"
)
UNDERSCORED = re.compile(r"^lora_(unet|transformer)_")
SUFFIX = re.compile(
    r"\.(?P<kind>lora_A|lora_B|lora_down|lora_up|alpha|diff|diff_b|diff_m)(\.default)?(\.weight)?$"
)
HEADER_CONFIG = "lora_adapter_metadata"
DOWN, UP = ("lora_A", "lora_down"), ("lora_B", "lora_up")
# Which parameter of a layer a whole difference is for; a low-rank pair is for the weight.
DIFFERENCES = {"diff": ".weight", "diff_b": ".bias", "diff_m": ""}
KEYS_SHOWN = 5


@dataclass(frozen=True)
class Delta:
    """A part of a difference: `scale * up @ down`, or a whole `diff`; rows `part` of `parts`."""

    scale: float
    up: torch.Tensor | None = None
    down: torch.Tensor | None = None
    diff: torch.Tensor | None = None
    part: int = 0
    parts: int = 1

    def add_to(self, weight: torch.Tensor) -> torch.Tensor:
        """Return `weight` (fp32) with the difference added; computed on its device."""
        if self.diff is not None:
            whole = self.diff.to(weight)
        else:
            # Convolutions are matrices over their flattened patches.
            whole = self.up.to(weight).flatten(1) @ self.down.to(weight).flatten(1)
        return weight + self.scale * whole.chunk(self.parts)[self.part].reshape(weight.shape)


class LoraStack:
    """The merged differences of several LoRAs, by the parameter's name in diffusers."""

    def __init__(self, names: Names, shapes: dict[str, torch.Size]):
        """`names` maps original to new parameter names, `shapes` gives the new ones' shapes."""
        self._deltas: dict[str, list[Delta]] = defaultdict(list)
        self._shapes = shapes
        self._names = {name: (name,) for name in shapes} | names
        self._dotted = {name.replace(".", "_"): name for name in self._names}

    def add(self, path: Path, weight: float) -> None:
        """Add a LoRA file with a factor.

        Raises:
            ClipError: the file cannot be read, or has a key that fits no parameter (the first few
                are named) or a tensor whose shape does not fit.
        """
        groups: dict[str, dict[str, torch.Tensor]] = defaultdict(dict)
        tensors = read_lora(path)
        config = _adapter_config(path)
        alien = []
        for key, tensor in tensors.items():
            if (match := SUFFIX.search(key)) and torch.is_tensor(tensor):
                groups[key[: match.start()]][match["kind"]] = tensor
            else:
                alien.append(key)
        for layer, group in groups.items():
            if not self._place(path, layer, group, weight, config):
                alien += [key for key in tensors if key.startswith(layer + ".")]
        if alien or not groups:
            shown = ", ".join(alien[:KEYS_SHOWN])
            raise ClipError(
                f"LoRA {path} does not fit Wan2.2-Animate: {len(alien)} of {len(tensors)} keys have"
                f" no place{shown and ', the first are '}{shown}"
            )

    def changes(self, name: str) -> bool:
        """Return whether a parameter has a difference."""
        return name in self._deltas

    def merge(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        """Return a parameter with its differences added, fp32; unchanged when it has none."""
        for delta in self._deltas.get(name, ()):
            tensor = delta.add_to(tensor.float())
        return tensor

    def _place(self, path: Path, layer: str, group: dict, weight: float, config: dict) -> bool:
        down, up = (next((group[k] for k in kinds if k in group), None) for kinds in (DOWN, UP))
        if (down is None) != (up is None) or group.keys() == {"alpha"}:
            return False
        placed = True
        if up is not None:
            settings = config if "lora_A" in group else {}
            scale = weight * _scale(layer, group.get("alpha"), down.shape[0], settings)
            placed &= self._record(path, layer, ".weight", {"scale": scale, "up": up, "down": down})
        for kind, parameter in DIFFERENCES.items():
            if kind in group:
                placed &= self._record(
                    path, layer, parameter, {"scale": weight, "diff": group[kind]}
                )
        return placed

    def _record(self, path: Path, layer: str, parameter: str, delta: dict) -> bool:
        targets = self._targets(layer, parameter)
        for part, target in enumerate(targets):
            delta_part = Delta(**delta, part=part, parts=len(targets))
            self._check_shape(path, layer, target, delta_part)
            self._deltas[target].append(delta_part)
        return bool(targets)

    def _targets(self, layer: str, parameter: str) -> tuple[str, ...]:
        name = UNDERSCORED.sub("", PREFIX.sub("", layer))
        if UNDERSCORED.match(layer):
            name = self._dotted.get(name + parameter.replace(".", "_"), "")
        else:
            name += parameter
        return self._names.get(name, ())

    def _check_shape(self, path: Path, layer: str, target: str, delta: Delta) -> None:
        shape = self._shapes[target]
        if delta.diff is not None:
            fits = delta.diff.shape[1:] == shape[1:]
            rows = len(delta.diff)
        else:
            fits = delta.down[0].numel() == shape[1:].numel()
            fits &= delta.up[0].numel() == len(delta.down)
            rows = len(delta.up)
        if not fits or rows != shape[0] * delta.parts:
            raise ClipError(
                f"LoRA {path} is for another model: {layer} does not have the shape"
                f" {tuple(shape)} of {target}"
            )


def read_lora(path: Path) -> dict[str, object]:
    """Return the content of a LoRA file: safetensors, or a checkpoint, nested or not.

    Numbers become tensors; anything else that a checkpoint may hold is left as it is.
    Checkpoints are read as weights only, so a file cannot run code.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
        content = content.get("state_dict", content)
    except Exception as error:
        raise ClipError(f"LoRA {path} cannot be read: {error}") from error
    return {
        key: torch.tensor(value) if isinstance(value, int | float) else value
        for key, value in content.items()
    }


def adapter_config(path: Path) -> Path:
    """Return where PEFT keeps the settings, and so the alpha, of a LoRA file without its own."""
    return path.with_name(ADAPTER_CONFIG)


def _adapter_config(path: Path) -> dict:
    """Return a file's PEFT settings: from its header, where diffusers has them, or from beside."""
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                header = (file.metadata() or {}).get(HEADER_CONFIG)
            if header:
                return {PREFIX.sub("", key): value for key, value in json.loads(header).items()}
        beside = adapter_config(path)
        return json.loads(beside.read_text("utf-8")) if beside.is_file() else {}
    except (OSError, ValueError) as error:
        raise ClipError(f"the settings of LoRA {path} cannot be read: {error}") from error


def _scale(layer: str, alpha: torch.Tensor | None, rank: int, config: dict) -> float:
    if alpha is not None:
        return float(alpha) / rank
    name = PREFIX.sub("", layer)
    for pattern, value in config.get("alpha_pattern", {}).items():
        if re.search(rf"(^|\.){pattern}$", name):
            config = {**config, "lora_alpha": value}
    alpha = config.get("lora_alpha", rank)
    return alpha / rank**0.5 if config.get("use_rslora") else alpha / rank
