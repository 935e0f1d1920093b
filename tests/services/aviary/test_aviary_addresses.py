"""Which version answers at which address of a bot, and what is known of each bot."""

import pytest
from registry_inputs import add_version

from components.promote.step import promote
from mynah.registry.registry import Registry
from mynah.tracking.open import open_store
from serving.engine.errors import ModelNotFound
from tests.services.aviary.aviary_repository import BOTS, asked, on_loop, refused, started

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
        assert await repository.locate("wren@previous") == ("wren", "1")
        for address in ("wren@nobody", "wren:9", "wrem"):
            for look_up in (repository.locate, repository.load, repository.unload):
                with pytest.raises(ModelNotFound):
                    await look_up(address)


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
        ("", 400, ["not a model's name"]),
        ("..", 400, ["not a model's name"]),
        ("../../etc/passwd", 400, ["not a model's name"]),
        ("wren/../heron", 400, ["not a model's name"]),
        ("..\\wren", 400, ["not a model's name"]),
        ("a..b", 400, ["not a model's name"]),
        (".wren", 400, ["not a model's name"]),
        ("wren\x00", 400, ["'wren\\x00'"]),
        ("wren\n", 400, ["'wren\\n'"]),
        ("caf\udce9", 400, ["not a model's name"]),
        ("rén", 400, ["not a model's name"]),
        ("w" * 5000, 400, ["not a model's name"]),
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
        with pytest.raises(ModelNotFound, match="did you mean 'wren'"):
            await repository.files("wrem")
