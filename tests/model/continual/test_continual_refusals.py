"""Going on gently, and what is refused: another base model or tokenizer, no new posts, and posts it was not trained on."""

import json
import shutil

import pytest

from components.finetune.continue_training import continue_training, reduced_learning_rate
from components.finetune.derived_settings import derive
from components.finetune.parent_model import ParentModel, parent_from_folder
from mynah.core.errors import InputError
from mynah.data.datasets import read_texts
from mynah.data.posts import read_posts
from mynah.models.architecture import read_architecture
from mynah.models.checkpoint import check_folder
from mynah.training.recipe import Recipe
from tests.model.continual.continued_models import filtered, settings


def test_it_goes_on_gently(champion, tmp_path):
    model = shutil.copytree(champion, tmp_path / "model")
    training = json.loads((model / "training.json").read_text())
    (model / "training.json").write_text(json.dumps({**training, "recipe": {**training["recipe"], "batch_tokens": 1024}}))
    ancestor = ParentModel(model, [], frozenset(), "a model")
    recipe, train = Recipe(epochs=5, weights={"ann": 0.5, "bob": 0.5}), {"ann": ["a few words", "more"], "bob": ["five!"]}
    made = reduced_learning_rate(recipe, ancestor, {"ann": ["more", "seven.."]}, train)
    derived = derive(recipe, read_architecture(check_folder(model), model), 1, None, "fp32")
    assert (made.batch_tokens, derived.batch_tokens, made.epochs) == (1024, 256, 3)
    assert made.learning_rate == pytest.approx(derived.learning_rate * 11 / 20, rel=0.01)
    assert reduced_learning_rate(recipe, ancestor, {"ann": ["more"]}, train).weights == {"ann": 0.5}
    assert reduced_learning_rate(Recipe(batch_tokens=512), ancestor, train, train).batch_tokens == 512


def test_another_base_model_is_refused_with_both_names(champion, long_checkpoint, data, later, tmp_path):
    said = f"was made from wren, and this training run uses the base model {long_checkpoint.name}"
    with pytest.raises(InputError, match=said):
        continue_training(
            later,
            tmp_path / "model",
            settings(long_checkpoint),
            parent_from_folder(champion, data),
            lambda *_: pytest.fail("it trained"),
        )
    assert list(tmp_path.iterdir()) == []


def test_a_base_model_whose_tokenizer_was_changed_is_refused(champion, tiny_checkpoint, data, later, tmp_path):
    base = shutil.copytree(tiny_checkpoint, tmp_path / "base")
    tokenizer = json.loads((base / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    first, second = sorted(vocabulary, key=vocabulary.get)[40:42]
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    (base / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(InputError, match="has another tokenizer than base"):
        continue_training(later, tmp_path / "model", settings(base), parent_from_folder(champion, data))


def test_nothing_new_trains_nothing(champion, tiny_checkpoint, data, tmp_path):
    posts = list(read_posts(data.parent / "raw"))
    fewer = filtered(tmp_path, [post for post in posts if post.text not in read_texts(data, "train")[:7]])
    shutil.copyfile(data / "held_out.jsonl", fewer / "held_out.jsonl")  # else some of the others are now in it
    lines = (data / "train.jsonl").read_text().splitlines(keepends=True)
    (fewer / "train.jsonl").write_text("".join(lines[7:]))
    with pytest.raises(
        InputError, match=r"no post is new to .*, and 7 of its training posts are gone: there is nothing to continue with"
    ):
        continue_training(
            fewer,
            tmp_path / "model",
            settings(tiny_checkpoint),
            parent_from_folder(champion, data),
            lambda *_: pytest.fail("it trained"),
        )
    assert not (tmp_path / "model").exists()


def test_without_a_fair_post_nothing_is_judged(champion, tiny_checkpoint, data, later, tmp_path):
    shutil.copytree(later, tmp_path / "data")
    shutil.copyfile(data / "train.jsonl", tmp_path / "data" / "held_out.jsonl")
    with pytest.raises(InputError, match="was trained on all 450 held-out posts"):
        continue_training(tmp_path / "data", tmp_path / "model", settings(tiny_checkpoint), parent_from_folder(champion, data))


def test_the_posts_named_must_be_those_it_was_trained_on(champion, later, tiny_checkpoint, data):
    with pytest.raises(InputError, match=r"was not trained on .*: train\.jsonl has another digest"):
        parent_from_folder(champion, later)
    with pytest.raises(InputError, match=r"training\.json"):
        parent_from_folder(tiny_checkpoint, data)
