"""Rows and batches: every text has its turn, authors get their share, and no post sees another."""

import itertools
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from components.finetune.data_packing import (
    Epochs,
    Text,
    encode_texts,
    pack,
    predicted_tokens,
    shares,
    split_into_batches,
    stream,
)
from components.finetune.derived_settings import derive
from components.finetune.forward import TrainingForward, collate
from mynah.core.errors import InputError
from mynah.models import checkpoint
from mynah.models.scoring import IGNORED, token_rows, total_nats
from mynah.training.recipe import build


@pytest.fixture(scope="module")
def loaded(tiny_checkpoint):
    return checkpoint.load(tiny_checkpoint)


def recipe(**changes):
    return build("default", {"block": 64, "batch_tokens": 256, "micro_batch_tokens": 256, **changes})


posts = st.lists(st.lists(st.integers(1, 90), min_size=2, max_size=200), min_size=1, max_size=60)


@settings(max_examples=100)
@given(posts, st.integers(1, 128))
def test_packed_rows_hold_every_post_once_and_are_few(found, block):
    packed = pack(found, block)
    assert Counter(map(tuple, found)) == Counter(tuple(post) for row in packed for post in row)
    for row in packed:
        assert predicted_tokens([row]) <= block or len(row) == 1
    halves = sum(predicted_tokens([row]) * 2 <= block for row in packed)
    assert halves <= 1  # else the two would have been one


@settings(max_examples=100)
@given(st.lists(st.integers(), min_size=1, max_size=50), st.integers(1, 60))
def test_batches_are_as_many_as_asked_and_alike(numbers, steps):
    batches = split_into_batches([[[number]] for number in numbers], steps)
    sizes = [len(batch) for batch in batches]
    assert len(batches) == steps
    assert min(sizes) >= 1
    assert max(sizes) - min(sizes) <= 1
    assert {post[0] for batch in batches for row in batch for post in row} == set(numbers)


texts = st.lists(st.text(alphabet="abcdefg hij.", min_size=1, max_size=400), min_size=1, max_size=12)


@settings(max_examples=30)
@given(texts, st.integers(16, 512), st.integers(0, 9))
def test_every_token_is_predicted_once_an_epoch(loaded, found, batch_tokens, seed):
    encoded = encode_texts(loaded, {"ann": found})
    epochs = Epochs(encoded, recipe(batch_tokens=batch_tokens, seed=seed), loaded.begin, loaded.end, loaded.context)
    for epoch in itertools.islice(epochs, 3):
        assert len(epoch) == epochs.steps
        learnt = [post for batch in epoch for row in batch for post in row]
        assert sorted(learnt) == sorted(token_rows(loaded, found))
        assert max(map(len, learnt)) <= loaded.context


def test_epochs_differ_and_seeds_repeat(loaded):
    encoded = encode_texts(loaded, {"ann": [f"post number {n}" for n in range(40)]})
    for packing in ("posts", "stream"):
        same = recipe(packing=packing)
        one, two = itertools.islice(Epochs(encoded, same, loaded.begin, loaded.end, loaded.context), 2)
        assert one != two
        assert next(iter(Epochs(encoded, same, loaded.begin, loaded.end, loaded.context))) == one
        other = recipe(packing=packing, seed=7)
        assert next(iter(Epochs(encoded, other, loaded.begin, loaded.end, loaded.context))) != one


def test_the_originals_blocks_hold_posts_end_to_end(loaded):
    ids = [text.ids for text in encode_texts(loaded, {"ann": [f"post number {n}" for n in range(40)]})["ann"]]
    blocks = stream(ids, loaded.end, 64)
    assert {len(row[0]) for row in blocks} == {64}
    found = loaded.tokenizer.decode([token for row in blocks for token in row[0]]).split("<|endoftext|>")
    assert found[0] == ""
    assert all(text.startswith("post number ") for text in found[1:-1])
    assert len(stream(ids[:1], loaded.end, 64)) == 1  # shorter than a block, and all there is


authors = st.dictionaries(
    st.sampled_from(["ann", "bob", "cat"]), st.lists(st.integers(1, 300), min_size=1, max_size=30), min_size=1
)  # fmt: skip


@settings(max_examples=100)
@given(authors, st.data())
def test_authors_give_their_share_of_the_characters_epoch_after_epoch(lengths, data):
    weights = {author: data.draw(st.floats(0.01, 0.3)) for author in lengths if data.draw(st.booleans())}
    texts = {author: [Text(length, [number]) for number, length in enumerate(theirs)] for author, theirs in lengths.items()}
    characters = {author: [text.characters for text in theirs] for author, theirs in texts.items()}
    wanted = shares(list(texts), weights)
    assert sum(wanted.values()) == pytest.approx(1)
    marked = {author: [Text(text.characters, [author, *text.ids]) for text in theirs] for author, theirs in texts.items()}
    epochs = Epochs(marked, recipe(weights=weights), 0, 0, 64)
    given_to = Counter()
    seen = {author: Counter() for author in texts}
    total = sum(map(sum, characters.values()))
    for number, drawn in enumerate(itertools.islice(epochs._sampled_texts(), 6), 1):
        for author, place in drawn:
            given_to[author] += characters[author][place]
            seen[author][place] += 1
        for author, theirs in characters.items():
            assert abs(given_to[author] - wanted[author] * total * number) <= max(theirs) + 1
    for author, times in seen.items():
        if len(times) == len(characters[author]):
            assert max(times.values()) - min(times.values()) <= 1  # nobody's second turn before another's first


@pytest.mark.parametrize(
    ("weights", "said"),
    [({"anne": 0.5}, "names 'anne', who has no posts here\nDid you mean 'ann'"),
     ({"ann": 0.8, "bob": 0.7}, "add up to 1.5, and leave nothing for cat"),
     ({"ann": 0.0, "bob": 0.0, "cat": 0.0}, "all authors have the weight 0")],
)  # fmt: skip
def test_weights_that_cannot_be(weights, said):
    with pytest.raises(InputError) as caught:
        shares(["ann", "bob", "cat"], weights)
    assert said in str(caught.value)


def test_weights_of_all_authors_are_a_ratio():
    assert shares(["ann", "bob"], {"ann": 0.2, "bob": 0.1}) == pytest.approx({"ann": 2 / 3, "bob": 1 / 3})
    assert shares(["ann", "bob", "cat"], {"ann": 0.5}) == pytest.approx({"ann": 0.5, "bob": 0.25, "cat": 0.25})


def test_a_post_in_a_row_is_learnt_as_if_it_were_alone(loaded):
    """The loss of packed rows is that of each post by itself: no post attends to another, and positions begin anew."""
    found = token_rows(loaded, [f"My neighbour {n} listens to the rain" for n in range(9)] + ["x", "a much longer text " * 5])
    packed = pack(found, 64)
    assert max(map(len, packed)) > 1
    expected = total_nats(loaded, found)
    objective = TrainingForward(loaded, derive(recipe(), loaded.architecture, 500, None, "fp32"), bf16=False)
    with torch.no_grad():
        assert objective.nats(packed).item() == pytest.approx(expected, rel=1e-5)
        # SDPA, as on a GPU, sees the same
        loaded.model.set_attn_implementation("sdpa")
        objective._written_out = False
        assert objective.nats(packed).item() == pytest.approx(expected, rel=1e-5)


def test_collated_rows():
    inputs = collate([[[0, 5, 6, 0], [0, 7, 0]], [[0, 8, 0]]], 0, 8)
    assert inputs.ids.tolist() == [[0, 5, 6, 0, 7, 0, 0, 0], [0, 8, 0, 0, 0, 0, 0, 0]]
    assert inputs.targets[0].tolist() == [5, 6, 0, 7, 0, *[IGNORED] * 3]
    assert inputs.positions[0].tolist()[:5] == [0, 1, 2, 0, 1]
    together = inputs.attention_allowed[0, 0]
    assert together[2].tolist() == [True, True, True, *[False] * 5]
    assert together[4].tolist() == [False, False, False, True, True, False, False, False]
    assert together.any(-1).all()  # padding sees itself: a row of nothing would be no number
    assert collate([[[0, 5, 0]]], 0, 8).attention_allowed is None
    long = list(range(100))
    assert collate([[long]], 0, 64).ids.shape == (1, 128)  # longer than a block: the next multiple of 64
