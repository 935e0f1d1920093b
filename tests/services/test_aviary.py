"""The repository of served bots over a real registry: who answers at which address, what is in memory, and promotions under way."""

import asyncio
import functools
import logging
import os
import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from registry_inputs import add_version, make_outputs, register_all

from components.aliases import all_aliases
from components.checkpoint_cache import cache_folder
from components.decoding.model import load_model
from components.errors import InputError, PlatformError
from components.promote import promote, rollback
from components.registry import Registry
from components.store import open_store
from pipelines.serve import of_folder, of_registry
from serving.refusals import Refusal
from serving.repository import Repository
from serving.repository.sources import FolderSource, ServedBot
from serving.settings import Settings, default_memory

PLENTY = 1 << 30
BOTS = ("dove", "heron", "wren")


@pytest.fixture(scope="module")
def registered(tmp_path_factory, tiny_checkpoint):
    """A work folder with three bots, each of one version, which is champion."""
    workdir = tmp_path_factory.mktemp("aviary") / "work"
    outputs = make_outputs(tmp_path_factory.mktemp("outputs"), tiny_checkpoint)
    register_all(dict.fromkeys(BOTS, outputs), workdir)
    return workdir


@pytest.fixture
def workdir(registered, tmp_path):
    """A copy of that folder, for one test alone. The files of its versions lie where the original's do."""
    (tmp_path / "work").mkdir()
    shutil.copyfile(registered / "mlflow.db", tmp_path / "work" / "mlflow.db")
    return tmp_path / "work"


@pytest.fixture(scope="module")
def size(tiny_checkpoint):
    """Bytes that one of these bots takes in memory."""
    return load_model(tiny_checkpoint).nbytes


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
    with pytest.raises(Refusal) as raised:
        await asked(repository, address)
    assert "/" not in raised.value.message.replace(address, ""), "no path is told"
    return raised.value


def set_alias(workdir, name, alias, version):
    Registry(open_store(workdir)).client.set_registered_model_alias(name, alias, str(version))


def add_broken(workdir, folder, name="wren"):
    """A version whose files are not (yet) in `folder`; its number."""
    return int(Registry(open_store(workdir)).client.create_model_version(name, str(folder)).version)


# Addresses


@on_loop
async def test_who_answers_at_which_address(workdir):
    add_version(workdir, 3.9)  # 2, the challenger
    promote("wren", open_store(workdir))
    add_version(workdir, 3.8)  # 3, the challenger
    async with started(workdir) as repository:
        assert repository.names() == list(BOTS)
        assert await asked(repository, "wren") == ("wren", "2", "champion")
        assert await asked(repository, "wren@champion") == ("wren", "2", "champion")
        assert await asked(repository, "wren@challenger") == ("wren", "3", "challenger")
        assert await asked(repository, "wren@previous") == ("wren", "1", "previous")
        assert await asked(repository, "wren:1") == ("wren", "1", "")
        assert repository.describe("wren").loaded == ("2", "3", "1")  # beside one another, the last used last
        assert (repository.ready("wren:3"), repository.ready("heron"), repository.ready("../wren")) == (True, False, False)
        await repository.load("heron")
        assert repository.ready("heron")
        await repository.unload("wren:3")
        assert repository.describe("wren").loaded == ("2", "1")
        await repository.unload("wren")
        assert repository.describe("wren").loaded == ()


@pytest.mark.parametrize(
    ("address", "status", "words"),
    [
        ("wrem", 404, ["'wrem'", "did you mean 'wren'"]),
        ("Wren", 404, ["did you mean 'wren'"]),
        ("gpt-3.5-turbo", 404, ["known: dove, heron, wren"]),
        ("wren@best", 404, ["no best", "wren@challenger, wren@champion"]),
        ("wren:7", 404, ["no version 7", "it has 1"]),
        ("wren:01", 404, ["no version 01"]),
        ("wren:" + "9" * 60, 404, ["no version 9999"]),
        ("wren@", 400, ["wren@challenger"]),
        ("wren:", 400, ["wren:3"]),
        ("wren@champion:1", 400, ["wren@challenger"]),
        ("wren:1@champion", 400, ["wren:3"]),
        ("wren:../1", 400, ["wren:3"]),
        ("", 400, ["no model's name"]),
        ("..", 400, ["no model's name"]),
        ("../../etc/passwd", 400, ["no model's name"]),
        ("wren/../heron", 400, ["no model's name"]),
        ("..\\wren", 400, ["no model's name"]),
        ("a..b", 400, ["no model's name"]),
        (".wren", 400, ["no model's name"]),
        ("wren\x00", 400, ["'wren\\x00'"]),
        ("wren\n", 400, ["'wren\\n'"]),
        ("caf\udce9", 400, ["no model's name"]),
        ("rén", 400, ["no model's name"]),
        ("w" * 5000, 400, ["no model's name"]),
    ],
)
@on_loop
async def test_addresses_where_nobody_answers(registered, address, status, words):
    async with started(registered) as repository:
        refusal = await refused(repository, address)
    assert refusal.status == status
    assert len(refusal.message) < 300
    for word in words:
        assert word in refusal.message


@on_loop
async def test_a_bot_without_a_champion_is_told_as_one(workdir):
    Registry(open_store(workdir)).client.delete_registered_model_alias("wren", "champion")
    async with started(workdir) as repository:
        refusal = await refused(repository, "wren")
        assert (refusal.status, refusal.message) == (404, "wren has no champion; it has wren@challenger")
        assert await asked(repository, "wren@challenger") == ("wren", "1", "challenger")


# What is in memory


@on_loop
async def test_many_who_wait_share_one_load_and_one_who_leaves_does_not_end_it(workdir):
    load = Loads()
    load.go_on.clear()
    async with started(workdir, load=load) as repository:
        waiting = [asyncio.create_task(asked(repository, "wren")) for _ in range(40)]
        await until(lambda: load.count)
        waiting[0].cancel()
        await asyncio.sleep(0)
        load.go_on.set()
        answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert load.count == 1
    assert isinstance(answers[0], asyncio.CancelledError)
    assert answers[1:] == [("wren", "1", "champion")] * 39


@on_loop
async def test_no_more_than_two_load_at_once(workdir):
    for _ in range(3):
        add_version(workdir, 4.0)
    load = Loads()
    load.go_on.clear()
    async with started(workdir, load=load) as repository:
        waiting = [asyncio.create_task(asked(repository, f"wren:{number}")) for number in range(1, 5)]
        await until(lambda: load.count == 2)
        await asyncio.sleep(0.2)
        assert load.count == 2
        load.go_on.set()
        await asyncio.gather(*waiting)
        assert load.count == 4


@on_loop
async def test_the_least_recently_used_makes_room_and_never_one_that_is_leased(workdir, size):
    seen = Seen()
    async with started(workdir, memory=2 * size + size // 2, observer=seen) as repository:
        for name in ("wren", "heron", "wren", "dove"):
            await asked(repository, name)
        assert seen.events == [("loaded", "wren"), ("loaded", "heron"), ("evicted", "heron"), ("loaded", "dove")]
        async with repository.lease("wren") as wren:  # now the one used last, but leased all along
            await asked(repository, "dove")
            await asked(repository, "heron")
            assert repository.ready("wren")
            assert not repository.ready("dove")
            async with repository.lease("heron"):
                refusal = await refused(repository, "dove")
                assert (refusal.status, refusal.retry_after is not None) == (503, True)
                assert wren.model.encode("a")
                assert repository.ready("wren")
            assert await asked(repository, "dove")  # at once: nothing failed, there was no room
        assert not repository.ready("heron")


@on_loop
async def test_a_model_that_no_memory_would_hold(workdir, size, caplog):
    async with started(workdir, memory=size - 1) as repository:
        for _ in range(2):
            refusal = await refused(repository, "wren")
            assert (refusal.status, "wren is too large" in refusal.message, "--memory" in refusal.message) == (503, True, True)
    assert "MiB" in caplog.text


@on_loop
async def test_a_load_that_fails_is_told_and_not_tried_at_every_request(workdir, caplog):
    class Failing(Loads):
        def __call__(self, folder):
            super().__call__(folder)
            raise OSError(5, "Input/output error", str(folder))

    load = Failing()
    async with started(workdir, load=load) as repository:
        for _ in range(5):
            refusal = await refused(repository, "wren")
            assert (refusal.status, refusal.retry_after) == (503, 5)
            assert "version 1 of wren cannot be fetched now" in refusal.message
        assert load.count == 1
    assert "Input/output error" in caplog.text  # for who runs the server


# Promotion


@on_loop
async def test_a_promotion_is_not_noticed_by_those_who_are_answered(workdir):
    add_version(workdir, 3.9)
    load, seen = Loads(), Seen()
    async with started(workdir, load=load, observer=seen) as repository:
        async with repository.lease("wren") as old:
            load.go_on.clear()
            promote("wren", open_store(workdir))
            repository.hint()
            await until(lambda: load.count == 2)
            for _ in range(3):  # while the new one is being loaded
                assert await asked(repository, "wren") == ("wren", "1", "champion")
            load.go_on.set()
            await until(lambda: ("swapped", "wren") in seen.events)
            assert load.count == 2
            async with repository.lease("wren") as new:
                assert (old.version, new.version) == ("1", "2")
                assert new.model is not old.model
            assert old.model.encode("a")
        assert await asked(repository, "wren@previous") == ("wren", "1", "previous")
        rollback("wren", open_store(workdir))
        repository.hint()
        await until(lambda: repository.describe("wren").champion == "1")
        assert await asked(repository, "wren") == ("wren", "1", "champion")
        assert load.count == 2  # the old one had stayed in memory, for an alias points to it
    assert [event for event in seen.events if event[0] == "swapped"] == [("swapped", "wren")] * 2


@on_loop
async def test_the_poll_alone_sees_a_promotion_and_a_version_without_an_alias_leaves_with_its_last_lease(workdir):
    number = add_version(workdir, 3.9)
    set_alias(workdir, "wren", "challenger", 1)
    async with started(workdir, seconds_between_polls=0.2) as repository:
        async with repository.lease("wren"):
            set_alias(workdir, "wren", "champion", number)
            set_alias(workdir, "wren", "challenger", number)
            await until(lambda: repository.describe("wren").champion == "2", seconds=10)
            assert set(repository.describe("wren").loaded) == {"1", "2"}
        assert repository.describe("wren").loaded == ("2",)
        assert await asked(repository, "wren:1") == ("wren", "1", "")  # it is in the registry all the same


@on_loop
async def test_a_swap_may_pass_the_memory_that_the_old_one_fills(workdir, size):
    add_version(workdir, 3.9)
    async with started(workdir, memory=size + size // 2) as repository:
        async with repository.lease("wren"):
            promote("wren", open_store(workdir))
            repository.hint()
            await until(lambda: repository.describe("wren").champion == "2")
        assert await asked(repository, "heron")
        assert repository.describe("wren").loaded == ()  # and gives it back


@on_loop
async def test_a_swap_does_not_make_room_by_dropping_the_one_that_it_replaces(workdir, size):
    add_version(workdir, 3.9)
    load = Loads()
    async with started(workdir, memory=size + size // 2, load=load) as repository:
        await asked(repository, "wren")
        load.go_on.clear()
        promote("wren", open_store(workdir))
        repository.hint()
        await until(lambda: load.count == 2)
        assert repository.ready("wren:1")
        assert await asked(repository, "wren") == ("wren", "1", "champion")
        load.go_on.set()
        await until(lambda: repository.describe("wren").champion == "2")


@on_loop
async def test_requests_during_ten_promotions_and_rollbacks_all_succeed(workdir):
    add_version(workdir, 3.9)
    answered, stop = [], False

    async def reader(repository):
        while not stop:
            async with repository.lease("wren") as lease:
                await asyncio.sleep(0.005)
                assert lease.model.encode("a")
                answered.append(lease.version)

    async with started(workdir, seconds_between_polls=0.05) as repository:
        readers = [asyncio.create_task(reader(repository)) for _ in range(8)]
        for turn in range(10):
            version = str(2 - turn % 2)
            await asyncio.to_thread(set_alias, workdir, "wren", "champion", version)
            await until(lambda version=version: repository.describe("wren").champion == version)
            await until(lambda version=version: answered and answered[-1] == version)
        stop = True
        await asyncio.gather(*readers)
    assert set(answered) == {"1", "2"}


@on_loop
async def test_a_new_version_that_cannot_be_loaded_leaves_the_old_one_serving(workdir, tmp_path, caplog):
    folder = tmp_path / "files"
    number = add_broken(workdir, folder)
    async with started(workdir, seconds_between_polls=0.1) as repository:
        await asked(repository, "wren")
        set_alias(workdir, "wren", "champion", number)
        await until(lambda: "stays champion" in caplog.text)
        assert await asked(repository, "wren") == ("wren", "1", "champion")
        refusal = await refused(repository, f"wren:{number}")
        assert (refusal.status, "missing or damaged" in refusal.message) == (503, True)
        await asyncio.sleep(0.5)
        assert caplog.text.count("stays champion") == 1  # said once, not at every look
        [first] = Registry(open_store(workdir)).head("wren", 1).versions
        shutil.copytree(Registry(open_store(workdir)).files(first).folder, folder)
        await until(lambda: repository.describe("wren").champion == str(number))  # tried again by itself
        assert await asked(repository, "wren") == ("wren", str(number), "champion")


@on_loop
async def test_a_bot_that_is_not_in_memory_falls_back_to_what_served_before(workdir, tmp_path, caplog):
    folder = tmp_path / "files"
    number = add_broken(workdir, folder)
    async with started(workdir, seconds_between_polls=0.1) as repository:
        set_alias(workdir, "wren", "champion", number)
        await until(lambda: repository.describe("wren").champion == str(number))  # nobody has asked yet
        assert await asked(repository, "wren") == ("wren", "1", "champion")
        assert "stays champion" in caplog.text
        await repository.unload("wren")
        await asyncio.sleep(0.5)
        assert repository.describe("wren").champion == "1"  # and not the broken one, each time that nobody asks for a while
        assert await asked(repository, "wren") == ("wren", "1", "champion")
        [first] = Registry(open_store(workdir)).head("wren", 1).versions
        shutil.copytree(Registry(open_store(workdir)).files(first).folder, folder)
        await until(lambda: repository.describe("wren").champion == str(number))
        assert await asked(repository, "wren") == ("wren", str(number), "champion")


# The registry changes, or is away


@on_loop
async def test_a_bot_that_was_forgotten_is_no_longer_served_and_a_new_one_is(workdir):
    async with started(workdir) as repository:
        async with repository.lease("wren") as lease:
            client = Registry(open_store(workdir)).client
            client.delete_registered_model("wren")
            repository.hint()
            await until(lambda: "wren" not in repository.names())
            assert (await refused(repository, "wren")).status == 404
            assert (await refused(repository, "wren:1")).status == 404
            assert lease.model.encode("a")  # who was being answered is
        with pytest.raises(Refusal, match="no bot named 'wren'"):
            repository.describe("wren")
        [heron] = Registry(open_store(workdir)).head("heron", 1).versions
        client.create_registered_model("robin", tags={"mynah.bot": "robin"})
        client.create_model_version("robin", Registry(open_store(workdir)).uri(heron))
        client.set_registered_model_alias("robin", "champion", "1")
        repository.hint()
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
        repository.hint()
        await until(lambda: "wren" not in repository.names())
        load.go_on.set()
        with pytest.raises(Refusal, match="no bot named 'wren'"):
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
        repository.hint()
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
            repository.hint()
            await until(lambda: not repository.ready(f"wren:{number}"))
            assert (await refused(repository, f"wren:{number}")).status == 404
            assert lease.model.encode("a")
            assert repository.nbytes == lease.model.nbytes  # it counts as long as it is there
        assert repository.nbytes == 0


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
        await until(lambda: "the registry is away" in caplog.text)
        await asyncio.sleep(0.5)
        assert await asked(repository, "wren") == ("wren", "1", "champion")
        assert repository.names() == list(BOTS)
        (workdir / "away").rename(workdir / "mlflow.db")
        await until(lambda: "the registry is back" in caplog.text)
        assert caplog.text.count("the registry is away") == 1
        assert await asked(repository, "heron")


@on_loop
async def test_what_a_server_cannot_start_with(workdir, tmp_path):
    with pytest.raises(InputError, match=r"no bot 'wrem'\nDid you mean 'wren'"):
        await aviary(workdir, ["wrem"]).start()
    Registry(open_store(workdir)).client.delete_registered_model_alias("heron", "champion")
    with pytest.raises(InputError, match=r"heron has no champion\n.*mynah promote heron"):
        await aviary(workdir, ["wren", "heron"]).start()
    set_alias(workdir, "heron", "champion", add_broken(workdir, tmp_path / "none", "heron"))
    with pytest.raises(InputError, match="the files of heron version 2 are gone"):
        await aviary(workdir, ["wren", "heron"]).start()
    with pytest.raises(PlatformError, match="--memory"):
        await aviary(workdir, ["wren"], memory=1000).start()
    (workdir / "mlflow.db").write_text("garbage\n" * 100)
    with pytest.raises(PlatformError, match="not a database"):
        await aviary(workdir).start()


@on_loop
async def test_those_that_were_named_are_all_there_is_and_loaded_at_the_start(workdir):
    async with started(workdir, ["wren", "heron"]) as repository:
        assert repository.names() == ["heron", "wren"]
        assert repository.ready("wren")
        assert repository.ready("heron")
        assert (await refused(repository, "dove")).status == 404
        await asked(repository, "wren")


# Champion and challenger


@on_loop
async def test_a_share_of_the_requests_goes_to_the_challenger_and_the_same_key_to_the_same(workdir):
    add_version(workdir, 3.9)
    async with started(workdir, split=0.25) as repository:
        first = {key: await asked(repository, "wren", f"reader {key}") for key in range(400)}
        assert first == {key: await asked(repository, "wren", f"reader {key}") for key in range(400)}
        counts = [alias for _, _, alias in first.values()].count("challenger")
        assert 60 < counts < 140  # four standard deviations about 100
        assert set(first.values()) == {("wren", "1", "champion"), ("wren", "2", "challenger")}
        drawn = [(await asked(repository, "wren"))[1] for _ in range(200)]
        assert 15 < drawn.count("2") < 90  # six, for these are drawn anew at each run
        for address in ("wren@champion", "wren:1", "heron"):
            assert {(await asked(repository, address, f"reader {key}"))[1] for key in range(40)} == {"1"}


@pytest.mark.parametrize("why", ["failed", "broken", "champion", "rolled back"])
@on_loop
async def test_challengers_that_readers_are_not_tried_on(workdir, tmp_path, why):
    if why == "broken":
        set_alias(workdir, "wren", "challenger", add_broken(workdir, tmp_path / "none"))
    else:
        add_version(workdir, 3.9, verdict="failed: loss_gain" if why == "failed" else "passed")
    if why in ("champion", "rolled back"):
        promote("wren", open_store(workdir))
    if why == "rolled back":
        rollback("wren", open_store(workdir))
    async with started(workdir, split=1.0, shadow=1.0) as repository:
        serving = "2" if why == "champion" else "1"
        assert [await asked(repository, "wren") for _ in range(3)] == [("wren", serving, "champion")] * 3
        assert (repository.shadow("wren") is None) == (why != "broken")  # the copy of a request may fail
        if why == "failed":
            assert await asked(repository, "wren@challenger") == ("wren", "2", "challenger")  # who asks for it gets it


@on_loop
async def test_copies_of_requests_for_the_challenger(workdir):
    add_version(workdir, 3.9)
    async with started(workdir, shadow=0.5) as repository:
        copies = [repository.shadow("wren") for _ in range(200)]
        assert set(copies) == {None, "wren@challenger"}
        assert 50 < copies.count(None) < 150
        assert repository.shadow("heron") is None
        assert repository.shadow("nobody") is None
        assert await asked(repository, "wren") == ("wren", "1", "champion")


# What is told of a bot


@on_loop
async def test_what_is_told_of_a_bot(workdir):
    add_version(workdir, 3.9)
    async with started(workdir) as repository:
        info = repository.describe("wren")
        assert (info.name, info.champion, info.challenger, info.previous, info.loaded) == ("wren", "1", "2", "", ())
        files = await repository.files("wren")
        assert ("A bot of ann" in files.card.read_text(), files.picture, repository.describe("wren").loaded) == (True, None, ())
        await repository.load("wren")
        assert repository.describe("wren").loaded == ("1",)
        assert (await repository.files("wren")).card.read_text() == files.card.read_text()
        assert (repository.knows("wren"), repository.knows("wrem")) == (True, False)
        with pytest.raises(Refusal, match="did you mean 'wren'"):
            await repository.files("wrem")


# Bots from folders


@on_loop
async def test_a_bot_from_a_folder(tiny_checkpoint, tmp_path):
    shutil.copytree(tiny_checkpoint, tmp_path / "mnt" / "model")
    (tmp_path / "mnt" / "model" / "README.md").write_text("# wren\n")
    async with Started(Repository(of_folder(tmp_path / "mnt", "wren", "7"), PLENTY)) as repository:
        assert (repository.names(), repository.ready("wren")) == (["wren"], True)
        assert await asked(repository, "wren") == ("wren", "7", "champion")
        assert await asked(repository, "wren:7") == ("wren", "7", "")
        assert (await refused(repository, "wren:8")).message == "wren has no version 8; it has 7"
        assert (await repository.files("wren")).card.read_text() == "# wren\n"
    (tmp_path / "mnt" / "model" / "model.safetensors").write_bytes(b"none")
    with pytest.raises(InputError, match="cannot be read"):
        await Repository(of_folder(tmp_path / "mnt", "wren", "7"), PLENTY).start()


def test_folders_that_are_no_bots(tiny_checkpoint, tmp_path):
    for make, words in (
        (lambda: of_folder(tmp_path, "wren", "1"), "there is no checkpoint in"),
        (lambda: of_folder(tiny_checkpoint, "../a", "1"), "'../a'"),
        (lambda: FolderSource([]), "no bot to serve"),
        (lambda: FolderSource([ServedBot("a", "1", tiny_checkpoint)] * 2), "share a name"),
    ):
        with pytest.raises(InputError, match=words):
            make()


# The command line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--name", "wren"], "--model-dir"),
        (["wren", "--model-dir", "."], "cannot be served at once"),
        (["--model-dir", "."], "there is no checkpoint in"),
        (["--port", "8080", "--grpc-port", "8080"], "Each needs one of its own"),
        (["--keys", "none.txt"], "there is no file none.txt"),
        (["--poll", "nan"], "--poll"),
        (["--memory", "inf"], "--memory"),
        (["--split", "nan"], "--split"),
        (["--host", ""], "no address to bind"),
        (["wren/../heron"], "can't be a bot's name"),
    ],
)
def test_options_that_make_no_sense(mynah, workdir, monkeypatch, tmp_path, arguments, said):
    monkeypatch.chdir(tmp_path)
    code, out, err = mynah("serve", *arguments, "--workdir", workdir)
    assert (code, out) == (2, "")
    assert said in err
    assert "Traceback" not in err


def test_settings_refuse_nonsense():
    for wrong in ({"port": -1}, {"split": 1.5}, {"shadow": float("nan")}, {"memory": 0}, {"most_waiting": True}, {"grace": "5"}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            Settings(**wrong)
    assert Settings().memory > 0
    assert default_memory() < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


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
