"""The headers of safetensors files on the hub, by range requests: some 100 kB of tens of GB."""

from huggingface_hub import constants, hf_hub_url
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status, http_stream_backoff

from animate.errors import ClipError
from animate.hub.client import explained, patiently
from animate.hub.headers import LENGTH_BYTES, UNSOUND, Header, described, header_bytes
from animate.hub.lock import HubFile


class RangeIgnored(Exception):
    """The server answers with the whole file when a part was asked for."""


def remote_tensors(file: HubFile) -> Header:
    """Return the dtype and shape of each tensor of a safetensors file on the hub.

    Raises:
        ClipError: the file is refused or absent, or its header does not describe it.
        RangeIgnored: the server sends whole files only; nothing of one was read.
    """
    with explained(file.repository, file.name):
        try:
            length = header_bytes(_patient_range(file, 0, LENGTH_BYTES))
            left = file.pin.size - LENGTH_BYTES - length
            return described(_patient_range(file, LENGTH_BYTES, length), left)
        except UNSOUND as error:
            raise ClipError(
                f"repository {file.repository}, file {file.name} is not a sound safetensors file"
                f" ({error}): correct its source in config/models.yaml"
            ) from error


def _patient_range(file: HubFile, start: int, count: int) -> bytes:
    if start + count > file.pin.size:
        raise ValueError("its header is longer than the file")
    return patiently(lambda: _range(file, start, count), file.name)


def _range(file: HubFile, start: int, count: int) -> bytes:
    """Return `count` bytes from byte `start` on."""
    span = f"{start}-{start + count - 1}"
    # Compressed, parts would be counted otherwise.
    headers = build_hf_headers() | {"Range": f"bytes={span}", "Accept-Encoding": "identity"}
    url = hf_hub_url(file.repository, file.name, revision=file.commit)
    content = bytearray()
    with http_stream_backoff(
        "GET",
        url,
        headers=headers,
        timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT,
        retry_on_exceptions=(),
        retry_on_status_codes=(),
    ) as response:
        hf_raise_for_status(response)
        given = response.headers
        is_part = response.status_code == 206 and "Content-Encoding" not in given
        if not is_part or not given.get("Content-Range", "").startswith(f"bytes {span}/"):
            raise RangeIgnored(file.repository)
        for chunk in response.iter_raw():
            content += chunk
            if len(content) >= count:
                return bytes(content[:count])
    raise OSError(f"{len(content)} bytes instead of {count}")
