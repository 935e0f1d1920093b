"""Promotions and rollbacks under way: requests go on, and a version that cannot be loaded replaces none."""

import asyncio
import shutil

from registry_inputs import add_version

from components.promote.step import promote, rollback
from mynah.registry.registry import Registry
from mynah.tracking.open import open_store
from tests.services.aviary.aviary_repository import Loads, Seen, add_broken, asked, on_loop, refused, set_alias, started, until


@on_loop
async def test_a_promotion_is_not_noticed_by_those_who_are_answered(workdir):
    add_version(workdir, 3.9)
    load, seen = Loads(), Seen()
    async with started(workdir, load=load, observer=seen) as repository:
        async with repository.lease("wren") as old:
            load.go_on.clear()
            promote("wren", open_store(workdir))
            repository.poll_now()
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
        repository.poll_now()
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
            repository.poll_now()
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
        repository.poll_now()
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
