"""LoRA files of every common naming, merged into the weights as they are loaded.

A file names layers as the original checkpoint or as diffusers does, with or without a prefix, with
dots or underscores, and holds low-rank pairs (`lora_A`/`lora_B`, `lora_down`/`lora_up`, optional
`alpha` and `lora_B.bias`) or whole differences (`diff`, `diff_b`, `diff_m`). All become one thing:
a difference for a named parameter. Merging costs nothing at run time.
"""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import safe_open

from animate.config.lora_choice import LoraFile
from animate.errors import ClipError
from animate.weights.layout import adapter_config
from animate.weights.lora.keys import LoraTensor, read_lora
from animate.weights.original_names import Names
from animate.weights.storage.stored import some_names

PREFIX = re.compile(
    r"^((base_model\.model|model|diffusion_model|transformer|pipe\.dit|module)\."
    r"|(lora_unet|lora_transformer|lycoris)_+)+"
)
SUFFIX = re.compile(
    r"\.(?P<kind>lora_A|lora_B|lora_down|lora_up|alpha|diff|diff_b|diff_m|w_norm|b_norm)"
    r"(\.default)?(\.weight|(?P<bias>\.bias))?$"
)
HEADER_CONFIG = "lora_adapter_metadata"
PAIRS = (("lora_A", "lora_B"), ("lora_down", "lora_up"))
# Which parameter of a layer a whole difference is for, or the parameter itself; the modulation is
# the one parameter that is not a layer's weight or bias.
DIFFERENCES = {
    "diff": (".weight", ""),
    "diff_b": (".bias",),
    "diff_m": (".modulation", ""),
    "w_norm": (".weight",),
    "b_norm": (".bias",),
}
OTHER_FORMS = {
    "DoRA": re.compile(r"\.(dora_scale|lora_magnitude_vector)\b"),
    "LoHa": re.compile(r"\.hada_"),
    "LoKr": re.compile(r"\.lokr_"),
    "LoCon with a core": re.compile(r"\.lora_mid\b"),
    "OFT": re.compile(r"\.b?oft_"),
}
PATCH_EMBEDDING = "patch_embedding.weight"
TEXT_TO_VIDEO_CHANNELS = 16
SHAPES_SHOWN = 3


@dataclass(frozen=True)
class Delta:
    """A difference: `scale * up @ down`, or `scale * up` as a whole; its rows `part` of `parts`."""

    scale: float
    up: LoraTensor
    down: LoraTensor | None = None
    part: int = 0
    parts: int = 1

    def fits(self, shape: torch.Size) -> bool:
        """Return whether the difference is one for a parameter of this shape."""
        rows = self.up.shape[:1].numel() == shape[0] * self.parts
        if self.down is None:
            return rows and self.up.shape[1:] == shape[1:]
        ranks = self.up.shape[1:].numel() == self.down.shape[:1].numel()
        return rows and ranks and self.down.shape[1:].numel() == shape[1:].numel()

    def add_to(self, weight: torch.Tensor) -> torch.Tensor:
        """Return `weight` (fp32) with the difference added; read now, computed on its device."""
        whole = self.up.read().to(weight)
        if self.down is not None:
            # Convolutions are matrices over their flattened patches.
            whole = whole.flatten(1) @ self.down.read().to(weight).flatten(1)
        return weight + self.scale * whole.chunk(self.parts)[self.part].reshape(weight.shape)


class LoraStack:
    """The merged differences of several LoRAs, by the parameter's name in diffusers."""

    def __init__(self, names: Names, shapes: dict[str, torch.Size], title: str = "the model"):
        """`names` maps original to new parameter names, `shapes` gives the new ones' shapes.

        `title` is what messages call the model.
        """
        self._title = title
        self._deltas: dict[str, list[Delta]] = defaultdict(list)
        self._shapes = shapes
        names = {name: (name,) for name in shapes} | names
        self._targets = {_underscored(name): targets for name, targets in names.items()}

    def __bool__(self) -> bool:
        """Whether anything is merged."""
        return bool(self._deltas)

    def add(self, lora: LoraFile, say: Callable[[str], None]) -> None:
        """Add a LoRA file; what does not fit is said in one line where the file is not strict.

        Only shapes and alphas are read now; `merge` reads the tensors.

        Raises:
            ClipError: the file cannot be read, is of a form that cannot be merged, nothing of it
                fits, or it is strict and has keys without a place or tensors of another shape.
        """
        tensors = read_lora(lora.path)
        _refuse_other_forms(lora.path, tensors)
        groups, unplaced = _by_layer(tensors)
        settings = _adapter_config(lora.path)
        misfits: dict[tuple[str, ...], str] = {}
        placed: list[tuple[str, Delta]] = []
        for layer, keys in groups.items():
            for ends, own, delta in _differences(layer, keys, tensors, lora.weight, settings):
                targets = self._parameters(layer, ends)
                parts = [
                    (target, replace(delta, part=part, parts=len(targets)))
                    for part, target in enumerate(targets)
                ]
                if not parts:
                    unplaced += own
                elif all(part.fits(self._shapes[target]) for target, part in parts):
                    placed += parts
                else:
                    misfits[own] = targets[0]
            unplaced += keys.values()
        faults = self._faults(tensors, unplaced, misfits)
        if not placed or (faults and lora.strict):
            advice = ", or set `strict: false` for this LoRA to leave those keys out"
            raise ClipError(
                f"LoRA {lora.path} does not fit {self._title}: {faults or 'it is empty'}. Use a"
                f" LoRA made for Wan 14B image-to-video or Animate{advice if placed else ''}"
            )
        if faults:
            say(f"LoRA {lora.path} is merged without what does not fit: {faults}")
        for target, delta in placed:
            self._deltas[target].append(delta)

    def merge(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        """Return a parameter with its differences added, fp32; unchanged when it has none."""
        for delta in self._deltas.get(name, ()):
            tensor = delta.add_to(tensor.float())
        return tensor

    def _parameters(self, layer: str, ends: tuple[str, ...]) -> tuple[str, ...]:
        """Return the parameters of the first of these endings that the layer has."""
        name = PREFIX.sub("", layer)
        found = (self._targets.get(_underscored(name + end), ()) for end in ends)
        return next(filter(None, found), ())

    def _faults(
        self,
        tensors: dict[str, LoraTensor | None],
        unplaced: list[str],
        misfits: dict[tuple[str, ...], str],
    ) -> str:
        """Return in words which keys have no place and which have another shape than theirs."""
        faults = []
        if unplaced:
            some = some_names(unplaced)
            faults.append(f"keys without a place: {len(unplaced)} of {len(tensors)} ({some})")
        if misfits:
            some = some_names(
                [
                    " and ".join(f"{key} {tuple(tensors[key].shape)}" for key in keys)
                    + f" for {tuple(self._shapes[target])}"
                    for keys, target in misfits.items()
                ],
                SHAPES_SHOWN,
            )
            count = sum(map(len, misfits))
            faults.append(f"keys of another shape: {count} of {len(tensors)} ({some})")
        inputs = {
            tensors[keys[0]].shape[1:2] for keys, t in misfits.items() if t == PATCH_EMBEDDING
        }
        if (TEXT_TO_VIDEO_CHANNELS,) in inputs:
            faults.append(
                f"it was made for text-to-video: its patch_embedding has {TEXT_TO_VIDEO_CHANNELS}"
                f" of the {self._shapes[PATCH_EMBEDDING][1]} input channels"
            )
        return "; ".join(faults)


def _underscored(name: str) -> str:
    return name.replace(".", "_")


def _refuse_other_forms(path: Path, keys: Iterable[str]) -> None:
    for form, mark in OTHER_FORMS.items():
        if marked := [key for key in keys if mark.search(key)]:
            raise ClipError(
                f"LoRA {path} is a {form} ({len(marked)} keys such as {marked[0]}), which cannot be"
                " merged here: use a plain LoRA, with lora_down and lora_up or with whole"
                " differences"
            )


def _by_layer(
    tensors: dict[str, LoraTensor | None],
) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Return each layer's keys by their kind, and the keys that are of none or of a kind twice."""
    groups: dict[str, dict[str, str]] = defaultdict(dict)
    others = []
    for key, tensor in tensors.items():
        match = SUFFIX.search(key) if tensor else None
        kind = match["kind"] + (match["bias"] or "") if match else ""
        if not match or groups[key[: match.start()]].setdefault(kind, key) != key:
            others.append(key)
    return groups, others


def _differences(
    layer: str,
    keys: dict[str, str],
    tensors: dict[str, LoraTensor],
    factor: float,
    settings: dict,
) -> Iterator[tuple[tuple[str, ...], tuple[str, ...], Delta]]:
    """Yield the endings of a parameter, the keys of its difference, and that; take these `keys`."""
    for a, b in PAIRS:
        if {a, b} <= keys.keys():
            down, up = tensors[keys[a]], tensors[keys[b]]
            alpha = tensors[keys["alpha"]].read() if "alpha" in keys else None
            rank = down.shape[:1].numel()
            scale = factor * _scale(layer, alpha, rank, settings if a == "lora_A" else {})
            own = tuple(keys.pop(kind) for kind in (a, b, "alpha") if kind in keys)
            yield (".weight",), own, Delta(scale, up, down)
            if bias := keys.pop(f"{b}.bias", None):
                yield (".bias",), (bias,), Delta(scale, tensors[bias])
    for kind, ends in DIFFERENCES.items():
        if key := keys.get(kind):
            own = tuple(keys.pop(part) for part in (kind, "alpha") if part in keys)
            yield ends, own, Delta(factor, tensors[key])


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
