"""The order of words: worth as much in an author's other posts, nothing in word salad, and left out where it cannot be told."""

import random

import pytest

from components.evaluate.word_order import TEXTS, word_order
from mynah.data.datasets import read_texts
from mynah.models import checkpoint
from mynah.models.base_models import FLEDGLING_FOLDER


@pytest.fixture(scope="module")
def base():
    return checkpoint.load(FLEDGLING_FOLDER)


@pytest.fixture(scope="module")
def posts(author):
    return read_texts(author, "train")[:60]


@pytest.fixture(scope="module")
def held_out(author):
    return read_texts(author, "held_out")


def test_sentences_of_the_same_author(base, posts, held_out):
    found = word_order(base, posts, held_out, 1)
    assert 0.7 < found.share < 1.4
    assert found.author_gain > 2
    assert len(found.samples) == TEXTS
    assert word_order(base, posts, held_out, 1) == found


def test_words_in_random_order(base, posts, held_out):
    rng, vocabulary = random.Random(2), " ".join(posts).split()
    salad = [" ".join(rng.choices(vocabulary, k=12)) for _ in range(30)]
    assert word_order(base, salad, held_out, 1).share < 0.2


def test_the_samples_without_order_come_first(base, posts, held_out):
    salad = " ".join(random.Random(3).sample(" ".join(posts).split(), 14))
    found = word_order(base, [*posts[:TEXTS], *[salad] * TEXTS], held_out, 1)
    assert found.samples[0] == salad
    assert found.samples[-1] != salad


def test_where_it_cannot_be_told(base, posts, held_out, tiny_checkpoint):
    assert word_order(base, ["one two three"] * 30, held_out, 1) is None
    assert word_order(base, posts, posts[:7], 1) is None
    assert word_order(base, posts, ["今日は良い天気ですね。"] * 30, 1) is None
    assert word_order(base, posts, ["word " * 9] * 30, 1) is None  # any order is the same
    assert word_order(checkpoint.load(tiny_checkpoint), posts, held_out, 1) is None  # random weights
