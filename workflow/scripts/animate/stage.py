"""How a rule's script runs: arguments in, a log file, one line for an error a user can mend."""

import argparse
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from animate.errors import ClipError

LOG_FORMAT = "%(asctime)s %(message)s"


class Settings(Protocol):
    """A declaration of settings."""

    def model_validate_json(self, text: str) -> Any:
        """Return the values in a JSON text; ValueError when one is refused."""


def stage_parser(description: str, settings: Settings | None = None) -> argparse.ArgumentParser:
    """Return a parser with `--clip`, `--log` and, for a stage that has any, `--settings`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--clip", default="", help="clip name, for messages")
    parser.add_argument("--log", type=Path, help="log file; standard error when absent")
    if settings:
        read = settings.model_validate_json
        parser.add_argument("--settings", type=read, required=True, help="as JSON text")
    return parser


def run_stage(main: Callable[[argparse.Namespace], None], parser: argparse.ArgumentParser) -> None:
    """Run `main` on the parsed arguments and exit with 1 after an error.

    A `ClipError` becomes one line that starts with the clip's name; any other exception is a
    defect and keeps its traceback. The log file gets all output, the console only the last line.
    """
    args = parser.parse_args()
    console = _log_to(args.log)
    try:
        main(args)
    except ClipError as error:
        _fail(console, args.clip, " ".join(str(error).split()))
    except Exception as error:
        logging.exception("defect")
        _fail(console, args.clip, f"{type(error).__name__}: {error}; see {args.log or 'above'}")


def _log_to(path: Path | None) -> int | None:
    """Send standard error to the log file, native libraries' too; return the console's handle."""
    console = None
    if path is not None:
        console = os.dup(2)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as log:
            os.dup2(log.fileno(), 2)
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT, stream=sys.stderr, force=True)
    return console


def _fail(console: int | None, clip: str, sentence: str) -> None:
    line = f"clip {clip}: {sentence}" if clip else sentence
    logging.error(line)
    if console is not None:
        os.write(console, f"{line}\n".encode())
    sys.exit(1)


def tell(clip: str, sentence: str) -> None:
    """Say on the console, and in the log, what a user must know although nothing failed."""
    logging.warning(sentence)
    print(f"clip {clip}: {sentence}", flush=True)
