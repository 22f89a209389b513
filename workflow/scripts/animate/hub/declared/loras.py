"""LoRAs of the hub, which clips name: each repository and revision is a model, each file a part."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from animate.hub.declared.declaration import Declaration, Model, Part, Repository
from animate.weights.layout import ADAPTER_CONFIG

if TYPE_CHECKING:
    from animate.config.table import Clip


def hub_loras(clips: Iterable["Clip"]) -> dict[str, list[str]]:
    """Return the files of the hub's LoRAs in these clips, by the name of their model."""
    files: dict[str, list[str]] = {}
    for clip in clips:
        for lora in clip.settings.all_loras:
            if lora.repo:
                wanted = files.setdefault(f"loras/{lora.repo}/{lora.revision}", [])
                wanted += [] if lora.file in wanted else [lora.file]
    return files


def with_loras(declaration: Declaration, files: Mapping[str, list[str]]) -> Declaration:
    """Return the declaration with these files as models, as if models.yaml had named them.

    `files` may hold other models' parts: a LoRA's name is loras/OWNER/NAME/REVISION. Its pin
    stands in the lock as OWNER/NAME@REVISION, apart from that of a model's repository.
    """
    repositories, models = dict(declaration.repositories), dict(declaration.models)
    for name, wanted in files.items():
        if name.startswith("loras/"):
            _, owner, title, revision = name.split("/")
            repository = f"{owner}/{title}@{revision}"
            repositories[repository] = Repository(repository, revision, path=None)
            models[name] = Model(name, tuple(_part(file, repository) for file in wanted))
    return replace(declaration, repositories=repositories, models=models)


def _part(file: str, repository: str) -> Part:
    # PEFT keeps a LoRA's alpha there; other LoRAs have no such file.
    config = str(PurePosixPath(file).with_name(ADAPTER_CONFIG))
    return Part(file, "LoRA", repository, ((file,),), optional=(config,))
