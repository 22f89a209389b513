"""What config/models.yaml declares: repositories, and the parts each model is made of."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from animate.errors import ClipError
from animate.hub.declared.document import document_mistakes

if TYPE_CHECKING:
    from animate.config.table import Clip

INDEX = "model_index.json"
ORIGINAL = "original"


@dataclass(frozen=True)
class Repository:
    """A repository of the hub; with `path`, a folder that has its files already."""

    name: str
    revision: str
    path: Path | None


@dataclass(frozen=True)
class Part:
    """Files of one repository that serve one purpose; `when` tells which clips need them.

    Each entry of `files` is a pattern, or several of which the first that has a match counts;
    `optional` patterns need no match.
    """

    name: str
    purpose: str
    repository: str
    files: tuple[tuple[str, ...], ...]
    convert: bool = False
    when: dict[str, list[Any]] = field(default_factory=dict)
    optional: tuple[str, ...] = ()

    @property
    def patterns(self) -> tuple[str, ...]:
        """Every pattern."""
        return (*chain.from_iterable(self.files), *self.optional)

    @property
    def folder(self) -> str:
        """The folder, inside the model's, that shows the files; "" for the model's own."""
        return ORIGINAL if self.convert else ""

    def serves(self, clip: "Clip") -> bool:
        """Return whether the clip has every setting under `when`."""
        resolved = {**dict(clip.settings), "mode": clip.mode}
        return all(resolved.get(setting) in values for setting, values in self.when.items())


@dataclass(frozen=True)
class Model:
    """A model's parts."""

    name: str
    parts: tuple[Part, ...]

    @property
    def layout(self) -> str:
        """How the weights come: `diffusers`, `original` (to be converted), or plain `files`."""
        if any(part.convert for part in self.parts):
            return "original"
        return "diffusers" if any(INDEX in part.patterns for part in self.parts) else "files"

    def needed_parts(self, clips: Iterable["Clip"]) -> list[Part]:
        """Return the parts that every clip needs, and those that one of these clips does."""
        clips = list(clips)
        return [part for part in self.parts if not part.when or any(map(part.serves, clips))]


@dataclass(frozen=True)
class Declaration:
    """The content of models.yaml; `cache` is None for the Hugging Face cache."""

    cache: Path | None
    repositories: dict[str, Repository]
    models: dict[str, Model]

    def patterns(self, repository: str) -> list[str]:
        """Return every pattern that any model declares for a repository."""
        parts = [part for model in self.models.values() for part in model.parts]
        own = [part for part in parts if part.repository == repository]
        return sorted({pattern for part in own for pattern in part.patterns})


def read_declaration(path: Path) -> Declaration:
    """Read models.yaml; a `ClipError` names every mistake."""
    try:
        document = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ClipError(f"{path} cannot be read: {error}") from error
    mistakes = document_mistakes(document)
    if mistakes := mistakes or _unknown_repositories(document):
        raise ClipError(f"{path}: {'; '.join(mistakes)}")
    return Declaration(
        cache=_folder(document.get("cache")),
        repositories={
            name: Repository(name, entry.get("revision", "main"), _folder(entry.get("path")))
            for name, entry in document["repositories"].items()
        },
        models={name: _model(name, entry) for name, entry in document["models"].items()},
    )


def _model(name: str, entry: dict[str, Any]) -> Model:
    parts = []
    for part, fields in entry["parts"].items():
        files = [[file] if isinstance(file, str) else file for file in fields["files"]]
        parts.append(Part(**fields | {"name": part, "files": tuple(map(tuple, files))}))
    return Model(name, tuple(parts))


def _unknown_repositories(document: dict[str, Any]) -> list[str]:
    return [
        f"models.{name}.parts.{part}.repository: '{fields['repository']}' is not under repositories"
        for name, model in document["models"].items()
        for part, fields in model["parts"].items()
        if fields["repository"] not in document["repositories"]
    ]


def _folder(text: str | None) -> Path | None:
    return Path(os.path.expandvars(text)).expanduser().absolute() if text else None
