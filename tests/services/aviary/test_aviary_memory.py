"""Which models are in memory: shared loads, eviction, leases and loads that fail."""

import asyncio

from registry_inputs import add_version

from tests.services.aviary.aviary_repository import Loads, Seen, asked, on_loop, refused, started, until


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
