"""A fake X, a clock, and the check that no test shows the token."""

import logging

import pytest
from fake_x import TOKEN, FakeX
from x_fetch import Clock


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(autouse=True)
def no_secret(capsys, caplog):
    """The token is in nothing that is printed or logged, in any test."""
    caplog.set_level(logging.DEBUG)
    yield
    printed = capsys.readouterr()
    assert TOKEN not in printed.out + printed.err + caplog.text


@pytest.fixture
def x(tmp_path, monkeypatch):
    """Start a fake X with a timeline."""
    monkeypatch.setenv("X_BEARER_TOKEN", TOKEN)
    monkeypatch.setenv("MYNAH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MYNAH_X_PRICE_PER_POST", raising=False)
    servers = []

    def start(timeline=(), **more):
        fake = FakeX(list(timeline), **more)
        servers.append(fake)
        monkeypatch.setenv("MYNAH_X_API", fake.url)
        return fake

    yield start
    for fake in servers:
        fake.stop()
