"""Posts in CSV and JSONL: columns, fields, and the line that is broken."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fetch_inputs import posts_of, refusal

from components.fetch.step import fetch
from mynah.data.posts import Kind, Post, read_posts


def test_the_columns_of_xs_own_csv(tmp_path: Path) -> None:
    (tmp_path / "Old Tweets.csv").write_text(
        '"tweet_id","in_reply_to_status_id","in_reply_to_user_id","timestamp","source","text","retweeted_status_id","expanded_urls"\n'
        '"5","","","2017-01-01 21:48:41 +0000","web","Two\nlines, ""quoted""","",""\n'
        '"4","1","2","2017-01-01 20:00:00 +0200","web","@b yes","",""\n'
        '"3","","","2017-01-01 17:00:00 -0100","web","Shared","9",""\n'
        '"2","","","","web","RT @b: by hand","",""\n'
        '"1","","","nonsense","web","See","","https://twitter.com/b/status/8"\n',
    )
    posts = posts_of(tmp_path, tmp_path / "Old Tweets.csv")
    assert [(post.id, post.kind) for post in posts] == [
        ("5", Kind.ORIGINAL),
        ("4", Kind.REPLY),
        ("3", Kind.REPOST),
        ("2", Kind.REPOST),
        ("1", Kind.QUOTE),
    ]
    assert posts[0] == Post(
        "5", "Old_Tweets", 'Two\nlines, "quoted"', datetime(2017, 1, 1, 21, 48, 41, tzinfo=UTC), source="tweets-csv", client="web"
    )
    assert [post.created_at.hour if post.created_at else None for post in posts] == [21, 18, 18, None, None]


def test_any_csv_with_a_text_column(tmp_path: Path) -> None:
    path = tmp_path / "notes.csv"
    path.write_bytes(
        "\ufeffDate , USERNAME,Text,Lang,Kind\r\n"
        "2020-05-01,@Ana B,Hällo,de,\r\n\r\n"
        'sometime,,"a, b",,reply\r\n'
        "2020-05-01T10:00:00Z,ana,RT @x: y,en,\r\n".encode()
    )
    [provenance] = fetch([str(path)], tmp_path / "out", basis="permission")
    assert list(read_posts(tmp_path / "out")) == [
        Post("row-1", "Ana_B", "Hällo", datetime(2020, 5, 1, tzinfo=UTC), Kind.ORIGINAL, "de", "csv"),
        Post("row-2", "notes", "a, b", None, Kind.REPLY, "", "csv"),
        Post("row-3", "ana", "RT @x: y", datetime(2020, 5, 1, 10, tzinfo=UTC), Kind.REPOST, "en", "csv"),
    ]
    assert (provenance.source, provenance.kind, provenance.basis) == ("csv:notes.csv", "csv", "permission")
    assert provenance.author == "Ana_B, notes, ana"


def test_jsonl_with_text_alone_and_with_every_field(tmp_path: Path) -> None:
    path = tmp_path / "posts.ndjson"
    lines = [
        {"text": "alone"},
        {"id": 7, "text": "x", "username": "u", "date": "2020-05-01", "lang": "en", "source": "Web App", "kind": "quote"},
    ]
    path.write_text("\n\n".join(json.dumps(line) for line in lines))
    assert posts_of(tmp_path, path) == [
        Post("row-1", "posts", "alone", None, Kind.ORIGINAL, "", "jsonl"),
        Post("7", "u", "x", datetime(2020, 5, 1, tzinfo=UTC), Kind.QUOTE, "en", "jsonl", client="Web App"),
    ]


def test_posts_that_mynah_wrote_come_back_as_they_were(tmp_path: Path) -> None:
    posts_of(tmp_path, "sample")
    first = (tmp_path / "out" / "posts.jsonl").read_bytes()
    (tmp_path / "out").rename(tmp_path / "before")
    fetch([str(tmp_path / "before" / "posts.jsonl")], tmp_path / "out", basis="own-account")
    assert (tmp_path / "out" / "posts.jsonl").read_bytes() == first


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"", ["a.csv", "empty"]),
        ("a.csv", b"id,body,when\n1,x,y\n", ["a.csv", "no column `text`", "id, body, when"]),
        ("a.csv", b"id;body\n1;x\n", ["no column `text`", "id, body", "semicolons", "--text-column"]),
        ("a.csv", b"text,text\nx,y\n", ["a.csv, line 1", "two columns 'text'"]),
        ("a.csv", b"text\n", ["no posts"]),
        ("a.csv", b"id,text\n3,a,b\n", ["a.csv, line 2", "3 fields"]),
        ("a.csv", b"id,text\n2\n", ["a.csv, line 2", "text"]),
        ("a.csv", b"text\nok\na\0b\n", ["a.csv, line 3, byte 9", "NUL"]),
        ("a.csv", b"text\nok\n\xff\xfe\n", ["a.csv, line 3, byte 8", "not UTF-8"]),
        ("a.csv", b"text\nok\n" + b"y" * 200_000 + b"\n", ["a.csv, line 3", "field larger"]),
        ("a.csv", b"text\n" + b"y" * 5_000_000 + b"\n", ["a.csv, line 2", "longer than"]),
        ("a.csv", b'text\nok\n"open\nquote\n', ["a.csv, line 4", "not valid CSV", "quote"]),
        ("a.csv", b'text\n"a"b\n', ["a.csv, line 2", "not valid CSV"]),
        ("a.csv", b"text,kind\nok,tweet\n", ["a.csv, line 2", "'tweet'", "original, reply, quote, repost"]),
        ("a.csv", b"text,id\nok," + b"1" * 5000 + b"\n", ["a.csv, line 2", "5000 characters"]),
        ("a.jsonl", b"", ["no posts"]),
        ("a.jsonl", b'{"text": "x"}\n{"text": ', ["a.jsonl, line 2", "not valid JSON"]),
        ("a.jsonl", b'{"text": \n', ["a.jsonl, line 1", "not valid JSON"]),
        ("a.jsonl", b'\n\n["x"]\n', ["a.jsonl, line 3", "a list"]),
        ("a.jsonl", b'{"body": "x"}\n', ["a.jsonl, line 1", "text is missing"]),
        ("a.jsonl", b'{"text": ["x"]}\n', ["a.jsonl, line 1", "text is a list"]),
        ("a.jsonl", b'{"text": "x", "id": [1]}\n', ["a.jsonl, line 1", "id is a list"]),
        ("a.jsonl", b'{"text": "x", "author": {}}\n', ["a.jsonl, line 1", "author is an object"]),
        ("a.jsonl", b'{"text": "x", "kind": 5}\n', ["a.jsonl, line 1", "kind is 5"]),
        ("a.jsonl", b'{"text": "x", "n": ' + b"[" * 100_000 + b"\n", ["a.jsonl, line 1", "nested too deeply"]),
        ("a.jsonl", b'{"text": "x", "n": ' + b"9" * 5000 + b"}\n", ["a.jsonl, line 1", "digits"]),
        ("a.jsonl", b'{"text": "ok"}\n{"text": "\xc3"}\n', ["a.jsonl, line 2, byte 25", "not UTF-8"]),
        ("a.jsonl", b'{"text": "' + b"y" * 5_000_000 + b'"}\n', ["a.jsonl, line 1", "longer than"]),
    ],
)
def test_a_broken_table_is_refused_with_its_line(tmp_path: Path, name: str, content: bytes, words: list[str]) -> None:
    (tmp_path / name).write_bytes(content)
    message = refusal(tmp_path, tmp_path / name)
    assert all(word in message for word in words), message
