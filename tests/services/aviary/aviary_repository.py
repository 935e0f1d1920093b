"""The repository of served bots, started and asked by a test."""

import asyncio
import functools
import threading
from pathlib import Path

import pytest

from mynah.decoding.model import load_model
from mynah.registry.registry import Registry
from mynah.tracking.open import open_store
from pipelines.cli.serve import of_registry
from serving.engine.errors import ModelError
from serving.models.repository import Repository
from serving.protocols.errors import to_api_error

PLENTY = 1 << 30
BOTS = ("dove", "heron", "wren")


def on_loop(test):
    @functools.wraps(test)
    def run(*arguments, **fixtures):
        asyncio.run(test(*arguments, **fixtures))

    return run


class Loads:
    """The real loading, counted; `hold` stops it before it ends until the test lets it go on."""

    def __init__(self):
        self.count = 0
        self.go_on = threading.Event()
        self.go_on.set()

    def __call__(self, folder: Path):
        self.count += 1
        assert self.go_on.wait(60)
        return load_model(folder)


class Seen:
    """An observer that remembers."""

    def __init__(self):
        self.events = []

    def loaded(self, name, seconds):
        assert seconds > 0
        self.events.append(("loaded", name))

    def evicted(self, name):
        self.events.append(("evicted", name))

    def swapped(self, name):
        self.events.append(("swapped", name))

    def forgotten(self, name):
        self.events.append(("forgotten", name))


def aviary(workdir, names=(), memory=PLENTY, **options):
    """A repository of the registry in `workdir`, which looks when it is hinted (and every minute)."""
    return Repository(of_registry(workdir, list(names)), memory, **{"seconds_between_polls": 60.0, **options})


class Started:
    """`async with`: a repository from its start to its close."""

    def __init__(self, repository):
        self.repository = repository

    async def __aenter__(self):
        await self.repository.start()
        return self.repository

    async def __aexit__(self, *_):
        await self.repository.close()


def started(workdir, names=(), memory=PLENTY, **options):
    return Started(aviary(workdir, names, memory, **options))


async def until(condition, seconds=60):
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def asked(repository, address, key=""):
    """Which version answers: name, version and alias."""
    async with repository.lease(address, key) as lease:
        assert lease.model.encode("a")
        return lease.name, lease.version, lease.alias


async def refused(repository, address):
    """How every protocol answers: status, message and retry time."""
    with pytest.raises(ModelError) as raised:
        await asked(repository, address)
    assert "/" not in raised.value.message.replace(address, ""), "no path is told"
    return to_api_error(raised.value)


def set_alias(workdir, name, alias, version):
    Registry(open_store(workdir)).client.set_registered_model_alias(name, alias, str(version))


def add_broken(workdir, folder, name="wren"):
    """A version whose files are not (yet) in `folder`; its number."""
    return int(Registry(open_store(workdir)).client.create_model_version(name, str(folder)).version)
