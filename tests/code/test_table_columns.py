"""Whose a post of a table is, and what its columns say about it, by whatever names; what is passed over is said."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fetch_inputs import posts_of, refusal

from components.fetch.read_source import FetchSelection, read_source
from components.fetch.sources import parse_source
from components.fetch.step import fetch
from components.fetch.tables.columns import TableColumns
from components.fetch.tables.settings import TableSettings
from components.fetch.x.api_price import Budget
from mynah.core.errors import InputError
from mynah.data.posts import Kind, Post, read_posts
from mynah.registry.forgotten_authors import ForgottenAuthors, _tag

Said = Callable[[], str]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    return lambda: capsys.readouterr().err


def csv_of(folder: Path, header: str, *rows: str) -> Path:
    (folder / "a.csv").write_text("\n".join([header, *rows]) + "\n")
    return folder / "a.csv"


def jsonl_of(folder: Path, *rows: dict[str, Any]) -> Path:
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "a.jsonl"


def read(path: Path, forgotten: str) -> list[Post]:
    """Read a table although somebody asked to be forgotten."""
    settings = TableSettings(forgotten=ForgottenAuthors({_tag(forgotten): "2026-01-02"}))
    return list(read_source(parse_source(str(path)), FetchSelection(0, "permission", Budget(), tables=settings), lambda *_: None))


@pytest.mark.parametrize(
    "column",
    ["from_user", "Screen Name", "screenName", "user.screen_name", "user/screen_name", "USER_USERNAME", "author.username", "Tweet Author",
     "handle", "Twitter Handle", "user name", "posted-by", "account.acct", "User"],
)  # fmt: skip
def test_an_author_column_of_any_name_is_read(tmp_path: Path, column: str) -> None:
    posts = posts_of(tmp_path, csv_of(tmp_path, f"{column},text", "@ann,one", "ben,two"))
    assert [post.author for post in posts] == ["ann", "ben"]


@pytest.mark.parametrize(
    "row",
    [
        {"user": {"name": "Ann B", "screen_name": "ann", "id": 5}},
        {"user_name": "Ann B", "user_screen_name": "ann"}, {"author": {"username": "ann"}}, {"user": {"username": "ann", "name": "Ann B"}},
        {"account": {"acct": "ann"}}, {"user_screen_name": "ann"}, {"from_user": "ann", "name": "Ann B"},
        {"url": "https://x.com/ann/status/7", "id": 7}, {"link": "https://twitter.com/ann/status/7#m"},
    ],
)  # fmt: skip
def test_a_nested_author_is_read(tmp_path: Path, row: dict[str, Any]) -> None:
    [post] = posts_of(tmp_path, jsonl_of(tmp_path, {"text": "x", **row}))
    assert post.author == "ann"


def test_a_nested_author_of_a_parquet_file_is_read(tmp_path: Path) -> None:
    users = [{"screen_name": "ann", "description": "y" * 100}, None]
    pq.write_table(pa.table({"full_text": ["one", "two"], "user": users, "is_retweet": [True, False]}), tmp_path / "a.parquet")
    posts = posts_of(tmp_path, tmp_path / "a.parquet")
    assert [(post.author, post.kind) for post in posts] == [("ann", Kind.REPOST), ("a", Kind.ORIGINAL)]


def test_what_mongodb_wraps_is_read(tmp_path: Path) -> None:
    row = {
        "_id": {"$oid": "5f"},
        "id": {"$numberLong": "12"},
        "created_at": {"$date": {"$numberLong": "1583000000000"}},
        "text": "x",
    }
    [post] = posts_of(tmp_path, jsonl_of(tmp_path, row))
    assert (post.id, str(post.created_at)[:10]) == ("12", "2020-02-29")


@pytest.mark.parametrize("column", ["id_str", "Tweet Id", "tweetId", "status-id", "ID"])
def test_an_id_column_of_any_name_is_read(tmp_path: Path, column: str) -> None:
    assert [post.id for post in posts_of(tmp_path, csv_of(tmp_path, f"{column},text", "12,x"))] == ["12"]


@pytest.mark.parametrize(
    ("column", "what"),
    [("creator", "its author"), ("user_id", "its author"), ("Name", "its author"),
     ("sender", "its author"), ("Message ID", "its id"), ("userid", "its author"),
     ("messageid", "its id"), ("created_by", "its author"), ("timesent", "its time"),
     ("status uuid", "its id"), ("Posted", "its time"), ("day", "its time"), ("retweeted_by", "a mark of reposts"),
     ("WasReposted", "a mark of reposts")],
)  # fmt: skip
def test_a_column_that_looks_needed_and_is_not_read_is_named(tmp_path: Path, said: Said, column: str, what: str) -> None:
    posts_of(tmp_path, csv_of(tmp_path, f"{column},text", "5,x", "5,y"))
    assert f"'{column}', which looks like {what}, is not read" in " ".join(said().split())


@pytest.mark.parametrize(
    "column", ["retweet_count", "user.followers_count", "Retweets", "user.created_at", "place.full_name", "topic", "mentions"]
)
def test_other_columns_are_not_named(tmp_path: Path, said: Said, column: str) -> None:
    posts_of(tmp_path, csv_of(tmp_path, f"id,author,date,text,{column}", "1,ann,2020-01-01,x,5"))
    assert said() == ""


def test_the_files_name_as_author_is_said(tmp_path: Path, said: Said) -> None:
    assert [post.author for post in posts_of(tmp_path, csv_of(tmp_path, "author,text", ",one", "ben,two"))] == ["a", "ben"]
    assert "1 post names no author that is read, and counts as @a's" in " ".join(said().split())


@pytest.mark.parametrize(
    "row",
    [
        {"from_user": "ann"}, {"Screen Name": "@Ann"}, {"creator": "ann"}, {"team": "ann"}, {"author": "club", "posted by whom": "@ann"},
        {"profile": "https://x.com/ann"}, {"user": {"handle": "ann"}}, {"people": ["ben", "ann"]}, {"link": "https://x.com/ann/status/1"},
    ],
)  # fmt: skip
def test_a_forgotten_author_is_found_in_every_column(tmp_path: Path, row: dict[str, Any]) -> None:
    path = jsonl_of(tmp_path, {"text": "x"}, {"text": "y", **row})
    if "link" in row:
        assert [post.author for post in read(path, "ann")][1] == "ann"  # which fetch refuses in the end
        return
    with pytest.raises(InputError, match=r"(?i)a\.jsonl, line 2, column .*: @ann asked on 2026-01-02 to be forgotten"):
        read(path, "ann")


def test_a_forgotten_author_is_found_in_a_parquet_file(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["x"], "team": ["ann"]}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="@ann asked on"):
        read(tmp_path / "a.parquet", "ann")


@pytest.mark.parametrize(
    "row",
    [{"text": "ann"}, {"text": "@ann hello"}, {"in_reply_to_screen_name": "ann"}, {"user_mentions": "ann"}, {"lang": "ann"},
     {"retweet_screen_name": "ann"}, {"expanded_urls": "https://x.com/ann"}, {"id": "ann"}],
)  # fmt: skip
def test_whoever_answers_or_mentions_them_may_be_fetched(tmp_path: Path, row: dict[str, Any]) -> None:
    assert len(read(jsonl_of(tmp_path, {"text": "x", "author": "ben", **row}), "ann")) == 1


def kinds(folder: Path, *rows: dict[str, Any]) -> list[Kind]:
    return [post.kind for post in posts_of(folder, jsonl_of(folder, *({"text": "x", **row} for row in rows)))]


@pytest.mark.parametrize(
    "row",
    [
        {"retweeted": True}, {"is_retweet": "TRUE"}, {"is-retweet": "True"}, {"Is Retweet": 1}, {"retweet": "yes"}, {"isRetweet": 1.0},
        {"is_rt": "1"}, {"reposted": True}, {"boost": "true"}, {"retweeted_status": {"id": 4}}, {"retweeted_status_id": 4.0},
        {"retweeted_status.user.screen_name": "ann"}, {"retweet_screen_name": "ann"}, {"retweetedTweet": {"id": 4}}, {"user_rt": "ann"},
        {"referenced_tweets": [{"type": "retweeted", "id": "4"}]}, {"referenced_tweets": "[{'type': 'retweeted', 'id': '4'}]"},
        {"referenced_tweets.retweeted.id": "4"}, {"tweet_type": "Retweet"}, {"reblog": {"id": "4"}}, {"kind": "original", "is_retweet": True},
    ],
)  # fmt: skip
def test_a_row_that_says_that_it_is_a_repost_is_one(tmp_path: Path, row: dict[str, Any]) -> None:
    assert kinds(tmp_path, row) == [Kind.REPOST]


@pytest.mark.parametrize(
    "value", [False, None, "", "FALSE", "no", 0, 0.0, "0", "0.0", "NaN", float("nan"), "None", "null", [], {}, "[]"]
)
def test_a_row_that_says_that_it_is_none_is_none(tmp_path: Path, value: object) -> None:
    rows = [
        {name: value} for name in ("retweeted", "is_retweet", "retweeted_status_id", "retweeted_status", "is_quote", "reply_to")
    ]
    assert set(kinds(tmp_path, *rows)) == {Kind.ORIGINAL}


@pytest.mark.parametrize("value", [12, "maybe", 2.5])
def test_a_mark_that_is_neither_is_refused(tmp_path: Path, value: object) -> None:
    message = refusal(tmp_path, jsonl_of(tmp_path, {"text": "x", "retweet": value}))
    assert f"line 1: the column 'retweet' is '{value}', neither true nor false" in message


def test_replies_and_quotes_are_told_by_their_kin_too(tmp_path: Path) -> None:
    replies = [{"in_reply_to_user_id_str": "9"}, {"in_reply_to_screen_name": "ben"}, {"reply_to_status_id": 7.0}, {"is_reply": True},
               {"referenced_tweets": [{"type": "replied_to", "id": "7"}]}, {"reply_to": [{"screen_name": "ben"}]},
               {"tweet_type": "reply"}]  # fmt: skip
    quotes = [
        {"is_quote": "TRUE"},
        {"is_quote_status": True},
        {"quotedTweet": {"id": 1}},
        {"referenced_tweets": "[<id=1 type=quoted]"},
    ]
    assert kinds(tmp_path, *replies, *quotes) == [Kind.REPLY] * len(replies) + [Kind.QUOTE] * len(quotes)
    assert [post.reply_to for post in read_posts(tmp_path / "out")][:5] == ["", "", "7", "", "7"]


def test_a_text_that_is_cut_off_is_replaced_by_the_whole_one(tmp_path: Path, said: Said) -> None:
    rows = [
        {"text": "cut…", "truncated": True, "extended_tweet": {"full_text": "cut and whole"}},
        {"text": "cut…", "note_tweet": {"text": "cut and whole"}},
        {"text": "cut…", "full_text": "cut and whole"},
        {"tweet": {"full_text": "cut and whole"}},
        {"text": "cut…", "truncated": True},
    ]
    assert [post.text for post in posts_of(tmp_path, jsonl_of(tmp_path, *rows))] == ["cut and whole"] * 4 + ["cut…"]
    assert "1 post whose text is cut off" in said()


def test_named_columns_are_read_and_no_others(tmp_path: Path) -> None:
    named = TableColumns("Body", "meta.writer", "When")
    row = {
        "body": "x",
        "text": "not this",
        "author": "not this",
        "meta": {"writer": "ann"},
        "date": "2001-01-01",
        "when": "2020-05-01",
    }
    fetch([str(jsonl_of(tmp_path, row))], tmp_path / "out", basis="permission", columns=named)
    [post] = read_posts(tmp_path / "out")
    assert (post.text, post.author, str(post.created_at)[:10]) == ("x", "ann", "2020-05-01")
    path = csv_of(tmp_path, "Body;meta.writer;when", "x;ann;2020-05-01")
    fetch([str(path)], tmp_path / "csv", basis="permission", columns=named)
    assert next(read_posts(tmp_path / "csv")).author == "ann"


@pytest.mark.parametrize("named", [TableColumns(text="nope"), TableColumns(author="nope"), TableColumns(time="nope")])
def test_a_named_column_that_is_not_there_is_refused(tmp_path: Path, named: TableColumns) -> None:
    pq.write_table(pa.table({"text": ["x"]}), tmp_path / "a.parquet")
    for path in (csv_of(tmp_path, "text,id", "x,1"), jsonl_of(tmp_path, {"text": "x"}), tmp_path / "a.parquet"):
        with pytest.raises(InputError) as caught:
            fetch([str(path)], tmp_path / "out", basis="permission", columns=named)
        assert "-column" in str(caught.value)


@pytest.mark.parametrize(
    ("value", "identity", "words"),
    [
        ("1.36600E+18", "row-1", "1 id that lost"), (1.366e18, "row-1", "1 id that lost"), ("1,366E+18", "row-1", "1 id that lost"),
        ("7.9e+17", "row-1", "1 id that lost"), ("1366000000000000123.0", "row-1", "1 id that lost"), (12.0, "12", "1 id written as decimals"),
        ("12.0", "12", "1 id written as decimals"), ("1.366000000000000123E+18", "1366000000000000123", ""), ("nan", "row-1", ""),
        (float("nan"), "row-1", ""), ('="1366000000000000123"', "1366000000000000123", ""), ("12e5", "12e5", ""), ("'12", "12", ""),
    ],
)  # fmt: skip
def test_an_id_that_was_a_number_of_a_spreadsheet(tmp_path: Path, said: Said, value: object, identity: str, words: str) -> None:
    [post] = posts_of(tmp_path, jsonl_of(tmp_path, {"text": "x", "author": "ann", "id": value}))
    assert post.id == identity
    assert words in said()


@pytest.mark.parametrize(("value", "answered"), [("1.36600E+18", ""), (1.366e18, ""), (12.0, "12"), ("12.0", "12")])
def test_an_answered_id_that_was_a_number_of_a_spreadsheet(tmp_path: Path, said: Said, value: object, answered: str) -> None:
    [post] = posts_of(tmp_path, jsonl_of(tmp_path, {"text": "x", "author": "ann", "in_reply_to_status_id": value}))
    assert (post.kind, post.reply_to) == (Kind.REPLY, answered)
    assert ("1 id of answered posts that lost" in said()) == (not answered)


def test_decimals_and_durations_of_a_parquet_file(tmp_path: Path, said: Said) -> None:
    columns = {
        "text": ["x"], "id": pa.array([1366000000000000123], pa.decimal128(20, 0)), "created_at": pa.array([7], pa.duration("ns")),
        "in_reply_to_status_id": pa.array([12], pa.decimal128(20, 2)), "time": pa.array([7], pa.time64("ns")),
    }  # fmt: skip
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    [post] = posts_of(tmp_path, tmp_path / "a.parquet")
    assert (post.id, post.reply_to, post.created_at) == ("1366000000000000123", "12", None)
    assert "1 time that cannot be read" in said()
