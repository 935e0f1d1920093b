"""What fetch takes over of a post of X besides its text: what the text marks, whom it answers, what it was written with, its last version."""

import itertools
import json
import time
from pathlib import Path
from typing import Any

import pytest
from x_exports import as_folder, as_zip, export, note, part, tweet

from components.fetch.step import fetch
from components.fetch.x import export_edits, export_notes
from mynah.core.errors import InputError
from mynah.data.posts import Entity, Kind, Post, read_posts


def posts_of(folder: Path, *tweets: dict[str, Any], notes: tuple[dict[str, Any], ...] = ()) -> list[Post]:
    fetch([str(as_zip(folder / "a.zip", export(*tweets, notes=notes)))], folder / "out")
    return list(read_posts(folder / "out"))


def span(text: str, words: str) -> list[str]:
    """Places as exports have them: text, in code points."""
    return [str(text.index(words)), str(text.index(words) + len(words))]


# --- what a text marks --------------------------------------------------------------------------------------------------

MARKED = "🎭 &amp; @Ann_B: see https://t.co/abc #Büh &lt;3 \uff03漢字 https://t.co/pic"


def marked(text: str = MARKED) -> dict[str, Any]:
    return {
        "urls": [{"url": "https://t.co/abc", "expanded_url": "https://a.example", "indices": span(text, "https://t.co/abc")}],
        "user_mentions": [{"screen_name": "ann_b", "id_str": "7", "indices": span(text, "@Ann_B")}],
        "hashtags": [{"text": "Büh", "indices": span(text, "#Büh")}, {"text": "漢字", "indices": span(text, "\uff03漢字")}],
        "symbols": [{"text": "TSLA", "indices": ["0", "5"]}],
        "media": [{"url": "https://t.co/pic", "type": "photo", "indices": span(text, "https://t.co/pic")}],
    }


def test_marks_are_places_in_the_text_as_it_stands(tmp_path: Path) -> None:
    entities = marked()
    media = {"media": entities["media"] * 2}  # a post with several pictures names the same place for each
    [post] = posts_of(tmp_path, tweet(1, MARKED, entities=entities, extended_entities=media))
    assert [(MARKED[each.start : each.end], each.kind) for each in post.entities] == [
        ("@Ann_B", "mention"),
        ("https://t.co/abc", "url"),
        ("#Büh", "hashtag"),
        ("\uff03漢字", "hashtag"),
        ("https://t.co/pic", "media"),
    ]
    assert post.text == MARKED


@pytest.mark.parametrize(
    "indices",
    [
        None, [], ["1"], ["1", "2", "3"], ["4", "1"], ["-4", "12"], ["0", "9999"], ["a", "b"], [1.5, 9.5], [True, False], [None, None],
        ["9" * 5000, "3"], "48", {"0": 4, "1": 8}, ["5", "21"],  # of the right length, but of another text
    ],
)  # fmt: skip
def test_a_mark_of_a_wrong_place_is_left_out_and_the_others_stay(tmp_path: Path, indices: object) -> None:
    text = "see https://t.co/abc and https://t.co/def"
    urls = [{"url": "https://t.co/abc", "indices": indices}, {"url": "https://t.co/def", "indices": [25, 41]}]
    [post] = posts_of(tmp_path, tweet(1, text, entities={"urls": urls}))
    assert post.entities == (Entity(25, 41, "url"),)


def test_marks_that_overlap_are_sorted_and_the_first_stays(tmp_path: Path) -> None:
    text = "#one #two"
    hashtags = [{"indices": [5, 9]}, {"indices": [3, 7]}, {"indices": [0, 4]}]
    [post] = posts_of(tmp_path, tweet(1, text, entities={"hashtags": hashtags}))
    assert post.entities == (Entity(0, 4, "hashtag"), Entity(5, 9, "hashtag"))


def test_marks_with_other_words_are_found_whatever_their_case(tmp_path: Path) -> None:
    """A sharp s is two letters as a capital, and a dotted capital i is two as a small one."""
    text = "#STRASSE #İi @Ann"
    hashtags = [{"text": "straße", "indices": [0, 8]}, {"text": "i̇i", "indices": [9, 12]}]
    mentions = [{"screen_name": "ANN", "indices": [13, 17]}]
    [post] = posts_of(tmp_path, tweet(1, text, entities={"hashtags": hashtags, "user_mentions": mentions}))
    assert [text[each.start : each.end] for each in post.entities] == ["#STRASSE", "#İi", "@Ann"]


def test_thousands_of_marks_over_a_whole_long_text_do_not_stop_the_reading(tmp_path: Path) -> None:
    """To cut each one's stretch out and compare it would take half a minute."""
    size, number = 1_500_000, 20_000
    began = time.process_time()
    hashtags = [{"text": "a", "indices": [0, size - place]} for place in range(number)]
    [post] = posts_of(tmp_path, tweet(1, "y" * size, entities={"hashtags": hashtags}))
    assert (len(post.text), post.entities) == (size, ())
    assert time.process_time() - began < 4


@pytest.mark.parametrize("odd", [{"user_mentions": {"a": 1}}, {"media": [5, None, []]}, {"hashtags": "x"}])
def test_marks_of_an_odd_shape_cost_no_post(tmp_path: Path, odd: dict[str, Any]) -> None:
    [post] = posts_of(tmp_path, tweet(1, "Fine", entities=odd, extended_entities=[]))
    assert (post.text, post.entities) == ("Fine", ())


def test_a_cut_repost_loses_the_marks_beyond_its_end(tmp_path: Path) -> None:
    text = "RT @ann: about https://t.…"
    entities = {
        "user_mentions": [{"screen_name": "ann", "indices": ["3", "7"]}],
        "urls": [{"url": "https://t.co/abc", "indices": ["15", "31"]}],
    }
    [post] = posts_of(tmp_path, tweet(1, text, entities=entities))
    assert post.entities == (Entity(3, 7, "mention"),)


def test_a_long_texts_marks_are_its_own(tmp_path: Path) -> None:
    start = "@ann A long thought on https://t.co/abc that does not fit, "
    long = start + "and goes on and on " * 20 + "to https://t.co/new #end"
    short = long[:200] + "… https://t.co/cut"
    core = {
        "mentions": [{"screenName": "ann", "fromIndex": "0", "toIndex": "4"}],
        "urls": [{"shortUrl": url, "fromIndex": span(long, url)[0], "toIndex": span(long, url)[1]} for url in ("https://t.co/abc", "https://t.co/new")],
        "hashtags": [{"text": "end", "fromIndex": len(long) - 4, "toIndex": len(long)}, {"fromIndex": 5}],
    }  # fmt: skip
    whole = note(long)
    whole["noteTweet"]["core"] |= core
    entities = {"urls": [{"url": "https://t.co/cut", "indices": span(short, "https://t.co/cut")}]}
    [post] = posts_of(tmp_path, tweet(1, short, entities=entities), notes=(whole,))
    assert [long[each.start : each.end] for each in post.entities] == ["@ann", "https://t.co/abc", "https://t.co/new", "#end"]
    assert post.text == long


# --- whom it answers, and with what it was written ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, ("", False)),
        ({"in_reply_to_status_id_str": "9", "in_reply_to_user_id_str": "5"}, ("9", True)),
        ({"in_reply_to_status_id": "9", "in_reply_to_user_id": "5"}, ("9", True)),
        ({"in_reply_to_status_id": 9, "in_reply_to_user_id": 5}, ("9", True)),
        ({"in_reply_to_status_id_str": "9", "in_reply_to_user_id_str": "6"}, ("9", False)),
        ({"in_reply_to_user_id_str": "5"}, ("", True)),
        ({"in_reply_to_status_id_str": "9"}, ("9", False)),
        ({"in_reply_to_status_id_str": ["9"], "in_reply_to_user_id_str": {"5": 5}}, ("", False)),
    ],
)
def test_whom_a_post_answers(tmp_path: Path, more: dict[str, Any], expected: tuple[str, bool]) -> None:
    [post] = posts_of(tmp_path, tweet(1, "Yes", **more))  # the account's number is 5
    assert (post.reply_to, post.reply_to_self) == expected


def test_a_repost_answers_nobody(tmp_path: Path) -> None:
    [post] = posts_of(tmp_path, tweet(1, "RT @wren: Yes", in_reply_to_status_id_str="9", in_reply_to_user_id_str="5"))
    assert (post.kind, post.reply_to, post.reply_to_self) == (Kind.REPOST, "", False)


@pytest.mark.parametrize("files", [{}, {"data/account.js": part([{"account": {"username": "wren"}}], 0, "account")}])
def test_the_accounts_number_is_found_in_the_manifest_or_in_account_js(tmp_path: Path, files: dict[str, str]) -> None:
    whole = export(tweet(1, "Yes", in_reply_to_user_id_str="5")) | files
    for each in ([], ["data/manifest.js"]) if not files else ([],):
        fetch(
            [str(as_zip(tmp_path / "a.zip", {name: text for name, text in whole.items() if name not in each}))], tmp_path / "out"
        )
        assert [post.reply_to_self for post in read_posts(tmp_path / "out")] == [True]


@pytest.mark.parametrize(
    ("source", "client"),
    [
        ('<a href="http://twitter.com/download/iphone" rel="nofollow">Twitter for iPhone</a>', "Twitter for iPhone"),
        ('<a href="https://x.example">Caf&eacute; &amp; <b>Bot</b>\n  2</a>', "Café & Bot 2"),
        ("web", "web"),
        ("", ""),
        ("<a>" + "y" * 5000, "y" * 100),
        ("<a>App <![x[ 2", "App"),  # at which the standard library's parser fails
        (None, ""),
        (["IFTTT"], ""),
    ],
)
def test_the_client_is_the_text_within_its_link(tmp_path: Path, source: object, client: str) -> None:
    [post] = posts_of(tmp_path, tweet(1, "Yes", source=source))
    assert post.client == client


# --- edits --------------------------------------------------------------------------------------------------------------


def version(number: int, text: str, first: int, *versions: int, nested: bool = True) -> dict[str, Any]:
    """One version of a post, as exports have it."""
    known = {
        "editTweetIds": [str(each) for each in versions], "editableUntil": "2023-02-01T12:30:00.000Z", "editsRemaining": "3",
        "isEditEligible": True,
    }  # fmt: skip
    if number == first:
        return tweet(number, text, edit_info={"initial": known})
    inner = {"editControlInitial": known} if nested else known
    return tweet(number, text, edit_info={"edit": {"initialTweetId": str(first), **inner}})


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_of_an_edited_post_the_last_version_counts(tmp_path: Path, order: tuple[int, ...], frozen: bool, nested: bool) -> None:
    """In whatever order its versions come, and where each knows only those before it."""
    tweets = [
        version(10, "frist", 10, *([10] if frozen else [10, 20, 30])),
        version(20, "furst", 10, *([10, 20] if frozen else [10, 20, 30]), nested=nested),
        version(30, "first", 10, 10, 20, 30, nested=nested),
        version(25, "another", 25, 25),
    ]
    assert sorted(post.text for post in posts_of(tmp_path, *(tweets[place] for place in order))) == ["another", "first"]


def test_versions_in_several_parts_and_one_that_is_not_there(tmp_path: Path) -> None:
    files = {
        "data/tweets.js": part([version(1, "old", 1, 1, 2), version(5, "kept", 5, 5, 99)]),
        "data/tweets-part1.js": part([version(2, "new", 1, 1, 2)], 1),
    }
    for path in (as_zip(tmp_path / "a.zip", files), as_folder(tmp_path / "a", files)):
        [provenance] = fetch([str(path)], tmp_path / "out")
        assert sorted(post.text for post in read_posts(tmp_path / "out")) == ["kept", "new"]
        assert provenance.posts == 2


def test_a_text_about_edits_is_no_edit(tmp_path: Path) -> None:
    text = json.dumps({"initial": {"editTweetIds": ["1", "2"]}})
    assert [post.text for post in posts_of(tmp_path, tweet(1, text), tweet(2, "two"))] == [text, "two"]


@pytest.mark.parametrize("at", range((1 << 20) - 260, (1 << 20) + 40, 20))
def test_an_edit_is_seen_across_the_readers_chunks(tmp_path: Path, at: int) -> None:
    first = json.dumps(version(1, "old", 1, 1))[:-1]
    text = "x = [" + first + "}, " + " " * (at - len(first) - 8) + json.dumps(version(2, "new", 1, 1, 2)) + "]"
    fetch([str(as_folder(tmp_path / "a", {"data/tweets.js": text}))], tmp_path / "out")
    assert [post.text for post in read_posts(tmp_path / "out")] == ["new"]


@pytest.mark.parametrize("weight", ["text", "marks"])
def test_edited_posts_and_long_texts_that_fill_the_memory_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weight: str
) -> None:
    """Both are held while the other posts pass; all else is not."""
    monkeypatch.setattr(export_edits, "MAX_CHARACTERS", 20_000)
    monkeypatch.setattr(export_notes, "MAX_CHARACTERS", 20_000)
    text = "y" * (9000 if weight == "text" else 90)
    entities = {"hashtags": [{"indices": [place, place + 1]} for place in range(90)]} if weight == "marks" else {}
    core = {"hashtags": [{"fromIndex": place, "toIndex": place + 1} for place in range(90)]} if weight == "marks" else {}
    marked_notes = tuple(note(text) for _ in range(3))
    for each in marked_notes:
        each["noteTweet"]["core"] |= core
    edited = [version(number, text, number, number, number + 1) for number in (10, 20, 30)]
    for each in edited:
        each["tweet"]["entities"] = entities
    plain = [tweet(number, text, entities=entities) for number in range(1, 9)]
    assert len(posts_of(tmp_path, *plain, *edited[:2], notes=marked_notes[:2])) == 10
    with pytest.raises(InputError, match=r"post 30: the edited posts have more than 20,000"):
        posts_of(tmp_path, *edited)
    with pytest.raises(InputError, match=r"note-tweet.js, element 3 .*more than 20,000"):
        posts_of(tmp_path, *plain, notes=marked_notes)


@pytest.mark.slow
def test_thousands_of_long_texts_of_one_second_do_not_stop_the_reading(tmp_path: Path) -> None:
    """Each post would otherwise be compared with each of them: 40 million comparisons of a kilobyte."""
    long = "A long thought, begun and finished on one bench, about the pit and the boxes, " * 10
    notes = tuple(note(f"{number} {long}") for number in range(4000))
    tweets = [tweet(number, f"No {number} {long[:200]}") for number in range(1, 10_001)]
    assert len(posts_of(tmp_path, *tweets, notes=notes)) == 10_000
