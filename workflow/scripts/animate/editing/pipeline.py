"""What a folder's editing pipeline is, and what its call takes, known before it is loaded."""

import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from animate.errors import ClipError

INDEX = "model_index.json"
# The pipeline whose text encoders do not look at the picture: its prompts are encoded once.
KONTEXT = "FluxKontextPipeline"
# What every editor is called with.
GIVEN = {"image", "prompt", "generator"}
# By setting, what carries it to a pipeline, under one name or another.
CARRIERS = {
    "retarget_steps": {"num_inference_steps"},
    "retarget_guidance": {"guidance_scale", "true_cfg_scale"},
}
# What those are called with that take it, besides.
OTHERS = {"width", "height", "max_area", "_auto_resize", "negative_prompt"}


@dataclass(frozen=True)
class EditingPipeline:
    """The name of diffusers' class, the arguments of its call, and whether it has a transformer
    whose weights can be stored in fp8."""

    name: str
    takes: frozenset[str]
    has_fp8: bool

    @classmethod
    def in_folder(cls, folder: Path) -> "EditingPipeline":
        """Read what the folder says.

        Raises ClipError when there is no pipeline of diffusers, or none that edits a picture by a
        text and a seed.
        """
        # Imported here because it takes seconds.
        import diffusers

        index = _index(folder)
        name = index["_class_name"]
        pipeline = getattr(diffusers, str(name), None)
        if pipeline is None:
            raise ClipError(
                f"retarget_model {folder} is a {name}, which diffusers {diffusers.__version__}"
                " does not have; name another one"
            )
        arguments = inspect.signature(pipeline.__call__).parameters
        missing = GIVEN - arguments.keys()
        if missing:
            raise ClipError(
                f"retarget_model {folder} is a {name}, which edits no picture by a text and a seed"
                f" (its call takes no {', '.join(sorted(missing))}); name another one"
            )
        needs = {
            argument.name
            for argument in list(arguments.values())[1:]
            if argument.default is argument.empty
            and argument.kind is argument.POSITIONAL_OR_KEYWORD
        } - GIVEN.union(OTHERS, *CARRIERS.values())
        if needs:
            raise ClipError(
                f"retarget_model {folder} is a {name}, which needs more than a picture and a text"
                f" ({', '.join(sorted(needs))}); name another one"
            )
        library, part = (index.get("transformer") or ("", ""))[:2]
        transformer = getattr(diffusers, str(part), None) if library == "diffusers" else None
        has_fp8 = hasattr(transformer, "enable_layerwise_casting")
        return cls(name, frozenset(arguments), has_fp8)

    @property
    def unread(self) -> list[str]:
        """The settings that its call takes under no name."""
        return [setting for setting, names in CARRIERS.items() if not names & self.takes]

    def taken(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return those of the options that its call takes."""
        return {name: value for name, value in options.items() if name in self.takes}


def _index(folder: Path) -> dict[str, Any]:
    try:
        index = json.loads((folder / INDEX).read_text("utf-8"))
        return index | {"_class_name": index["_class_name"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ClipError(
            f"retarget_model {folder} is no pipeline of diffusers ({INDEX}: {error}); name a"
            " folder in its layout"
        ) from error
