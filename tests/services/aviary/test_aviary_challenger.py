"""The champion's and the challenger's shares of the requests, and copies of requests."""

import pytest
from registry_inputs import add_version

from components.promote.step import promote, rollback
from mynah.tracking.open import open_store
from tests.services.aviary.aviary_repository import add_broken, asked, on_loop, set_alias, started


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
