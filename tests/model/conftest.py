"""Tiny data, and a tiny real base model, for tests that train."""

import pytest

from components.filter.step import FilterSettings, filter_posts
from mynah.data.posts import Post, write_posts
from tests.conftest import made_once

SUBJECTS = ("The bird", "A queen", "My neighbour", "The sea", "Every morning the cat")
VERBS = ("sings to", "listens to", "writes about", "forgets", "dreams of")
OBJECTS = ("the rain", "an old garden", "the moon", "a letter from home", "nothing at all")
ENDINGS = ("today.", "again and again.", "when nobody looks.", "in the winter.")


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """500 posts of an author with a narrow style, filtered."""
    folder = tmp_path_factory.mktemp("data")
    texts = [f"{s} {v} {o} {e}" for s in SUBJECTS for v in VERBS for o in OBJECTS for e in ENDINGS]
    (folder / "raw").mkdir()
    write_posts(folder / "raw", [Post(str(number), "ann", text) for number, text in enumerate(texts)])
    filter_posts(folder / "raw", folder / "data", FilterSettings("default,-near-duplicates"))
    return folder / "data"


@pytest.fixture(scope="session")
def author(tmp_path_factory):
    """The bundled author's posts, filtered: 540 to train on, 60 held out."""
    from components.fetch.step import fetch

    folder = tmp_path_factory.mktemp("author")
    fetch(["sample"], folder / "raw", 600)
    filter_posts(folder / "raw", folder / "data", FilterSettings())
    return folder / "data"


@pytest.fixture(scope="session")
def sound(author, tmp_path_factory):
    """A bot as people make it: the bundled base model, trained for two epochs on the bundled author."""
    from components.finetune.settings import FinetuneSettings
    from components.finetune.step import finetune
    from mynah.training.recipe import build

    settings = FinetuneSettings("fledgling", build("default", {"epochs": 2, "patience": 0}))
    return made_once(tmp_path_factory, "sound", lambda out: finetune(author, out, settings))


@pytest.fixture(scope="module")
def fledgling():
    """The bundled base model, as the server has it in memory."""
    from mynah.decoding.model import load_model
    from mynah.models.base_models import FLEDGLING, resolve

    return load_model(resolve(FLEDGLING).folder)
