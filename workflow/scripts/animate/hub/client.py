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
from huggingface_hub.utils import get_token

from animate.errors import ClipError

ATTEMPTS = 6
LONGEST_PAUSE = 30.0
PASSING_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
HTTP_LOGGERS = ("httpx2", "httpcore2")

T = TypeVar("T")


def keep_addresses_out_of_logs() -> None:
    """Silence the HTTP libraries: a redirect's address carries a signature that opens the file."""
    for name in HTTP_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)


def patiently(call: Callable[[], T], what: str) -> T:
    """Return what the call returns; repeat it, with growing pauses, after errors that pass."""
    for attempt in range(1, ATTEMPTS):
        try:
            return call()
        except (httpx2.HTTPError, OSError) as error:
            if not _passes(error):
                raise
            pause = min(2.0 ** (attempt - 1), LONGEST_PAUSE)
            logging.warning("%s: %s; again in %.0f s", what, _brief(error), pause)
            time.sleep(pause)
    return call()


@contextmanager
def explained(repository: str, file: str = "") -> Iterator[None]:
    """Turn the errors of hub calls about a repository, or a file of it, into a `ClipError`."""
    subject = f"repository {repository}" + (f", file {file}" if file else "")
    try:
        yield
    except OfflineModeIsEnabled as error:
        raise ClipError(
            f"{subject} is not in the cache and HF_HUB_OFFLINE is set: run `snakemake download`"
            " where there is a network, or set `path` in config/models.yaml"
        ) from error
    except HfHubHTTPError as error:
        raise ClipError(f"{subject}: {_refusal(repository, error)}") from error
    except httpx2.HTTPError as error:
        raise ClipError(
            f"{subject}: {constants.ENDPOINT} does not answer ({_brief(error)}): check the network,"
            " then start again; what has arrived is kept"
        ) from error
    except OSError as error:
        raise ClipError(f"{subject}: {_storage_problem(error)}") from error


def _refusal(repository: str, error: HfHubHTTPError) -> str:
    status = error.response.status_code
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
    return f"the hub answers HTTP {status}: start again later; what has arrived is kept"


def _storage_problem(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            "the disk of the cache is full: free space, or move `cache` in config/models.yaml;"
            " what has arrived is kept"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{error.filename} cannot be written: set `cache` in config/models.yaml"
    return f"{error}: start again; what has arrived is kept"


def _passes(error: Exception) -> bool:
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in PASSING_STATUS
    if isinstance(error, OfflineModeIsEnabled):
        return False
    # huggingface_hub reports a body of the wrong length as an OSError without a number.
    return isinstance(error, httpx2.TransportError) or error.errno is None


def _brief(error: Exception) -> str:
    if isinstance(error, HfHubHTTPError):
        return f"HTTP {error.response.status_code}"
    return type(error).__name__
