"""What config/models.yaml declares: repositories, and the parts each model is made of.

LoRAs of the hub, which clips name, join it: each repository and revision is a model, each file a
part.
"""

import fnmatch
import os
from collections.abc import Collection, Iterable, Mapping
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any

import yaml
from pydantic import BeforeValidator, Field, ValidationError

from animate.config.fields import Declared
from animate.config.mistakes import mistakes_of
from animate.config.models.known import MODELS
from animate.errors import ClipError
from animate.weights.layout import ADAPTER_CONFIG

if TYPE_CHECKING:
    from animate.config.table import Clip

INDEX = "model_index.json"
# That of a repository for diffusers' modular pipelines, which may have no other.
MODULAR_INDEX = "modular_model_index.json"
ORIGINAL = "original"
# The model whose parts are one file each, and their layout.
ONE_FILE = "transformers"
TRANSFORMER_FILE = "transformer_file"
EDITOR = "editor"


def _absolute(path: Any) -> Any:
    known = isinstance(path, str) and path
    return Path(os.path.expandvars(path)).expanduser().absolute() if known else path


def _listed(entry: Any) -> Any:
    return [entry] if isinstance(entry, str) else entry


Text = Annotated[str, Field(min_length=1)]
Folder = Annotated[Path, BeforeValidator(_absolute)]
Choices = Annotated[list[Text], Field(min_length=1), BeforeValidator(_listed)]
ModelName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
RepositoryName = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*$")
]


class Repository(Declared):
    """A repository of the hub, at a branch, tag or commit; with `path`, a folder of its files."""

    revision: Text = "main"
    path: Folder | None = None


class Part(Declared):
    """Files of one repository that serve one purpose.

    Each of `files` is a pattern, or a list of which the first that has a match counts; `optional`
    patterns need none. With `convert` they have the published layout; with `transformer` it is one
    file that takes the place of a model's transformer; with `editor`, of a pipeline that edits
    pictures. `terms` are what its users agree to before the hub gives it to them. `when` has the
    values of a clip's settings with which it needs the part.
    """

    purpose: str
    repository: str
    files: Annotated[list[Choices], Field(min_length=1)]
    optional: list[Text] = Field([])
    convert: bool = False
    transformer: bool = False
    editor: bool = False
    terms: str = ""
    when: dict[str, list[Any]] = Field({})

    @property
    def patterns(self) -> list[str]:
        """Every pattern."""
        return [*chain.from_iterable(self.files), *self.optional]

    @property
    def folder(self) -> str:
        """The folder, inside the model's, that shows the files; "" for the model's own."""
        return ORIGINAL if self.convert else ""

    @property
    def kind(self) -> str | None:
        """The kind of the models that it is for, where `when` names models of one kind."""
        named = self.when.get("model", ())
        kinds = {MODELS[name].kind for name in named if name in MODELS}
        return kinds.pop() if len(kinds) == 1 else None

    def serves(self, clip: "Clip") -> bool:
        """Return whether the clip has every setting under `when`, and a stage that reads it."""
        resolved = {**dict(clip.settings), "mode": clip.mode} | dict.fromkeys(clip.unread)
        return all(resolved.get(key) in values for key, values in self.when.items())

    def select(self, names: Collection[str]) -> list[str]:
        """Return which of these files are the part's, in order.

        Raises:
            ClipError: an entry of `files` has no match.
        """
        selected = set(chain(*(fnmatch.filter(names, pattern) for pattern in self.optional)))
        for choices in self.files:
            found = (fnmatch.filter(names, pattern) for pattern in choices)
            if not (first := next(filter(None, found), [])):
                shown = " or ".join(f"'{pattern}'" for pattern in choices)
                raise ClipError(
                    f"repository {self.repository} has no file {shown}: correct `files`,"
                    " `revision` or `path` in config/models.yaml, or `loras` of the clip"
                )
            selected.update(first)
        return sorted(selected)


class Model(Declared):
    """What one model needs: its parts, by name."""

    parts: Annotated[dict[str, Part], Field(min_length=1)]

    @property
    def layout(self) -> str:
        """How the weights come.

        `diffusers`, `original` (to be converted), `transformers` (one file each), `editor` (as
        `diffusers`, of another architecture), or plain `files`.
        """
        if any(part.convert for part in self.parts.values()):
            return "original"
        if any(part.transformer for part in self.parts.values()):
            return ONE_FILE
        if any(part.editor for part in self.parts.values()):
            return EDITOR
        patterns = chain(*(part.patterns for part in self.parts.values()))
        return "diffusers" if {INDEX, MODULAR_INDEX}.intersection(patterns) else "files"

    def needed_parts(self, clips: Iterable["Clip"]) -> dict[str, Part]:
        """Return the parts that every clip needs, and those that one of these clips does."""
        clips = list(clips)
        return {n: p for n, p in self.parts.items() if not p.when or any(map(p.serves, clips))}


class Declaration(Declared):
    """models.yaml; without `cache`, the downloads go to the Hugging Face cache."""

    cache: Folder | None = None
    repositories: dict[RepositoryName, Repository]
    models: dict[ModelName, Model]

    def patterns(self, repository: str) -> list[str]:
        """Return every pattern that any model declares for a repository."""
        parts = chain(*(model.parts.values() for model in self.models.values()))
        return [p for part in parts if part.repository == repository for p in part.patterns]


def read_declaration(path: Path) -> Declaration:
    """Read models.yaml; a `ClipError` names every mistake."""
    try:
        declaration = Declaration.model_validate(yaml.safe_load(path.read_text("utf-8")))
        mistakes = [
            f"models.{name}.parts.{title}.repository: '{part.repository}' is not under repositories"
            for name, model in declaration.models.items()
            for title, part in model.parts.items()
            if part.repository not in declaration.repositories
        ]
    except (OSError, yaml.YAMLError) as error:
        raise ClipError(f"{path} cannot be read: {error}") from error
    except ValidationError as error:
        mistakes = mistakes_of(error, Declaration)
    if mistakes:
        raise ClipError(f"{path}: {'; '.join(map(str, mistakes))}")
    return declaration


def transformer_part(declaration: Declaration, clip: "Clip") -> tuple[str, str] | None:
    """Return name and file of the part that a clip's `transformer_file` names, None for a path.

    Raises:
        ClipError: there is no such part, it is for other clips, or it is not one file.
    """
    wanted, own = clip.settings.transformer_file, clip.settings.own_transformer
    if not wanted or own:
        return None
    model = declaration.models.get(ONE_FILE)
    parts = {n: p for n, p in model.parts.items() if p.when} if model else {}
    for name, part in parts.items():
        if part.serves(clip):
            if len(part.files) == 1 and part.transformer:
                return name, part.files[0][0]
            raise ClipError(
                f"'{wanted}' is no single file: give its part in models.yaml one entry in `files`,"
                " and `transformer: true`"
            )
    for part in parts.values():
        others = {key: values for key, values in part.when.items() if key != TRANSFORMER_FILE}
        if wanted in part.when.get(TRANSFORMER_FILE, ()) and others:
            asked = [f"{key} {' or '.join(map(str, values))}" for key, values in others.items()]
            raise ClipError(
                f"'{wanted}', {part.purpose}, is for clips with {' and '.join(asked)}: name a file"
                " made for this clip's model, or leave it empty"
            )
    known = ", ".join(parts) or "none"
    raise ClipError(
        f"'{wanted}' is neither a .safetensors or .gguf file nor a part under"
        f" `models.{ONE_FILE}.parts` in models.yaml, which has {known}"
    )


def editor_problem(declaration: Declaration, clip: "Clip") -> str:
    """Return what is wrong with the picture editor that a clip names, "" when it is known."""
    if not clip.edits or clip.settings.own_editor:
        return ""
    wanted = clip.settings.retarget_model
    known = [name for name, model in declaration.models.items() if model.layout == EDITOR]
    if wanted in known and declaration.models[wanted].needed_parts([clip]):
        return ""
    return (
        f"'{wanted}' is neither a folder, written with a slash, nor a model with parts marked"
        f" `editor` in models.yaml, which has {', '.join(known) or 'none'}"
    )


def hub_loras(clips: Iterable["Clip"]) -> dict[str, list[str]]:
    """Return the files of the hub's LoRAs in these clips, by the name of their model."""
    files: dict[str, dict[str, None]] = {}
    for lora in (lora for clip in clips for lora in clip.settings.all_loras if lora.repo):
        files.setdefault(f"loras/{lora.repo}/{lora.revision}", {})[lora.file] = None
    return {name: list(wanted) for name, wanted in files.items()}


def with_loras(declaration: Declaration, files: Mapping[str, Iterable[str]]) -> Declaration:
    """Return the declaration with these files as models, as if models.yaml had named them.

    `files` may hold other models' parts: a LoRA's name is loras/OWNER/NAME/REVISION. Its pin
    stands in the lock as OWNER/NAME@REVISION, apart from that of a model's repository.
    """
    repositories, models = dict(declaration.repositories), dict(declaration.models)
    for name, wanted in files.items():
        if name.startswith("loras/"):
            _, owner, title, revision = name.split("/")
            repository = f"{owner}/{title}@{revision}"
            repositories[repository] = Repository(revision=revision)
            models[name] = Model(parts={file: _lora(repository, file) for file in wanted})
    return declaration.model_copy(update={"repositories": repositories, "models": models})


def _lora(repository: str, file: str) -> Part:
    # PEFT keeps a LoRA's alpha there; other LoRAs have no such file.
    config = str(PurePosixPath(file).with_name(ADAPTER_CONFIG))
    return Part(purpose="LoRA", repository=repository, files=[[file]], optional=[config])
