"""The recipe refuses nonsense when it is built, and says what would do."""

import math
from pathlib import Path

import pytest

from components.finetune.derived_settings import derive
from mynah.core.errors import InputError
from mynah.models.architecture import read_architecture
from mynah.training.recipe import Recipe, build, read


def test_huggingtweets_is_the_originals():
    recipe = build("huggingtweets")
    assert (recipe.epochs, recipe.learning_rate, recipe.schedule, recipe.batch_tokens) == (4, 1.372e-4, "cosine", 1024)
    assert (recipe.packing, recipe.dropout, recipe.warmup, recipe.weight_decay) == ("stream", 0.1, 0.0, 0.0)
    assert (recipe.patience, recipe.bf16) == (0, False)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"epoch": 3}, "no key 'epoch'\nDid you mean 'epochs'"),
        ({"zzz": 3}, "no key 'zzz'\nUse one of"),
        ({"epochs": 0}, "epochs is 0, and must be from 1"),
        ({"epochs": 4.5}, "epochs is 4.5, and must be a whole number"),
        ({"epochs": True}, "epochs is True, and must be a whole number"),
        ({"epochs": "many"}, "epochs is 'many'"),
        ({"learning_rate": "fast"}, "learning_rate is 'fast', and must be a number"),
        ({"learning_rate": math.nan}, "learning_rate is nan"),
        ({"learning_rate": math.inf}, "learning_rate is inf"),
        ({"learning_rate": -1.0}, "learning_rate is -1.0"),
        ({"learning_rate": None}, "learning_rate is None"),
        ({"schedule": "cosin"}, "no schedule 'cosin'\nDid you mean 'cosine'"),
        ({"bf16": "yes"}, "bf16 is 'yes', and must be true or false"),
        ({"packing": "post"}, "no packing 'post'\nDid you mean 'posts'"),
        ({"effort": "bst"}, "no effort 'bst'\nDid you mean 'best'"),
        ({"effort": 3}, "no effort 3"),
        ({"batch_tokens": 8}, "batch_tokens is 8, and must be from 16"),
        ({"weights": 3}, "weights is 3, and must be names with numbers"),
        ({"weights": {"ann": 1.5}}, "the weight of 'ann' is 1.5, and must be from 0 to 1"),
        ({"weights": {"ann": "half"}}, "the weight of 'ann' is 'half'"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_nonsense_is_refused(changes, said):
    with pytest.raises(InputError) as caught:
        build("default", changes)
    assert said in str(caught.value)


def test_unknown_preset():
    with pytest.raises(InputError, match=r"no preset 'huggingtweet'\nDid you mean 'huggingtweets'"):
        build("huggingtweet")


def test_numbers_in_the_forms_they_come_in():
    # YAML reads 1e-4 as text; Kubeflow gives every number as a fraction.
    assert build("default", {"learning_rate": "1e-4", "epochs": 4.0, "dropout": 0}) == Recipe(
        learning_rate=1e-4, epochs=4, dropout=0.0
    )


def test_a_file_and_sets(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("preset: huggingtweets\nepochs: 2\nlearning_rate: 1e-3\n")
    recipe = read(path, ["epochs=3", "schedule = linear"])
    found = (recipe.preset, recipe.epochs, recipe.learning_rate, recipe.schedule, recipe.batch_tokens)
    assert found == ("huggingtweets", 3, 1e-3, "linear", 1024)
    assert read(None, ["preset=huggingtweets"]) == build("huggingtweets")
    assert read(None) == Recipe()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epochs: [", "not valid YAML"),
        ("- 1\n", "no `key: value` lines"),
        ("", "no `key: value` lines"),
        ("preset: 3\n", "no preset '3'"),
        ("1: 2\n", "no `key: value` lines"),
        ("!!python/object/apply:os.system ['true']\n", "not valid YAML"),
    ],
)
def test_a_file_that_is_no_recipe(tmp_path, text, said):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        read(path)


def test_a_missing_file_and_a_set_without_value(tmp_path):
    with pytest.raises(InputError, match=r"none\.yaml cannot be read"):
        read(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="takes key=value, and got 'epochs'"):
        read(None, ["epochs"])


def test_a_recipe_survives_its_record():
    recipe = build("huggingtweets", {"seed": 7})
    record = recipe.to_record()
    assert build(record.pop("preset"), record) == recipe


@pytest.mark.slow
@pytest.mark.parametrize("value", ["2001-13-01", "9" * 5000, "[" * 100_000, "9" * 400, ".nan", "-.inf"])
@pytest.mark.parametrize("key", ["epochs", "learning_rate"])
def test_values_that_trip_yaml_or_floats(tmp_path, key, value):
    with pytest.raises(InputError):
        read(None, [f"{key}={value}"])
    (tmp_path / "recipe.yaml").write_text(f"{key}: {value}\n")
    with pytest.raises(InputError):
        read(tmp_path / "recipe.yaml")


def test_quoted_numbers_are_numbers_and_half_an_epoch_is_none():
    assert read(None, ['epochs="2"', 'learning_rate="2e-4"']) == Recipe(epochs=2, learning_rate=2e-4)
    with pytest.raises(InputError, match=r"epochs is '2\.5'"):
        read(None, ['epochs="2.5"'])


def test_a_record_never_names_a_preset_that_it_does_not_follow():
    with pytest.raises(InputError, match="the preset is 'default' and 'huggingtweets'"):
        build("default", {"preset": "huggingtweets"})


SMALL = read_architecture({"model_type": "gpt2", "n_embd": 192, "n_layer": 6}, Path("a model"))
LARGE = read_architecture({"model_type": "gpt2"}, Path("a model"))


def epochs(recipe, architecture):
    return derive(recipe, architecture, 30_000, None, "fp32").epochs


def test_an_effort_is_a_dial_and_what_is_set_wins():
    quick, standard, best = (read(None, [], effort) for effort in ("quick", "standard", "best"))
    for architecture in (SMALL, LARGE):
        assert 0 < epochs(quick, architecture) < epochs(standard, architecture) < epochs(best, architecture)
    assert epochs(best, LARGE) < epochs(best, SMALL)  # a large one learns most in its first epoch
    assert quick.patience == 0 < standard.patience <= best.patience
    assert standard == Recipe()
    assert read(None, ["epochs=7"], "best").epochs == epochs(read(None, ["epochs=7"], "best"), SMALL) == 7
    assert read(None, ["effort=best"]) == best
    with pytest.raises(InputError, match="no effort 'bets'"):
        read(None, [], "bets")


def test_weights_of_authors(tmp_path):
    (tmp_path / "recipe.yaml").write_text("weights: {ann: 0.2, bob: .3}\n")
    assert read(tmp_path / "recipe.yaml", [], "", ["@ann=0.5"]).weights == {"ann": 0.5, "bob": 0.3}
    assert read(None, ["weights={ann: 1}"]).weights == {"ann": 1.0}
    for wrong in ("ann", "=1", "@=1", "ann=2", "ann=x", "ann=[", "ann="):
        with pytest.raises(InputError, match="weight"):
            read(None, [], "", [wrong])
    recipe = read(None, [], "", ["ann=0.7"])
    assert read(None, [f"{key}={value}" for key, value in recipe.to_record().items()]) == recipe  # as MLflow keeps it


def test_what_is_to_be_derived_is_not_known():
    assert "learning_rate" not in Recipe().to_record()
    assert build("default", {"learning_rate": 1e-3}).to_record()["learning_rate"] == 1e-3
    assert Recipe().to_record()["warmup"] == 0.05
    assert build("default", {"warmup": 0}).to_record()["warmup"] == 0.0
