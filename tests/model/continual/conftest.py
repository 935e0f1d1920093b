"""A champion, the author's later posts, and the model that went on with them."""

import pytest

from components.finetune.continue_training import continue_training
from components.finetune.parent_model import parent_from_folder
from components.finetune.settings import FinetuneSettings
from components.finetune.step import finetune
from mynah.data.posts import Post, read_posts
from mynah.training.recipe import build
from tests.model.continual.continued_models import RECIPE, TRAINS, filtered, settings


@pytest.fixture(scope="session")
def champion(tiny_checkpoint, data, tmp_path_factory):
    """A model of the narrow style."""
    out = tmp_path_factory.mktemp("champion") / "model"
    finetune(data, out, FinetuneSettings(str(tiny_checkpoint), build("default", RECIPE)))
    return out


@pytest.fixture(scope="session")
def later(data, tmp_path_factory):
    """The same author's posts and 180 of another style."""
    posts = [Post(f"train-{number}", "ann", text) for number, text in enumerate(TRAINS)]
    return filtered(tmp_path_factory.mktemp("later"), [*read_posts(data.parent / "raw"), *posts])


@pytest.fixture(scope="session")
def went_on(champion, tiny_checkpoint, data, later, tmp_path_factory):
    """What the step returned, its output folder and its progress. In one epoch starting over comes not as far."""
    out = tmp_path_factory.mktemp("went-on") / "model"
    steps = []
    short = settings(tiny_checkpoint, epochs=1)
    return (
        continue_training(
            later, out, short, parent_from_folder(champion, data), lambda step, metrics: steps.append((step, metrics))
        ),
        out,
        steps,
    )
