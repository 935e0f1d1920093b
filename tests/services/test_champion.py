"""The champion that an evaluation compares with, as a real MLflow store has it."""

import shutil

import pytest
from registry_inputs import make_outputs, register_all

from components.evaluate.champion_comparison import registry_champion
from mynah.data.datasets import read_texts
from mynah.data.text_digests import key
from mynah.models import checkpoint
from mynah.registry.registry import Registry
from mynah.tracking.open import open_store


@pytest.fixture(scope="module")
def bots(tmp_path_factory, tiny_checkpoint):
    """Folders of wren, promoted, and of lark, which has no champion, in one work folder."""
    folder = tmp_path_factory.mktemp("champion")
    register_all({"wren": make_outputs(folder / "wren", tiny_checkpoint)}, folder / "work")
    register_all({"lark": make_outputs(folder / "lark", tiny_checkpoint)}, folder / "work", promoted=False)
    return folder


def test_the_champion_knows_what_it_was_trained_on(bots):
    found = registry_champion("wren", open_store(bots / "work"))
    assert found.label == "version 1 of wren"
    assert found.knows == frozenset(map(key, read_texts(bots / "wren" / "data", "train")))
    assert checkpoint.load(found.folder).context == 64


@pytest.mark.parametrize("name", ["lark", "robin"])
def test_a_bot_without_a_champion_and_one_that_is_new(bots, name, capsys):
    assert registry_champion(name, open_store(bots / "work")) is None
    assert capsys.readouterr().err == ""


def test_a_champion_whose_files_are_gone_is_left_out_with_a_warning(bots, capsys):
    store = open_store(bots / "work")
    registry = Registry(store)
    files = registry.uri(registry.bot("wren").champion).removeprefix("file://")
    shutil.move(files, f"{files}-away")
    try:
        assert registry_champion("wren", store) is None
    finally:
        shutil.move(f"{files}-away", files)
    assert (
        "warning: the champion, version 1 of wren, is excluded from the evaluation: the files of wren version 1 are gone"
        in capsys.readouterr().err
    )
