"""What a server starts with: named bots, bots from folders, and options that make no sense."""

import os
import shutil

import pytest

from mynah.core.errors import InputError, PlatformError
from mynah.registry.registry import Registry
from mynah.tracking.open import open_store
from pipelines.cli.serve import of_folder
from serving.config import Settings, default_memory
from serving.models.repository import Repository
from serving.models.sources import FolderSource, ServedBot
from tests.services.aviary.aviary_repository import (
    PLENTY,
    Started,
    add_broken,
    asked,
    aviary,
    on_loop,
    refused,
    set_alias,
    started,
)


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
        (lambda: of_folder(tiny_checkpoint, "wren", "3/é"), "'3/é' can't be a version"),
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
        (["--port", "8080", "--grpc-port", "8080"], "Name a different port for each"),
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
