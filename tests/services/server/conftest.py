"""A client of the running server, and a file of API keys."""

import httpx
import pytest

from serving.auth.api_keys import Limits, new_key
from serving.auth.key_file import add_key


@pytest.fixture
def client(server):
    with httpx.Client(base_url=server.url, timeout=60) as made:
        yield made


@pytest.fixture
def keys(tmp_path):
    """A key file, and a function that adds a key to it and gives the headers that carry it."""
    path = tmp_path / "keys.json"

    def add(tenant, bots, admin=False, limits=Limits()):  # noqa: B008 - it is frozen
        key, presented = new_key(tenant, bots, admin, limits, "")
        add_key(path, key)
        return {"Authorization": f"Bearer {presented}"}

    return path, add
