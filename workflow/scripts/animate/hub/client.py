"""Bytes from the hub, whatever breaks off, and one sentence for what does not pass."""

import errno
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
from huggingface_hub import constants, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from huggingface_hub.utils import (
    build_hf_headers,
    get_token,
    hf_raise_for_status,
    http_stream_backoff,
)

from animate.errors import MachineError
from animate.hub.files import ModelFile

# Seconds to wait before the hub is asked again, as long as nothing more arrives.
PAUSES = 1, 2, 4, 8, 16


class RangeIgnored(Exception):
    """The server answers with the whole file when a part was asked for."""


def content(file: ModelFile, start: int, end: int) -> Iterator[bytes]:
    """Yield a file's bytes from `start` to `end`, going on where a connection breaks off.

    huggingface_hub's `http_get` gives up when a connection is reset or the hub answers 500 or 503,
    and reads all of a file whose server ignores ranges.

    Raises:
        RangeIgnored: the server would send the whole file, of which less is wanted.
    """
    address = hf_hub_url(file.repository, file.name, revision=file.commit)
    pauses = iter(PAUSES)
    while start < end:
        # Compressed, parts would be counted otherwise.
        headers = build_hf_headers() | {"Accept-Encoding": "identity"}
        if end - start < file.size:
            headers["Range"] = f"bytes={start}-{end - 1}"
        timeout = {"timeout": constants.HF_HUB_DOWNLOAD_TIMEOUT, "retry_on_exceptions": ()}
        try:
            with http_stream_backoff("GET", address, headers=headers, **timeout) as response:
                hf_raise_for_status(response)
                position = start if response.status_code == 206 else 0
                if response.status_code != 206 and end < file.size:
                    raise RangeIgnored(file.repository)
                for chunk in response.iter_bytes(constants.DOWNLOAD_CHUNK_SIZE):
                    kept = chunk[max(start - position, 0) :]
                    position += len(chunk)
                    start += len(kept)
                    pauses = iter(PAUSES)
                    yield kept
            if start < end:
                raise httpx2.RemoteProtocolError(f"it ends after {start} bytes")
        except httpx2.TransportError as error:
            if not (pause := next(pauses, 0)):
                raise
            logging.warning("%s: %s; again in %d s", file.name, type(error).__name__, pause)
            time.sleep(pause)


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
        remedy = "make it writable, or set `cache` in config/models.yaml"
        return f"{error.filename} cannot be written: {remedy}"
    problem = f"{error}: start again"
    if status:
        problem = f"the hub answers HTTP {status}: start again later"
    elif isinstance(error, httpx2.HTTPError):
        silent = f"{constants.ENDPOINT} does not answer ({type(error).__name__})"
        problem = f"{silent}: check the network, then start again"
    elif number in (errno.ENOSPC, errno.EDQUOT):
        problem = "the disk of the cache is full: free space, or move `cache` in config/models.yaml"
    return f"{problem}; what has arrived is kept"
