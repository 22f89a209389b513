"""What models.yaml may hold, declared once."""

from typing import Annotated, Any

from pydantic import Field

from animate.config.fields import Declared, setting
from animate.config.mistakes import find_mistakes

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
RepositoryName = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*$")
]
Pattern = Annotated[str, Field(min_length=1)]


class RepositoryEntry(Declared):
    """A repository of the hub."""

    revision: str = setting(
        "main", "What update_models pins", "a branch, a tag or a commit", min_length=1
    )
    path: str | None = setting(
        None,
        "Folder with the repository's files, used in place",
        "a path, or null to download",
        min_length=1,
    )


class PartEntry(Declared):
    """Files of one repository that serve one purpose."""

    purpose: str = setting(..., "What it is for", "a text")
    repository: str = setting(..., "Where it comes from", "OWNER/NAME")
    convert: bool = setting(False, "Whether it has the published layout")
    files: list[Pattern | Annotated[list[Pattern], Field(min_length=1)]] = setting(
        ...,
        "Patterns of the files; of several in a list, the first with a match counts",
        "a list of patterns, or of lists of them",
        min_length=1,
    )
    when: dict[str, list[Any]] = setting(
        {}, "Settings of the clips that need it", "a mapping from a setting to a list of values"
    )


class ModelEntry(Declared):
    """What one model needs."""

    parts: dict[str, PartEntry] = setting(
        ..., "The model's parts", "a mapping from a name to files", min_length=1
    )


class ModelsFile(Declared):
    """models.yaml."""

    cache: str | None = setting(
        None, "Folder of the downloads", "a path, or null for the Hugging Face cache", min_length=1
    )
    repositories: dict[RepositoryName, RepositoryEntry] = setting(
        ..., "Repositories of the hub", "a mapping from OWNER/NAME to revision and path"
    )
    models: dict[Name, ModelEntry] = setting(
        ..., "What each model name needs", "a mapping from a name to its parts"
    )


def document_mistakes(document: Any) -> list[str]:
    """Return every mistake of models.yaml's content, as a line each."""
    return [str(mistake) for mistake in find_mistakes(ModelsFile, document)]
