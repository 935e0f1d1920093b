"""Adapters in the server's memory: their base model is there once, they are evicted by use, and a broken one harms no other."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from mynah.core.errors import InputError
from serving.models.repository import Repository
from serving.models.sources import FolderSource, ServedBot
from tests.model.adapters import BASE_FILE, CONFIG_FILE, WEIGHTS_FILE, make_adapter
from tests.model.small_models import make_small
from tests.services.aviary.aviary_repository import PLENTY, Seen, Started, asked, on_loop, refused

BIRDS = ("wren", "heron", "dove")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_small("llama", tmp_path_factory.mktemp("base") / "base")


def served(folders, memory=PLENTY, eager=(), **options):
    source = FolderSource([ServedBot(name, "1", folder) for name, folder in folders.items()])
    source.eager = eager
    return Started(Repository(source, memory, **options))


@on_loop
async def test_a_base_model_is_counted_once_and_leaves_with_its_last_adapter(base, tmp_path):
    folders = {name: make_adapter(tmp_path / name, base, 4, seed) for seed, name in enumerate(BIRDS)}
    async with served(folders) as repository:
        for name in BIRDS:
            await asked(repository, name)
        async with repository.lease("wren") as wren, repository.lease("heron") as heron:
            assert wren.model.body is heron.model.body
            own, whole = wren.model.own_bytes, wren.model.body.nbytes
        use = repository.memory_use()
        assert (use.bases, use.bases_bytes, use.adapters, use.adapters_bytes) == (1, whole, 3, 3 * own)
        for name in BIRDS:
            await repository.unload(name)
        assert repository.memory_use().total == 0


@on_loop
async def test_adapters_are_evicted_by_use_and_the_base_model_stays(base, tmp_path):
    folders = {name: make_adapter(tmp_path / name, base, 16, seed) for seed, name in enumerate(BIRDS)}
    async with served(folders) as repository, repository.lease("wren") as lease:
        own, whole = lease.model.own_bytes, lease.model.body.nbytes
    seen = Seen()
    async with served(folders, whole + 2 * own + own // 2, observer=seen) as repository:
        for name in ("wren", "heron", "wren", "dove", "wren"):
            await asked(repository, name)
        assert seen.events == [("loaded", "wren"), ("loaded", "heron"), ("evicted", "heron"), ("loaded", "dove")]
        assert repository.memory_use().bases_bytes == whole


def of_another_base(folder):
    record = json.loads((folder / BASE_FILE).read_text())
    (folder / BASE_FILE).write_text(json.dumps(record | {"digest": "0" * 32}))


def with_wrong_shapes(folder):
    change_weights(folder, lambda tensor: tensor[:, :-1].contiguous())


def with_nan(folder):
    change_weights(folder, lambda tensor: torch.full_like(tensor, torch.nan))


def of_rank_0(folder):
    config = json.loads((folder / CONFIG_FILE).read_text())
    (folder / CONFIG_FILE).write_text(json.dumps(config | {"r": 0}))


def beside_full_weights(folder):
    shutil.copy(folder / WEIGHTS_FILE, folder / "model.safetensors")


def cut_off(folder):
    content = (folder / WEIGHTS_FILE).read_bytes()
    (folder / WEIGHTS_FILE).write_bytes(content[: len(content) // 2])


def change_weights(folder, change):
    tensors = load_file(folder / WEIGHTS_FILE)
    name = sorted(tensors)[-1]
    save_file({**tensors, name: change(tensors[name])}, folder / WEIGHTS_FILE)


@pytest.mark.parametrize("spoil", [of_another_base, with_wrong_shapes, with_nan, of_rank_0, beside_full_weights, cut_off])
@on_loop
async def test_a_broken_adapter_is_refused_and_the_others_answer(spoil, base, tmp_path, caplog):
    folders = {name: make_adapter(tmp_path / name, base, 4, seed) for seed, name in enumerate(BIRDS[:2])}
    spoil(folders["heron"])
    async with served(folders) as repository:
        assert await asked(repository, "wren")
        refusal = await refused(repository, "heron")
        assert (refusal.status, "missing or damaged" in refusal.message) == (503, True)
        assert await asked(repository, "wren")
    assert "heron version 1 cannot be loaded" in caplog.text
    assert str(folders["heron"]) in caplog.text  # for who runs the server


@on_loop
async def test_without_its_base_model_an_adapter_that_is_in_memory_answers_and_another_is_refused(tmp_path, caplog):
    base = make_small("llama", tmp_path / "base")
    folders = {name: make_adapter(tmp_path / name, base, 4, seed) for seed, name in enumerate(BIRDS[:2])}
    async with served(folders) as repository:
        assert await asked(repository, "wren")
        shutil.rmtree(base)
        refusal = await refused(repository, "heron")
        assert refusal.status == 503
        assert await asked(repository, "wren")
    assert "not on this machine" in caplog.text


@on_loop
async def test_a_broken_adapter_that_is_to_be_preloaded_ends_the_start(base, tmp_path):
    folder = make_adapter(tmp_path / "wren", base, 4)
    with_nan(folder)
    with pytest.raises(InputError, match="finite"):
        async with served({"wren": folder}, eager=["wren"]):
            pass
