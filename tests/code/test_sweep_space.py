"""What a sweep searches, and how it goes about it: every draw is a recipe, equal searches are equal, nonsense is passed over."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.finetune import derived_settings
from components.sweep.proposals import importances, propose, should_prune
from components.sweep.search_space import ChoiceDimension, recipe_for, space
from components.sweep.settings import SPACES, Sweep
from components.sweep.trial_records import COMPLETED, FAILED, PRUNED, RUNNING, TRIAL_TAG, Trial, _tags, read_trial
from mynah.core.errors import InputError
from mynah.models.architecture import read_architecture
from mynah.training.recipe import EFFORTS, PRESETS, Recipe, build


def gpt2(width, context=1024):
    config = {"model_type": "gpt2", "n_positions": context, "n_embd": width, "n_layer": 4, "n_head": 1, "vocab_size": 4096}
    return read_architecture(config, Path("a model"))


CONFIG = gpt2(192, 256)


def around(name="default", tokens=30_000, config=CONFIG, **changes):
    recipe = build(name, changes)
    return space(name, recipe, derived_settings.derive(recipe, config, tokens, None, "fp32"))


def done(searched, number, loss, state=COMPLETED, **drawn):
    params = {**searched.initial(), **drawn}
    record = searched.recipe_of(params).to_record()
    losses = (loss + 0.2, loss) if isinstance(loss, float) else tuple(loss)
    return Trial(number, state, params, record, record.pop("preset"), losses, 5.0, 1.0)


def test_the_spaces_are_around_the_presets():
    assert set(SPACES) == set(PRESETS)


def test_the_originals_space():
    searched = around("huggingtweets")
    bounds = {each.key: each for each in searched.dimensions}
    assert (bounds["epochs"].low, bounds["epochs"].high) == (1, 10)
    assert bounds["learning_rate"].low == pytest.approx(8.315e-7, rel=1e-3)  # e^-14
    assert bounds["learning_rate"].high == pytest.approx(2.479e-3, rel=1e-3)  # e^-6
    assert set(bounds["schedule"].values) == {"constant", "linear", "cosine"}
    assert bounds["warmup"].values == (0.0, 0.1, 0.2)
    assert bounds["batch_tokens"].values == (1024, 4096, 8192)
    recipe = searched.recipe_of(propose(searched, [], 42, 7))
    assert (recipe.preset, recipe.packing, recipe.dropout, recipe.bf16) == ("huggingtweets", "stream", 0.1, False)


@settings(max_examples=40)
@given(
    st.sampled_from(SPACES), st.sampled_from(tuple(EFFORTS)), st.integers(1, 10**8), st.integers(8, 4096), st.integers(0, 64), st.data()
)  # fmt: skip
def test_every_draw_is_a_recipe_within_its_bounds(name, effort, tokens, width, lora_rank, data):
    config = gpt2(width)
    searched = around(name, tokens, config, effort=effort, lora_rank=lora_rank)
    params = {}
    for each in searched.dimensions:
        found = each.distribution()
        if isinstance(each, ChoiceDimension):
            params[each.key] = data.draw(st.sampled_from(found.choices))
        elif hasattr(each, "log"):
            params[each.key] = data.draw(st.floats(found.low, found.high))
        else:
            params[each.key] = data.draw(st.integers(found.low, found.high))
    recipe = searched.recipe_of(params)
    kept = {key: value for key, value in searched.recipe.to_record().items() if key not in params}
    assert kept.items() <= recipe.to_record().items()
    assert recipe == build(recipe.preset, {key: value for key, value in recipe.to_record().items() if key != "preset"})


@pytest.mark.parametrize("name", SPACES)
def test_the_first_trial_is_the_recipe_itself(name):
    searched = around(name)
    first = searched.recipe_of(propose(searched, [], 42, 1))
    plain = build(name)
    rate = derived_settings.derive(plain, CONFIG, 30_000, None, "fp32")
    assert first == replace(plain, epochs=rate.epochs, learning_rate=rate.learning_rate, batch_tokens=rate.batch_tokens)


def test_what_a_person_sets_stays():
    searched = around(dropout=0.15, learning_rate=3e-4, effort="best")
    assert not {"dropout", "learning_rate"} & {each.key for each in searched.dimensions}
    drawn = [searched.recipe_of(propose(searched, [], 1, number)) for number in range(1, 20)]
    assert {(each.dropout, each.learning_rate, each.patience) for each in drawn} == {(0.15, 3e-4, 3)}
    assert len({each.epochs for each in drawn}) > 3
    with pytest.raises(InputError, match="leaves nothing to search"):
        around("huggingtweets", epochs=2, schedule="linear", warmup=0.3, learning_rate=1e-4, batch_tokens=2048)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Sweep(0), "0 trials\nGive --trials from 1 to 1,000"),
        (lambda: Sweep(10_001), "10001 trials"),
        (lambda: Sweep(3, "defualt"), "no space 'defualt'\nDid you mean 'default'"),
        (lambda: Sweep(3, minutes=-1), "-1 minutes"),
        (lambda: Sweep(3, minutes=float("nan")), "nan minutes"),
        (lambda: recipe_for("hugingtweets", None, None, None, None), "Did you mean 'huggingtweets'"),
        (lambda: space("huggingtweets", Recipe(), Recipe()), "belongs to the preset 'huggingtweets'"),
    ],
)
def test_nonsense_is_refused(make, said):
    with pytest.raises(InputError) as caught:
        make()
    assert said in str(caught.value)


def test_a_space_brings_its_preset_and_a_preset_its_space(tmp_path):
    assert recipe_for("huggingtweets", None, ["epochs=2"], None, None) == build("huggingtweets", {"epochs": 2})
    (tmp_path / "recipe.yaml").write_text("preset: huggingtweets\n")
    assert recipe_for("", tmp_path / "recipe.yaml", None, None, None).preset == "huggingtweets"
    assert recipe_for("", None, None, "quick", None) == build("default", {"effort": "quick"})


@pytest.mark.slow
def test_equal_searches_are_equal_and_learn():
    """A search over a made-up loss finds the valley, and the same one again for the same seed."""

    def searched_losses(seed):
        searched, trials = around(), []
        for number in range(1, 25):
            params = propose(searched, trials, seed, number)
            recipe = searched.recipe_of(params)
            loss = 4.0 + abs(recipe.dropout - 0.2) + 0.1 * abs(recipe.epochs - 6)
            trials.append(done(searched, number, loss, **params))
        return [each.loss for each in trials]

    first, again, other = searched_losses(1), searched_losses(1), searched_losses(2)
    assert first == again != other
    assert min(first) < first[0] - 0.2
    assert sum(first[-8:]) / 8 < sum(first[1:9]) / 8


def test_trials_at_the_same_time_differ():
    searched = around()
    seen = [done(searched, number, 4.6, **propose(searched, [], 1, number)) for number in range(1, 9)]
    running = replace(seen[-1], number=9, state=RUNNING, losses=())
    drawn = [propose(searched, [*seen, running], 1, number) for number in (10, 11)]
    assert drawn[0] != drawn[1]


@pytest.mark.slow
def test_what_failed_is_avoided():
    """Where a high learning rate fails, fewer are drawn than where it does well."""

    def rates(state):
        searched = around()
        seen = []
        for number in range(1, 13):
            params = propose(searched, [], 3, number)
            high = params["learning_rate"] > 1e-3
            seen.append(
                done(
                    searched,
                    number,
                    [] if high and state == FAILED else 4.0 if high else 4.5,
                    state if high else COMPLETED,
                    **params,
                )
            )
        return sum(propose(searched, seen, 3, number)["learning_rate"] > 1e-3 for number in range(13, 43))

    assert rates(FAILED) < rates(COMPLETED)


def test_pruning_looks_at_the_median_of_what_was_completed():
    searched = around()
    seen = [done(searched, number, (4.8, 4.6 + number / 100)) for number in range(1, 6)]
    middle = searched.initial()
    assert should_prune(searched, seen, middle, [5.1, 5.0])
    assert not should_prune(searched, seen, middle, [5.1])  # the first epoch tells too little
    assert not should_prune(searched, seen, middle, [4.9, 4.6])
    assert not should_prune(searched, seen, middle, [4.5, 5.0])  # its best epoch is what would be kept
    assert not should_prune(searched, seen[:3], middle, [5.1, 5.0])  # too few to say
    assert not should_prune(searched, [replace(each, state=PRUNED) for each in seen], middle, [5.1, 5.0])


def test_what_mattered():
    searched = around()
    trials = [
        done(searched, number, 4.0 + (number % 7) / 10, dropout=(number % 7) / 30, warmup=(number % 3) / 20)
        for number in range(1, 22)
    ]
    found = importances(list(searched.initial()), trials)
    assert set(found) == {"dropout", "warmup"}
    assert found["dropout"] > found["warmup"]
    assert sum(found.values()) == pytest.approx(1, abs=0.01)
    assert importances(list(searched.initial()), trials[:19]) == {}


def run_with(**tags):
    return SimpleNamespace(data=SimpleNamespace(tags=tags))


def test_a_trial_comes_back_as_it_was():
    trial = done(around(), 3, 4.512345678901)
    back = read_trial("trial-3", run_with(**_tags(trial)))
    assert back == replace(trial, losses=[4.71235, 4.51235])
    assert back.built() == around().recipe_of(trial.params)
    long = replace(trial, losses=tuple(4.123456789 for _ in range(1000)), cause="x" * 9999)
    assert len(_tags(long)[TRIAL_TAG]) < 5000
    assert read_trial("trial-3", run_with(**_tags(long))).loss == 4.12346


GOOD = json.loads(_tags(done(around(), 3, 4.5))[TRIAL_TAG])


@pytest.mark.parametrize(
    "record",
    [
        "", "{", "[]", "null", "3", '"x"', "[" * 9999, json.dumps({}), {"number": 4}, {"number": "3"}, {"state": "won"}, {"losses": ["low"]},
        {"losses": [float("nan")]}, {"losses": 3}, {"losses": []}, {"seconds": None}, {"params": {"sourdough": 1}}, {"params": 3},
        {"recipe": {"epochs": "many"}}, {"recipe": None}, {"preset": "none"}, {"preset": 3}, {"cause": 3}, {"more": 1}, {"before": "x"},
    ],
)  # fmt: skip
def test_nonsense_in_mlflow_is_no_trial(record):
    text = record if isinstance(record, str) else json.dumps({**GOOD, **record})
    assert read_trial("trial-3", run_with(**{TRIAL_TAG: text})) is None


@pytest.mark.parametrize("name", ["finetune", "trial-", "trial-0", "trial-x", "trial-3.5", "trial-٣", "trial-99999999"])
def test_other_steps_are_no_trials(name):
    assert read_trial(name, run_with(**{TRIAL_TAG: json.dumps(GOOD)})) is None


def test_siblings_of_another_space_are_passed_over():
    searched = around()
    other = done(around("huggingtweets"), 1, 4.0)
    assert propose(searched, [other], 1, 2) == propose(searched, [], 1, 2)
    outside = replace(done(searched, 1, 4.0), params={**searched.initial(), "epochs": 999, "schedule": ["x"]})
    assert propose(searched, [outside], 1, 2) == propose(searched, [], 1, 2)
