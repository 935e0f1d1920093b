"""What changes in the registry: bots that are forgotten, versions deleted, a registry that is away; and MLflow's own server."""

import asyncio
import logging
import os
import sqlite3
from contextlib import closing

import pytest
from registry_inputs import add_version, make_outputs, register_all

from components.promote.step import promote
from mynah.core.errors import PlatformError
from mynah.registry.alias_snapshot import all_aliases
from mynah.registry.checkpoint_cache import cache_folder
from mynah.registry.registry import Registry
from mynah.tracking.open import open_store
from pipelines.cli.serve import of_registry
from serving.engine.errors import ModelNotFound
from serving.models.repository import Repository
from tests.services.aviary.aviary_repository import (
    BOTS,
    PLENTY,
    Loads,
    Started,
    asked,
    on_loop,
    refused,
    set_alias,
    started,
    until,
)

# The registry changes, or is away


@on_loop
async def test_a_bot_that_was_forgotten_is_no_longer_served_and_a_new_one_is(workdir):
    async with started(workdir) as repository:
        async with repository.lease("wren") as lease:
            client = Registry(open_store(workdir)).client
            client.delete_registered_model("wren")
            repository.poll_now()
            await until(lambda: "wren" not in repository.names())
            assert (await refused(repository, "wren")).status == 404
            assert (await refused(repository, "wren:1")).status == 404
            assert lease.model.encode("a")  # who was being answered is
        with pytest.raises(ModelNotFound, match="no bot named 'wren'"):
            repository.describe("wren")
        [heron] = Registry(open_store(workdir)).head("heron", 1).versions
        client.create_registered_model("robin", tags={"mynah.bot": "robin"})
        client.create_model_version("robin", Registry(open_store(workdir)).uri(heron))
        client.set_registered_model_alias("robin", "champion", "1")
        repository.poll_now()
        await until(lambda: "robin" in repository.names())
        assert await asked(repository, "robin") == ("robin", "1", "champion")


@on_loop
async def test_a_bot_forgotten_while_it_is_being_loaded_is_not_given_out(workdir):
    load = Loads()
    load.go_on.clear()
    async with started(workdir, load=load) as repository:
        waiting = asyncio.create_task(asked(repository, "wren"))
        await until(lambda: load.count)
        Registry(open_store(workdir)).client.delete_registered_model("wren")
        repository.poll_now()
        await until(lambda: "wren" not in repository.names())
        load.go_on.set()
        with pytest.raises(ModelNotFound, match="no bot named 'wren'"):
            await waiting
        assert await asked(repository, "heron")
        assert not repository.ready("wren:1")


@on_loop
async def test_a_deleted_version_that_was_asked_for_by_its_number_leaves_memory(workdir):
    number = add_version(workdir, 4.1)
    set_alias(workdir, "wren", "challenger", 1)
    async with started(workdir) as repository:
        await asked(repository, f"wren:{number}")
        Registry(open_store(workdir)).client.delete_model_version("wren", str(number))
        repository.poll_now()
        await until(lambda: not repository.ready(f"wren:{number}"))
        assert (await refused(repository, f"wren:{number}")).status == 404


@on_loop
async def test_no_new_reader_gets_what_was_deleted_or_unloaded_while_others_read(workdir):
    number = add_version(workdir, 4.1)
    set_alias(workdir, "wren", "challenger", 1)
    load = Loads()
    async with started(workdir, load=load) as repository:
        async with repository.lease(f"wren:{number}") as lease:
            await repository.unload(f"wren:{number}")
            async with repository.lease(f"wren:{number}") as again:
                assert again.model is not lease.model  # loaded anew
            Registry(open_store(workdir)).client.delete_model_version("wren", str(number))
            repository.poll_now()
            await until(lambda: not repository.ready(f"wren:{number}"))
            assert (await refused(repository, f"wren:{number}")).status == 404
            assert lease.model.encode("a")
            assert repository.memory_use().total == lease.model.nbytes  # it counts as long as it is there
        assert repository.memory_use().total == 0


@on_loop
async def test_the_registry_is_asked_once_for_the_versions_however_many_ask_at_once(workdir):
    number = add_version(workdir, 4.1)
    set_alias(workdir, "wren", "challenger", 1)
    source, asked_for = of_registry(workdir, []), []
    versions = source.versions
    source.versions = lambda name: asked_for.append(name) or versions(name)
    async with Started(Repository(source, PLENTY, seconds_between_polls=60.0)) as repository:
        await asyncio.gather(*(asked(repository, f"wren:{number}") for _ in range(30)))
    assert asked_for == ["wren"]


@on_loop
async def test_a_registry_that_is_away_stops_nothing(workdir, caplog):
    caplog.set_level(logging.INFO, "mynah")
    async with started(workdir, seconds_between_polls=0.1) as repository:
        await asked(repository, "wren")
        (workdir / "mlflow.db").rename(workdir / "away")
        await until(lambda: "the registry is unreachable" in caplog.text)
        await asyncio.sleep(0.5)
        assert await asked(repository, "wren") == ("wren", "1", "champion")
        assert repository.names() == list(BOTS)
        (workdir / "away").rename(workdir / "mlflow.db")
        await until(lambda: "the registry is reachable again" in caplog.text)
        assert caplog.text.count("the registry is unreachable") == 1
        assert await asked(repository, "heron")


# The registry's aliases, read at once


def test_the_aliases_are_those_that_mlflow_tells(workdir):
    add_version(workdir, 3.9)
    registry = Registry(open_store(workdir))
    registry.client.create_registered_model("churn")  # somebody else's
    registry.client.create_registered_model("robin", tags={"mynah.bot": "robin"})  # no version yet
    assert all_aliases(registry.store) == {bot.name: bot.aliases for bot in registry.bots()}
    assert all_aliases(registry.store)["robin"] == {}
    with closing(sqlite3.connect(workdir / "mlflow.db")) as database, database:
        database.execute("DROP TABLE registered_model_aliases")
    with pytest.raises(PlatformError, match="no such table"):
        all_aliases(registry.store)


@on_loop
async def test_the_aviary_on_an_mlflow_server_with_s3(on_server, tmp_path, tiny_checkpoint):
    unique, workdir = os.urandom(3).hex(), tmp_path / "work"
    name = f"wren-{unique}"  # the server lives as long as all tests
    register_all(dict.fromkeys((name, f"heron-{unique}"), make_outputs(tmp_path / "outputs", tiny_checkpoint)), workdir)
    add_version(workdir, 3.9, name=name)
    store = open_store(workdir)
    registry = Registry(store)
    assert all_aliases(store) == {bot.name: bot.aliases for bot in registry.bots()}
    async with started(workdir, seconds_between_polls=0.5) as repository:
        assert (await repository.files(name)).card.read_text()
        assert [path.name.endswith(".card") for path in cache_folder(store).iterdir()] == [True]  # not the weights
        assert await asked(repository, name) == (name, "1", "champion")
        assert (await repository.files(name)).card.read_text()
        promote(name, store)
        await until(lambda: repository.describe(name).champion == "2", seconds=10)
        assert await asked(repository, name) == (name, "2", "champion")
        registry.client.delete_registered_model(name)
        await until(lambda: name not in repository.names(), seconds=10)
        assert (await refused(repository, name)).status == 404
        await until(lambda: not any(path.is_dir() for path in cache_folder(store).iterdir()))  # nor is it on this machine
