"""A file of API keys, and a small server that asks for them."""

import pytest

from serving.auth.key_file import Keys
from tests.services.small_server import small_server


@pytest.fixture
def key_file(tmp_path):
    return tmp_path / "keys.json"


@pytest.fixture
def add(mynah, key_file):
    """Make a key by the command line; the key."""

    def make(*options, tenant="alice"):
        code, out, err = mynah("keys", "add", "--file", key_file, "--tenant", tenant, *options)
        assert code == 0, err
        return out.strip()

    return make


@pytest.fixture
def serve(key_file):
    return lambda **doors: small_server(Keys(key_file), **doors)
