"""One post by its author and id, however many sources have it: the newest text, counted in the funnel, on one side of the split."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from x_exports import as_zip, export, note, tweet

from components.fetch.step import fetch
from components.filter.post_copies import find_copies
from components.filter.step import FilterSettings, filter_posts
from mynah.data.posts import Kind, read_posts, write_posts
from tests.code.filter_inputs import BEGAN, lines, many, post, raw_folder, thread

LONG = "Here is what the old baker told me about bread and patience and the long nights beside the oven, and then " * 3
FILLER = [tweet(number, f"Filler number {number} about {word} and the {word} beside it, for {word} of all things")
          for number, word in enumerate([a + b for a in ("rain", "salt", "moss", "lamp", "tin") for b in "abcdefghijklmnopqrst"], 5000)]  # fmt: skip


def unique(tmp_path, posts):
    """The posts that remain of `posts`, as id and text."""
    raw = raw_folder(tmp_path / "raw", posts)
    return [(each.id, each.text) for _, each in find_copies(raw).without(read_posts(raw))]


def edited(number, text, *versions):
    known = {"editTweetIds": [str(version) for version in versions], "editsRemaining": "4"}
    first = str(versions[0])
    info = {"initial": known} if str(number) == first else {"edit": {"initialTweetId": first, "editControlInitial": known}}
    return tweet(number, text, edit_info=info)


def two_exports(tmp_path):
    """An older export, and a newer one of the same account."""
    story = [
        tweet(200, "I counted every lamp post on our street this winter"),
        tweet(201, "and only nine of them are lit by night", in_reply_to_status_id_str="200", in_reply_to_user_id_str="5"),
        tweet(202, "so I wrote to the council about it", in_reply_to_status_id_str="201", in_reply_to_user_id_str="5"),
    ]
    older = export(
        *story, tweet(250, LONG[:250] + "… https://t.co/abc"), tweet(301, "The first wrods of an edited post"), *FILLER
    )
    newer = export(
        *story, tweet(250, LONG[:250] + "… https://t.co/abc"), edited(302, "The first words of an edited post", 301, 302),
        *FILLER[:50], notes=[note(LONG)],
    )  # fmt: skip
    return as_zip(tmp_path / "older.zip", older), as_zip(tmp_path / "newer.zip", newer)


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("rules", ["default", "default,+threads", "huggingtweets"])
def test_overlapping_exports_give_each_post_once(tmp_path, swap, rules):
    sources = [str(path) for path in two_exports(tmp_path)]
    fetch(sources[::-1] if swap else sources, tmp_path / "raw")
    funnel = filter_posts(tmp_path / "raw", tmp_path / "data", FilterSettings(rules))
    kept = [record for part in ("train", "held_out") for record in lines(tmp_path / "data", f"{part}.jsonl")]
    texts = {record["id"]: record["text"] for record in kept}
    assert len(texts) == len(kept)
    assert texts["250"] == " ".join(LONG.split())
    assert "301" not in texts and texts["302"] == "The first words of an edited post"
    assert len(texts) == (103 if "threads" in rules else 105)
    if "threads" in rules:
        assert texts["200"].endswith("lit by night so I wrote to the council about it") and not {"201", "202"} & set(texts)
    [author] = funnel.authors
    assert author.dropped["copy"] == 55
    assert author.downloaded == 105 + 55
    dropped = lines(tmp_path / "data", "dropped.jsonl")
    assert {record["like"] for record in dropped if record["id"] in ("301", "250")} == {"302", "250"}


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ({}, {"text": "Said better", "edited_at": BEGAN}),
        ({"edited_at": BEGAN}, {"text": "Said better", "edited_at": BEGAN + timedelta(hours=1)}),
        ({"text": "Said at some length…"}, {"text": "Said at some length, and then some"}),
        ({"text": "Said at some length… https://t.co/abc"}, {"text": "Said at some length, and then some"}),
        ({"text": "Said &amp; done at some leng"}, {"text": "Said & done at some length, and then some"}),
        ({"created_at": BEGAN}, {"text": "Said better", "created_at": BEGAN + timedelta(minutes=5)}),
        ({}, {"id": "1000000000000000001", "text": "Said better", "versions": ("1000000000000000000", "1000000000000000001")}),
    ],
)
def test_the_newest_text_is_kept_in_whatever_order_the_sources_come(tmp_path, older, newer, order):
    first = replace(post("Said once", number=10**18), **older)
    second = replace(post("", number=10**18), **newer)
    assert unique(tmp_path, [first, second][::order]) == [(second.id, second.text)]


def test_of_three_versions_each_in_its_own_source_the_last_is_kept_and_replies_to_all_belong_to_it(tmp_path):
    first, second, third = (post(f"Version {n}", number=100_001 + n) for n in range(3))
    second = replace(second, versions=("100001", "100002"))
    third = replace(third, versions=("100001", "100002", "100003"))
    answers = [post(f"Answer {n}", Kind.REPLY, 200_000 + n, reply_to=str(100_001 + n), reply_to_self=True) for n in range(3)]
    raw = raw_folder(tmp_path / "raw", [second, *answers, third, first])
    found = [each for _, each in find_copies(raw).without(read_posts(raw))]
    assert [(each.text, each.reply_to) for each in found] == [(f"Answer {n}", "100003") for n in range(3)] + [("Version 2", "")]


def test_a_copy_completes_what_the_kept_post_does_not_know(tmp_path):
    table = post("RT: See what she said", number=123_456)
    whole = replace(table, kind=Kind.REPOST, created_at=BEGAN, client="IFTTT", language="en", author="Ann")
    raw = raw_folder(tmp_path / "raw", [whole, table])
    [(_, kept)] = find_copies(raw).without(read_posts(raw))
    assert (kept.kind, kept.created_at, kept.client, kept.language) == (Kind.REPOST, BEGAN, "IFTTT", "en")


@pytest.mark.parametrize(
    "posts",
    [
        [replace(post(f"Row {n}"), id=f"row-{n % 2}") for n in range(4)],  # the numbers of two tables' rows
        [post(f"Text {n}", number=1_000_000, created_at=BEGAN + timedelta(days=3 * n)) for n in range(4)],  # an account's number
        [post(f"Many {n}", number=1_000_000) for n in range(30)],
        [
            post("What the cat saw at noon", number=1),
            post("Of rain and salt, nothing more", number=1),
        ],  # two tables that count alike
        [post("The same id", number=1_000_000), post("of another author", number=1_000_000, author="bob")],
    ],
)
def test_what_is_no_common_id_joins_nothing(tmp_path, posts):
    assert [text for _, text in unique(tmp_path, posts)] == [each.text for each in posts]


def test_a_limit_counts_posts_and_not_copies(tmp_path):
    posts = [replace(each, id=str(10**6 + n)) for n, each in enumerate(many(300))]
    raw_folder(tmp_path / "raw", [*posts, *posts])
    [author] = filter_posts(tmp_path / "raw", tmp_path / "data", FilterSettings("default", 200)).authors
    assert author.dropped["copy"] == 200 and author.downloaded == 400


def test_a_folder_of_an_earlier_mynah_with_copies(tmp_path):
    posts = [replace(each, id=str(10**6 + n)) for n, each in enumerate(many(200))]
    raw_folder(tmp_path / "raw", [*posts, *thread("So I went to the shop", "@ann and they had no bread"), *posts[:100]])
    [author] = filter_posts(tmp_path / "raw", tmp_path / "data", FilterSettings("default,+threads")).authors
    assert author.dropped["copy"] == 100 and author.dropped["merged"] == 1


POSTS = st.lists(
    st.builds(
        lambda number, text, cut, at, versions: replace(
            post(text[:cut], number=10**6 + number, created_at=BEGAN + timedelta(minutes=at) if at else None),
            versions=tuple(str(10**6 + version) for version in sorted({number, *versions})) if versions else (),
        ),
        st.integers(0, 6), st.text("ab …", min_size=1, max_size=9), st.integers(1, 9), st.integers(0, 3), st.sets(st.integers(0, 6), max_size=2),
    ),
    max_size=12,
)  # fmt: skip


@given(POSTS)
def test_copies_of_any_posts_are_found_once_and_for_all(tmp_path_factory, posts):
    folder = tmp_path_factory.mktemp("raw")
    write_posts(folder, posts)
    copies = find_copies(folder)
    kept = [each for _, each in copies.without(read_posts(folder))]
    dropped = list(copies.dropped(read_posts(folder), lambda _: True))
    assert len(kept) + len(dropped) == len(posts)
    assert {each.id for each in kept} >= {each.like for each in dropped}
    if not any(each.versions for each in posts):
        assert len({each.id for each in kept}) == len(kept) == len({each.id for each in posts})
    write_posts(folder, kept)
    again = find_copies(folder)
    assert not again.stands_for or any(each.versions for each in posts)
