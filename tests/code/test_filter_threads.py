"""Threads are joined in order of time and lose no post."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.filter.step import FilterSettings, filter_posts
from components.filter.thread_merging import MergedPost, merge_threads
from mynah.data.posts import Entity, Kind, Post
from tests.code.filter_inputs import lines, many, post, raw_folder, thread


def test_threads_are_joined_in_order_of_time(tmp_path):
    story = thread("So I went to the shop https://t.co/a", "@ann and they were out of bread", "@ann so I baked some")
    raw_folder(tmp_path / "raw", [*many(), *story[::-1], *thread("Yes to all of that", start=5500)])
    filter_posts(tmp_path / "raw", tmp_path / "data", FilterSettings("default,+threads"))
    texts = {
        record["id"]: record["text"] for part in ("train", "held_out") for record in lines(tmp_path / "data", f"{part}.jsonl")
    }
    assert texts["5100"] == "So I went to the shop and they were out of bread so I baked some"
    assert not {"5101", "5102"} & set(texts)
    dropped = lines(tmp_path / "data", "dropped.jsonl")
    assert sorted((record["id"], record["reason"]) for record in dropped) == [("5101", "merged"), ("5102", "merged")]
    filter_posts(tmp_path / "raw", tmp_path / "data", FilterSettings("default"))
    assert lines(tmp_path / "data", "dropped.jsonl") == []


def test_entities_move_with_their_part():
    first, second = thread("one two three", "@ann look example.com/a now")
    second = Post(**{**{name: getattr(second, name) for name in Post.__slots__}, "entities": tuple(second_entities(second.text))})
    part, whole = merge_threads(lambda: [first, second])
    assert isinstance(part, MergedPost)
    assert whole.text == "one two three look example.com/a now"
    [url] = whole.entities
    assert whole.text[url.start : url.end] == "example.com/a"


def second_entities(text):
    return [Entity(0, 4, "mention"), Entity(text.index("example"), text.index(" now"), "url")]


POSTS = st.lists(
    st.builds(
        lambda number, author, kind, to, own: post(f"text {number}", kind, number, author, reply_to=str(to), reply_to_self=own),
        st.integers(0, 12), st.sampled_from(["ann", "bob"]), st.sampled_from(list(Kind)), st.integers(0, 14), st.booleans(),
    ),
    max_size=40,
)  # fmt: skip


@given(POSTS)
def test_threads_of_any_shape_lose_no_post(posts):
    found = list(merge_threads(lambda: posts))
    assert sorted((each.post if isinstance(each, MergedPost) else each).id for each in found) == sorted(each.id for each in posts)
    assert sum(len(each.text.split()) // 2 for each in found if not isinstance(each, MergedPost)) == len(posts)


def test_a_thread_of_ten_thousand_posts(tmp_path):
    found = list(merge_threads(lambda: thread(*["and so on"] * 10_000)[::-1]))
    assert len(found) == 10_000
    assert found[-1].text == " ".join(["and so on"] * 10_000)


@pytest.mark.parametrize("rules", ["huggingtweets", "default,+threads"])
def test_the_classic_rows_and_the_joined_add_up(tmp_path, rules):
    story = thread("So I went to the shop", "@ann and they were out of bread", "@ann Ay")
    raw_folder(tmp_path / "raw", [*many(), *story, post("RT @bob: yes", number=8000), post("Ay", number=8001)])
    told = dict(filter_posts(tmp_path / "raw", tmp_path / "data", FilterSettings(rules)).rows())
    joined = told.pop("Joined to their thread", [0])
    assert joined == [2 if "threads" in rules else 0]
    assert told["Tweets downloaded"] == [205]
    assert told["Retweets"] == [1]
    assert told["Short tweets"] == [1 if "threads" in rules else 2]
    assert told["Tweets kept"] == [201 if "threads" in rules else 202]
    assert (
        told["Tweets downloaded"][0] == sum(told[label][0] for label in ("Retweets", "Short tweets", "Tweets kept")) + joined[0]
    )
