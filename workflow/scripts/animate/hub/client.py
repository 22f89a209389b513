"""Calls to the hub: patient with what passes, and one sentence for what does not."""

import errno
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import httpx2
from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from huggingface_hub.utils import disable_progress_bars, get_token

from animate.errors import MachineError

PAUSES = 1, 2, 4, 8, 16
PASSING_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})

T = TypeVar("T")


def quieten_libraries() -> None:
    """Leave out what the libraries show of each request and of each file.

    A redirect's address carries a signature that opens the file.
    """
    for name in ("httpx2", "httpcore2"):
        logging.getLogger(name).setLevel(logging.WARNING)
    disable_progress_bars("huggingface_hub.http_get")


def patiently(call: Callable[[], T], what: str) -> T:
    """Return what the call returns; repeat it, with growing pauses, after errors that pass.

    huggingface_hub's `http_backoff` and `http_get` give up when a body breaks off or, for files,
    when the hub answers 500 or 503.
    """
    for pause in PAUSES:
        try:
            return call()
        except (httpx2.HTTPError, OSError) as error:
            if not _passes(error):
                raise
            logging.warning("%s: %s; again in %d s", what, _brief(error), pause)
            time.sleep(pause)
    return call()


@contextmanager
def explained(repository: str, file: str = "") -> Iterator[None]:
    """Turn the errors of hub calls about a repository, or a file of it, into a `ClipError`."""
    try:
        yield
    except (httpx2.HTTPError, OSError) as error:
        subject = f"repository {repository}" + (f", file {file}" if file else "")
        raise MachineError(f"{subject}: {_explanation(repository, error)}") from error


def _explanation(repository: str, error: Exception) -> str:
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    number = getattr(error, "errno", None)
    if isinstance(error, OfflineModeIsEnabled):
        return (
            "it is not in the cache and HF_HUB_OFFLINE is set: run `snakemake download` where"
            " there is a network, or set `path` in config/models.yaml"
        )
    if status in (401, 403):
        known = "the token that is set has no access" if get_token() else "it asks for a token"
        return (
            f"{known} (HTTP {status}): accept the terms at {constants.ENDPOINT}/{repository}, then"
            " run `hf auth login` or set HF_TOKEN"
        )
    if status == 404:
        return (
            "it is not on the hub, or not at this revision (HTTP 404): correct it in"
            " config/models.yaml or `loras` of the clip, or run `snakemake update_models`"
        )
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return (
            f"{error.filename} cannot be written: make it writable, or set `cache` in"
            " config/models.yaml"
        )
    problem = f"{error}: start again"
    if status:
        problem = f"the hub answers HTTP {status}: start again later"
    elif isinstance(error, httpx2.HTTPError):
        problem = f"{constants.ENDPOINT} does not answer ({_brief(error)}): check the network, then"
        problem += " start again"
    elif number in (errno.ENOSPC, errno.EDQUOT):
        problem = "the disk of the cache is full: free space, or move `cache` in config/models.yaml"
    return f"{problem}; what has arrived is kept"


def _passes(error: Exception) -> bool:
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in PASSING_STATUS
    if isinstance(error, OfflineModeIsEnabled):
        return False
    # huggingface_hub reports a body of the wrong length as an OSError without a number.
    return isinstance(error, httpx2.TransportError) or getattr(error, "errno", 0) is None


def _brief(error: Exception) -> str:
    if isinstance(error, HfHubHTTPError):
        return f"HTTP {error.response.status_code}"
    return type(error).__name__
