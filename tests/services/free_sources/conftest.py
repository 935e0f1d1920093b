"""A fake Bluesky, a fake Mastodon, and a clock."""

import pytest
from fake_bluesky import FakeBluesky
from fake_mastodon import FakeMastodon

from components.fetch.http.retry import RetryPolicy


class Clock:
    """Time that passes by waiting alone."""

    def __init__(self):
        self.waits = []
        self.patience = RetryPolicy(wait=self.waits.append, now=lambda: 1.7e9 + sum(self.waits))


@pytest.fixture
def clock():
    return Clock()


def starter(name, make, monkeypatch):
    servers = []

    def start(items=(), *more):
        fake = make(list(items), *more)
        servers.append(fake)
        monkeypatch.setenv(name, fake.url)
        return fake

    yield start
    for fake in servers:
        fake.stop()


@pytest.fixture
def bluesky(monkeypatch):
    yield from starter("MYNAH_BLUESKY_API", FakeBluesky, monkeypatch)


@pytest.fixture
def mastodon(monkeypatch):
    yield from starter("MYNAH_MASTODON_API", FakeMastodon, monkeypatch)
