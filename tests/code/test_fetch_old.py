"""Exports of X from before 2019: a file for each month, or the table alone."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from x_exports import as_folder, as_zip, old_export, old_tweet

from components.fetch.step import fetch
from mynah.core.errors import InputError
from mynah.data.posts import Entity, Kind, Post, read_posts
from mynah.data.source_records import SourceRecord

LINK = "Our play https://t.co/abc"
ENTITIES = {
    "urls": [{"url": "https://t.co/abc", "indices": [9, 25], "expanded_url": "https://a.example"}],
    "user_mentions": [],
    "media": [],
}
FILES = old_export(
    old_tweet(3, LINK, entities=ENTITIES),
    old_tweet(2, "@wren Yes &amp; no", in_reply_to_status_id=1, in_reply_to_status_id_str="1", in_reply_to_user_id=5),
    old_tweet(1, "RT @ann: Hark", "2015-01-01 00:00:00 +0000", retweeted_status=old_tweet(9, "Hark")),
) | old_export(old_tweet(4, "Later", "2015-02-01 10:00:00 +0100", source="web"), month="2015_02")  # fmt: skip
TABLE = (
    '"tweet_id","in_reply_to_status_id","in_reply_to_user_id","timestamp","source","text","retweeted_status_id","expanded_urls"\n'
    '"5","4","5","2017-01-01 21:48:41 +0000","<a href=""x"">Echofon</a>","@wren A, ""b""","",""\n'
    '"4","","","2017-01-01 20:00:00 +0200","web","See","","https://twitter.com/b/status/8"\n'
)


def both(tmp_path: Path, files: dict[str, str], top: str = "") -> list[tuple[SourceRecord, list[Post]]]:
    found = []
    for path in (as_zip(tmp_path / "mine.zip", files, top), as_folder(tmp_path / "mine", files, top)):
        [provenance] = fetch([str(path)], tmp_path / "out")
        found.append((provenance, list(read_posts(tmp_path / "out"))))
    return found


@pytest.mark.parametrize("top", ["", "wren_archive/"])
@pytest.mark.parametrize("more", [{}, {"tweets.csv": TABLE}])
def test_the_months_of_a_zip_and_of_a_folder(tmp_path: Path, top: str, more: dict[str, str]) -> None:
    for provenance, posts in both(tmp_path, FILES | more, top):
        client = "Twitter Web Client"
        assert posts == [
            Post("3", "wren", LINK, datetime(2015, 1, 24, 2, 2, 37, tzinfo=UTC), source="x-export", client=client, entities=(Entity(9, 25, "url"),)),
            Post(
                "2", "wren", "@wren Yes &amp; no", datetime(2015, 1, 24, 2, 2, 37, tzinfo=UTC), Kind.REPLY, source="x-export",
                reply_to="1", reply_to_self=True, client=client,
            ),
            Post("1", "wren", "RT @ann: Hark", datetime(2015, 1, 1, tzinfo=UTC), Kind.REPOST, source="x-export", client=client),
            Post("4", "wren", "Later", datetime(2015, 2, 1, 9, tzinfo=UTC), source="x-export", client="web"),
        ]  # fmt: skip
        assert (provenance.kind, provenance.basis) == ("x-export", "own-account")
        assert (provenance.author, provenance.display_name, provenance.bio) == ("wren", "Wren & Co", "Small bird.")
        assert provenance.counts == {"original": 2, "reply": 1, "repost": 1}


def test_the_table_alone_in_a_zip_and_in_a_folder(tmp_path: Path) -> None:
    files = {"tweets.csv": TABLE, "data/js/user_details.js": FILES["data/js/user_details.js"], "README.txt": "x"}
    for provenance, posts in both(tmp_path, files):
        assert [(post.id, post.kind, post.text, post.client) for post in posts] == [
            ("5", Kind.REPLY, '@wren A, "b"', "Echofon"),
            ("4", Kind.QUOTE, "See", "web"),
        ]
        assert (posts[0].reply_to, posts[0].reply_to_self, posts[0].author) == ("4", True, "wren")
        assert (provenance.kind, provenance.basis, provenance.display_name) == ("x-export", "own-account", "Wren & Co")


def test_an_export_without_its_details_is_called_after_its_file(tmp_path: Path) -> None:
    files = {name: text for name, text in FILES.items() if "/tweets/" in name}
    for provenance, posts in both(tmp_path, files):
        assert provenance.author == "mine"
        assert [post.reply_to_self for post in posts] == [False, True, False, False], "each post has its author with it"


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"data/js/tweets/2015_01.js": "Grailbird.data.tweets_2015_01 = {}"}, ["2015_01.js, character 32", "no list"]),
        ({"data/js/tweets/2015_01.js": ""}, ["2015_01.js", "empty"]),
        ({"data/js/user_details.js": "var user_details = []"}, ["user_details.js", "a list"]),
        ({"data/js/user_details.js": 'var user_details = {"screen_name": 5}'}, ["user_details.js", "screen_name is 5"]),
        ({"other/tweets.csv": TABLE}, ["several exports"]),
    ],
)
def test_a_damaged_one_is_refused_by_member(tmp_path: Path, files: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        fetch([str(as_zip(tmp_path / "mine.zip", FILES | files))], tmp_path / "out")
    assert all(word in str(caught.value) for word in ["mine.zip", *words]), caught.value
    assert caught.value.fix
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (TABLE.partition("\n")[0] + '\n"3","","","","web"\n', ["line 2", "ends before"]),
        ("tweet_id,timestamp\n1,2\n", ["no column `text`"]),
        ("", ["empty"]),
    ],
)
def test_a_damaged_table_within_is_refused_by_its_line(tmp_path: Path, table: str, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        fetch([str(as_zip(tmp_path / "mine.zip", {"tweets.csv": table}))], tmp_path / "out")
    assert all(word in str(caught.value) for word in ["mine.zip, tweets.csv", *words]), caught.value
    assert not (tmp_path / "out").exists()


def test_a_post_and_a_row_that_are_wrong_cost_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = {"data/js/tweets/2015_01.js": 'x = [{"id_str": "1", "text": "a", "created_at": "noon"}]'}
    for files, place in (
        (FILES | wrong, "2015_01.js, element 1"),
        ({"tweets.csv": TABLE + '"3","","","","web"\n'}, "line 4: ends before"),
    ):
        [provenance] = fetch([str(as_zip(tmp_path / "mine.zip", files))], tmp_path / "out")
        assert provenance.posts > 0
        said = " ".join(capsys.readouterr().err.split())
        assert "skipped 1 post" in said and place in said
