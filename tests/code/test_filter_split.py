"""The split into posts to train on and posts held out: equal and similar texts are on one side."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.filter.near_duplicates import THRESHOLD, jaccard, word_pairs
from components.filter.step import FilterSettings, filter_posts
from components.filter.train_test_split import TrainTestSplitter
from mynah.core.errors import InputError
from mynah.data.datasets import read_texts
from mynah.data.posts import Post
from tests.code.filter_inputs import BEGAN, lines, many, post, raw_folder


def sides_of(texts, seed=42, **more):
    sides = TrainTestSplitter(seed, **more)
    for number, text in enumerate(texts):
        sides.add(text, post(text, number=number, created_at=BEGAN + timedelta(hours=number)))
    return sides.held_out()


@given(st.lists(st.text(min_size=1, max_size=3), min_size=2, max_size=60), st.integers(0, 99))
@settings(max_examples=60)
def test_equal_texts_are_on_one_side(texts, seed):
    chosen = sides_of(texts, seed)
    held_out = {texts[number].casefold() for number in chosen}
    assert not held_out & {text.casefold() for number, text in enumerate(texts) if number not in chosen}
    assert sides_of(texts, seed) == chosen


@given(st.integers(0, 9))
@settings(max_examples=5)
def test_near_duplicates_are_on_one_side_when_their_rule_is_off(seed):
    texts = [
        f"Thing {n} happened to me on the way to {place}, and I laughed about it"
        for n in range(120)
        for place in ("work", "work today", "school")
    ]
    texts += [record.text for record in many(200)]
    chosen = sides_of(texts, seed)
    pairs = [word_pairs(text) for text in texts]
    assert 0 < len(chosen) <= 0.1 * len(texts)
    for one in chosen:
        assert not any(jaccard(pairs[one], pairs[other]) >= THRESHOLD for other in range(len(texts)) if other not in chosen)


@pytest.mark.parametrize("rules", ["huggingtweets", "default,-near-duplicates"])
def test_the_same_through_the_files(tmp_path, rules):
    texts = [
        f"Number {n}: the {word} is late again, as it was all of last week, and {n} of us wait"
        for n in range(60)
        for word in ("train", "bus")
    ]
    raw_folder(tmp_path / "raw", [post(text, number=n) for n, text in enumerate(texts)] + many(150, start=1000))
    filter_posts(tmp_path / "raw", tmp_path / "data", FilterSettings(rules))
    train, held_out = (read_texts(tmp_path / "data", part) for part in ("train", "held_out"))
    assert len(train) + len(held_out) == 270
    assert 20 <= len(held_out) <= 27
    for text in held_out:
        assert not any(jaccard(word_pairs(text), word_pairs(other)) >= THRESHOLD for other in train)


def test_most_texts_stay_on_their_side_when_posts_come_and_go():
    texts = [record.text for record in many(400)]
    before = {texts[number] for number in sides_of(texts)}
    less = texts[20:]
    after = {less[number] for number in sides_of(less)}
    assert len(before - after - set(texts[:20])) <= 4
    assert len(after - before) <= 4


def test_a_cluster_larger_than_a_tenth_is_trained_on():
    nearly = [f"We are out of bread, and of milk, and of eggs, and of all else that there was {'!' * n}" for n in range(50)]
    texts = nearly + [record.text for record in many(50)]
    chosen = sides_of(texts)
    assert len(chosen) == 10
    assert min(chosen) >= 50


def test_two_clusters_alone_are_split_between_the_sides():
    texts = [f"We are out of bread, and of milk, and of eggs {'!' * n}" for n in range(20)]
    texts += [f"The train is late again, as it was all week {'!' * n}" for n in range(5)]
    assert sides_of(texts) == set(range(20, 25))
    assert sides_of(texts[:20]) == set()


def test_by_time_holds_the_newest_out_of_each_author(tmp_path):
    posts = [
        Post(each.id, each.author, each.text, BEGAN + timedelta(hours=int(each.id)))
        for each in many(150) + many(150, "bob", 1000)
    ]
    raw_folder(tmp_path / "raw", posts[::-1])
    for rules in ("default,+by-time", "huggingtweets,+by-time"):
        filter_posts(tmp_path / "raw", tmp_path / "data", FilterSettings(rules))
        held_out = sorted(int(record["id"]) for record in lines(tmp_path / "data", "held_out.jsonl"))
        assert held_out == [*range(135, 150), *range(1135, 1150)]


def test_by_time_needs_times(tmp_path):
    raw_folder(tmp_path / "raw", many())
    with pytest.raises(InputError, match=r"the post 0 of ann has no time.*\nLeave"):
        filter_posts(tmp_path / "raw", tmp_path / "data", FilterSettings("default,+by-time"))
    assert not (tmp_path / "data").exists()


def test_a_near_duplicate_names_the_post_that_it_repeats(tmp_path):
    raw_folder(tmp_path / "raw", [*many(), post("@bob Post number 7 says that the weather is finefinefine today!", number=900)])
    filter_posts(tmp_path / "raw", tmp_path / "data", FilterSettings())
    [dropped] = lines(tmp_path / "data", "dropped.jsonl")
    assert (dropped["id"], dropped["reason"], dropped["like"]) == ("900", "near-duplicate", "7")
    assert dropped["text"].startswith("@bob")
