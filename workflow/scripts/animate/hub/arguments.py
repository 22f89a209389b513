"""The options that the scripts about models share."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from animate.hub.declared.declaration import Declaration, read_declaration, with_loras
from animate.hub.install import Installation
from animate.stage import stage_parser


def models_parser(description: str) -> argparse.ArgumentParser:
    """Return a parser with `--declaration`, `--lock-file`, `--models` and `--needs`.

    `needs` becomes pairs of a model's name and those of its parts in use.
    """
    parser = stage_parser(description)
    parser.add_argument("--declaration", type=Path, default="config/models.yaml")
    parser.add_argument("--lock-file", type=Path, default="config/models.lock.yaml")
    parser.add_argument("--models", type=Path, default="models", help="folder of the model folders")
    parser.add_argument(
        "--needs", nargs="*", default=[], type=_need, help="MODEL:PART,... for each model in use"
    )
    return parser


def declared(args: argparse.Namespace) -> Declaration:
    """Return what models.yaml declares, and the LoRAs of the hub that `--needs` names."""
    return with_loras(read_declaration(args.declaration), dict(args.needs))


def installations(args: argparse.Namespace, every_part: bool = False) -> Iterator[Installation]:
    """Yield the needed parts of each model, or every part, to install in `--models`."""
    declaration, needs = declared(args), dict(args.needs)
    for name in declaration.models if every_part else needs:
        parts = declaration.models[name].parts
        chosen = {n: part for n, part in parts.items() if every_part or n in needs[name]}
        yield Installation(declaration, args.lock_file, name, chosen, args.models / name)


def _need(text: str) -> tuple[str, list[str]]:
    name, _, parts = text.partition(":")
    return name, parts.split(",")
