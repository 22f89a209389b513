"""How a rule's script runs: arguments in, a log file, one line for an error a user can mend."""

import argparse
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path

from animate.errors import ClipError

LOG_FORMAT = "%(asctime)s %(message)s"


def stage_parser(description: str) -> argparse.ArgumentParser:
    """Return a parser with the options every stage shares: `--clip`, `--log`, `--settings`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--clip", default="", help="clip name, for messages")
    parser.add_argument("--log", type=Path, help="log file; standard error when absent")
    parser.add_argument("--settings", type=json.loads, default={}, help="settings, as JSON text")
    return parser


def run_stage(main: Callable[[argparse.Namespace], None], parser: argparse.ArgumentParser) -> None:
    """Run `main` on the parsed arguments and exit with 1 after a `ClipError`.

    The error is written as one line that starts with the clip's name; any other exception is a
    defect and keeps its traceback, in the log file.
    """
    args = parser.parse_args()
    _log_to(args.log)
    try:
        main(args)
    except ClipError as error:
        message = " ".join(str(error).split())
        logging.error("clip %s: %s" if args.clip else "%s%s", args.clip, message)
        sys.exit(1)
    except Exception:
        logging.exception("unexpected error in clip %s", args.clip)
        sys.exit(1)


def _log_to(path: Path | None) -> None:
    if path is None:
        handler: logging.Handler = logging.StreamHandler()
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(path, mode="w")
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT, handlers=[handler], force=True)
