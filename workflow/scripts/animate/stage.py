"""How a rule's script runs: arguments in, a log file, one line for an error a user can mend."""

import argparse
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from animate.errors import ClipError
from animate.failure_note import note_of, remove_note, write_note

CONSOLE = "animate.console"
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
    defect and keeps its traceback. The log file gets all output, the console only the last line and
    what `warn` and `tell` say, and a note beside the log file tells the run, see `failure_note`.
    """
    args = parser.parse_args()
    remove_note(args.log)
    console = _log_to(args.log)
    if console is not None:
        _show_on(console, args.clip)
    try:
        main(args)
    except Exception as error:
        note = note_of(error)
        write_note(args.log, note)
        if isinstance(error, ClipError):
            _fail(console, args.clip, note.sentence)
        logging.exception("defect")
        _fail(console, args.clip, f"{note.sentence}; see {args.log or 'above'}")


def warn(sentence: str) -> None:
    """Say on the console, and in the log file, what a user should know of a clip that goes on."""
    logging.getLogger(CONSOLE).warning("warning: %s", sentence)


def tell(sentence: str) -> None:
    """Say on the console, and in the log file, what a user asked to know of a clip."""
    logging.getLogger(CONSOLE).info(sentence)


def _log_to(path: Path | None) -> int | None:
    """Send standard error to the log file, native libraries' too; return the console's handle."""
    console = None
    if path is not None:
        console = os.dup(2)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as log:
            os.dup2(log.fileno(), 2)
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT, stream=sys.stderr, force=True)
    # Of each request they show the address, which may carry a signature that opens the file.
    for name in ("httpx2", "httpcore2"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return console


def _show_on(console: int, clip: str) -> None:
    handler = logging.StreamHandler(os.fdopen(os.dup(console), "w"))
    handler.setFormatter(logging.Formatter(f"clip {clip}: %(message)s" if clip else "%(message)s"))
    logging.getLogger(CONSOLE).addHandler(handler)


def _fail(console: int | None, clip: str, sentence: str) -> None:
    line = f"clip {clip}: {sentence}" if clip else sentence
    logging.error(line)
    if console is not None:
        os.write(console, f"{line}\n".encode())
    sys.exit(1)
