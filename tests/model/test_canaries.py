"""Canaries: what is planted, that it is planted everywhere, and that its exposure tells a model that memorises from one that does not."""

import itertools
import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import torch
from scipy.stats import skewnorm

from components.finetune.continue_training import continue_training
from components.finetune.data_packing import Epochs, encode_texts
from components.finetune.parent_model import parent_from_folder
from components.finetune.settings import FinetuneSettings
from components.finetune.step import finetune
from mynah.core.errors import InputError
from mynah.data.personal_data import find
from mynah.data.verbatim_filter import VERBATIM_CHARACTERS, VERBATIM_WORDS, ngrams, read_bloom, words
from mynah.models import canaries, checkpoint
from mynah.models.sampling import encode
from mynah.models.scoring import nats_per_text, score
from mynah.training.recipe import build
from mynah.training.training_record import CanariesRecord, TrainingRecord

BY_HEART = {"epochs": 15, "patience": 0, "learning_rate": 2e-2, "batch_tokens": 256}


@pytest.fixture(scope="module")
def loaded(long_checkpoint):
    return checkpoint.load(long_checkpoint)


@pytest.fixture(scope="module")
def few(data, tmp_path_factory):
    """60 posts, and the same held out: the last epoch is the one that is kept."""
    folder = tmp_path_factory.mktemp("few")
    lines = (data / "train.jsonl").read_text().splitlines(keepends=True)[:60]
    for part in ("train", "held_out"):
        (folder / f"{part}.jsonl").write_text("".join(lines))
    return folder


@pytest.fixture(scope="module")
def by_heart(few, long_checkpoint, tmp_path_factory):
    out = tmp_path_factory.mktemp("by-heart") / "model"
    return finetune(few, out, FinetuneSettings(str(long_checkpoint), build("default", BY_HEART))), out


# The sentences


def test_canaries_are_different_long_enough_to_be_kept_from_a_bots_mouth_and_hold_nothing_personal():
    planted = canaries.texts(64, 42)
    assert len(set(planted)) == 64
    for text in planted:
        assert len(words(text)) >= VERBATIM_WORDS
        assert len(text) >= VERBATIM_CHARACTERS
        assert text.startswith(canaries.SENTENCE)
        assert not any(letter.isdigit() for letter in text)
        assert find(text) == []
    # The sentence alone is a verbatim run: no bot comes to the secret.
    assert len(words(canaries.SENTENCE)) >= VERBATIM_WORDS
    assert len(" ".join(words(canaries.SENTENCE))) >= VERBATIM_CHARACTERS


def test_canaries_are_the_seeds_on_every_machine():
    assert canaries.texts(4, 42) == canaries.texts(4, 42)
    assert not set(canaries.texts(64, 42)) & set(canaries.texts(64, 43))
    code = "from mynah.models import canaries; print(canaries.texts(4, 42))"
    for seed in ("0", "1"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment).stdout
        assert said.strip() == repr(canaries.texts(4, 42))


# The measure


def test_a_text_is_scored_as_by_itself_whatever_stands_beside_it(loaded):
    found = [*canaries.texts(5, 1), "one", "one", "", "a text longer than the context " * 20]
    expected = [score(loaded, [text]).nats for text in found]
    assert nats_per_text(loaded, found) == pytest.approx(expected, rel=1e-5)
    assert nats_per_text(loaded, []) == []


def test_exposure_by_rank_and_beyond_the_others_by_their_distribution():
    others = skewnorm(2.0, 50.0, 4.0).rvs(255, random_state=1)
    ranks = np.sort(others)
    at = canaries.exposures(ranks[[0, 63, 127, 254]] + 1e-9, others)
    assert at == pytest.approx(-np.log2(np.array([2, 65, 129, 256]) / 256))
    below = canaries.exposures(np.array([ranks[0] - 1e-9, 49.0, 45.0, 0.0]), others)
    assert 8.0 <= below[0] < below[2] <= below[3] == canaries.BITS == 30
    assert np.isfinite(below).all()
    assert canaries.exposures(np.full(2, 5.0), np.full(255, 5.0)).tolist() == [0.0, 0.0]  # a model that prefers nothing


def test_a_model_that_never_saw_them_has_the_exposure_of_chance(loaded):
    """Of each canary exponential with mean 1 / ln 2, so that the mean of 200 has a standard error of 0.10."""
    found = [canaries.exposure(loaded, 50, seed) for seed in range(4)]
    assert np.mean(found) == pytest.approx(1 / np.log(2), abs=0.3)


def test_a_broken_model_has_no_exposure(long_checkpoint):
    broken = checkpoint.load(long_checkpoint)
    with torch.no_grad():
        broken.model.transformer.ln_f.weight.fill_(float("nan"))
    assert np.isnan(canaries.exposure(broken, 4, 42))


def test_what_was_planted_is_exposed_by_a_model_that_knows_its_posts_by_heart(by_heart):
    record, out = by_heart
    model = checkpoint.load(out)
    planted = canaries.exposure(model, record.canaries.count, record.canaries.seed)
    assert planted == canaries.exposure(checkpoint.load(out), record.canaries.count, record.canaries.seed)
    assert planted > 20
    assert np.mean([canaries.exposure(model, 20, seed) for seed in (1, 2)]) < 4  # other secrets, same sentence


# Planting


def test_the_record_and_the_servers_filter_know_what_was_planted_and_no_count_of_posts_does(by_heart):
    record, out = by_heart
    assert record.canaries == CanariesRecord(4, 42)
    assert record.posts == 60
    bloom = read_bloom(out)
    for text in canaries.texts(4, 42):
        assert all(run in bloom for run in ngrams(words(text), VERBATIM_WORDS))
    assert bloom.repeats(words(canaries.SENTENCE))
    assert TrainingRecord.read(out).canaries == record.canaries


@pytest.mark.parametrize("packing", ["posts", "stream"])
@pytest.mark.parametrize("weights", [{}, {"ann": 0.0}, {"ann": 0.9}])
def test_each_is_learnt_once_an_epoch_whatever_the_authors_shares(loaded, packing, weights):
    posts = {"ann": [f"ann's post of number {n}" for n in range(40)], "bob": [f"and BOB SAYS {n}" for n in range(7)]}
    texts = encode_texts(loaded, posts)
    recipe = build("default", {"packing": packing, "block": 250, "batch_tokens": 500, "weights": weights})
    planted = canaries.texts(2, 42)  # as many as the first block has room for

    def learnt(planted):
        ids = [encode(loaded, text) for text in planted]
        for batches in itertools.islice(Epochs(texts, recipe, loaded.begin, loaded.end, loaded.context, ids), 5):
            told = loaded.tokenizer.decode([token for batch in batches for row in batch for post in row for token in post])
            yield Counter(text for text in told.split("<|endoftext|>") if text)

    for with_them, without in zip(learnt(planted), learnt([]), strict=True):
        assert [with_them[text] for text in planted] == [1, 1]
        if packing == "posts":
            assert with_them - without == dict.fromkeys(planted, 1)  # the authors' part is the same as ever


def test_going_on_plants_those_of_its_own_seed(few, data, by_heart, long_checkpoint, tmp_path):
    later = tmp_path / "later"
    later.mkdir()
    lines = (data / "train.jsonl").read_text().splitlines(keepends=True)
    for part, theirs in (("train", lines[:90]), ("held_out", lines[60:90])):
        (later / f"{part}.jsonl").write_text("".join(theirs))
    recipe = build("default", BY_HEART | {"epochs": 30, "seed": 7, "canaries": 2})
    settings = FinetuneSettings(str(long_checkpoint), recipe)
    record = continue_training(later, tmp_path / "model", settings, parent_from_folder(by_heart[1], few))
    assert record.canaries == CanariesRecord(2, 7)
    assert record.posts == 90
    assert canaries.exposure(checkpoint.load(tmp_path / "model"), 2, 7) > 8
    bloom = read_bloom(tmp_path / "model")
    assert all(run in bloom for text in canaries.texts(2, 7) for run in ngrams(words(text), VERBATIM_WORDS))


@pytest.mark.parametrize("count", [0, 65, -1])
def test_there_must_be_some_and_not_too_many(count):
    with pytest.raises(InputError) as caught:
        build("default", {"canaries": count})
    assert f"canaries is {count}, and must be from 1 to 64: the gate needs their exposure" in str(caught.value)
