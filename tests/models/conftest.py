import os

import pytest

from models.client import Client
from models.hub_server import Hub

REPOSITORY = "Maker/Model"


@pytest.fixture
def hub():
    """A hub with one repository: two large files, a small one, and one that nobody declares."""
    hub = Hub()
    hub.files = {
        "a.bin": os.urandom(200_000),
        "b/c.bin": os.urandom(300_000),
        "config.json": b'{"dim": 1}',
        "README.md": b"hello",
    }
    hub.commit = hub.push(REPOSITORY, hub.files)
    yield hub
    hub.close()


@pytest.fixture
def client(hub, tmp_path):
    """A working directory whose models.yaml declares `toy`: the repository's first three files."""
    return Client(tmp_path, hub.endpoint)
