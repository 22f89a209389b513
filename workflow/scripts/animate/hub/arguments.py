"""The options that the scripts about models share."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from animate.hub.client import quieten_libraries
from animate.hub.declared.declaration import Declaration, read_declaration
from animate.hub.declared.loras import with_loras
from animate.hub.install import Installation
from animate.stage import stage_parser


def models_parser(description: str) -> argparse.ArgumentParser:
    """Return a parser with `--declaration`, `--lock-file`, `--models` and `--needs`."""
    parser = stage_parser(description)
    parser.add_argument("--declaration", type=Path, default="config/models.yaml")
    parser.add_argument("--lock-file", type=Path, default="config/models.lock.yaml")
    parser.add_argument("--models", type=Path, default="models", help="folder of the model folders")
    parser.add_argument(
        "--needs", nargs="*", default=[], help="MODEL:PART,... for each model in use"
    )
    return parser


def needed_parts(args: argparse.Namespace) -> dict[str, list[str]]:
    """Return the names of the parts that `--needs` asks for, by model."""
    pairs = (need.partition(":") for need in args.needs)
    return {name: parts.split(",") for name, _, parts in pairs}


def declared(args: argparse.Namespace) -> Declaration:
    """Return what models.yaml declares, and the LoRAs of the hub that `--needs` names."""
    return with_loras(read_declaration(args.declaration), needed_parts(args))


def installations(
    args: argparse.Namespace, parts_of: dict[str, list[str]]
) -> Iterator[Installation]:
    """Yield these parts of these models, as something to install in `--models`."""
    quieten_libraries()
    declaration = declared(args)
    for name, wanted in parts_of.items():
        model = declaration.models[name]
        parts = tuple(part for part in model.parts if part.name in wanted)
        yield Installation(declaration, args.lock_file, model, parts, args.models / name)
