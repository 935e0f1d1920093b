"""`mynah fetch --author` for a table: that author's rows, and no others."""

from pathlib import Path

import pytest
from fetch_inputs import posts_of
from test_table_columns import Said, csv_of, said  # noqa: F401

from components.fetch.step import fetch
from components.fetch.tables.columns import TableColumns
from mynah.core.errors import InputError
from mynah.data.posts import Kind, read_posts

ROWS = ("ann,one", "ben,two", "@Ann,three", "carla,four", ",five")


@pytest.mark.parametrize("author", ["ann", "@ANN"])
def test_only_the_rows_of_the_named_author_are_read(tmp_path: Path, said: Said, author: str) -> None:  # noqa: F811
    path = csv_of(tmp_path, "author,text", *ROWS)
    fetch([str(path)], tmp_path / "out", basis="permission", author=author)
    assert [post.text for post in read_posts(tmp_path / "out")] == ["one", "three"]
    assert "3 posts of others are left out (3 authors); only @ann's are read" in " ".join(said().split()).lower()


def test_a_limit_counts_the_named_authors_posts(tmp_path: Path) -> None:
    path = csv_of(tmp_path, "author,text,date", "ann,one,2020-01-01", "ben,two,2020-01-03", "ann,three,2020-01-02")
    fetch([str(path)], tmp_path / "out", 1, basis="permission", author="ann")
    assert [post.text for post in read_posts(tmp_path / "out")] == ["three"]


@pytest.mark.parametrize(
    ("author", "words"), [("anm", "The nearest names, with the number of posts: @ann (2)"), ("zzz", "its 4 authors")]
)
def test_an_author_whom_the_table_does_not_have_is_refused_with_those_it_has(tmp_path: Path, author: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        fetch([str(csv_of(tmp_path, "author,text", *ROWS))], tmp_path / "out", basis="permission", author=author)
    message = str(caught.value)
    assert f"has no posts of @{author}" in message and words in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["a.csv", "tweets.jsonl"])
def test_a_table_without_authors_is_the_named_ones(tmp_path: Path, said: Said, name: str) -> None:  # noqa: F811
    (tmp_path / name).write_text("text\nx\n" if name == "a.csv" else '{"text": "x"}\n')
    fetch([str(tmp_path / name)], tmp_path / "out", basis="permission", author="@ann")
    assert [post.author for post in read_posts(tmp_path / "out")] == ["ann"]
    assert said() == ""


def test_a_column_that_looks_like_an_author_is_named_before_all_posts_are_one_persons(tmp_path: Path, said: Said) -> None:  # noqa: F811
    path = csv_of(tmp_path, "creator,text", "ann,x", "ben,y")
    fetch([str(path)], tmp_path / "out", basis="permission", author="ann")
    assert "'creator', which looks like its author, is not read; if it is, name it with --author-column" in " ".join(
        said().split()
    )
    fetch([str(path)], tmp_path / "out", basis="permission", author="ann", columns=TableColumns(author="creator"))
    assert [post.text for post in read_posts(tmp_path / "out")] == ["x"]


def test_numbers_name_no_author(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "x", "user": 5}\n')
    fetch([str(tmp_path / "a.jsonl")], tmp_path / "out", basis="permission", author="ann")
    assert [post.author for post in read_posts(tmp_path / "out")] == ["ann"]


@pytest.mark.parametrize(("name", "body"), [("comments.csv", "body"), ("posts.csv", "title,body")])
def test_a_table_of_many_people_with_reddits_columns_is_no_export(tmp_path: Path, name: str, body: str) -> None:
    extra = "A title," if "title" in body else ""
    rows = "".join(
        f"c{number},x,2023-02-01 12:00:00 UTC,birds,{author},{extra}hello {author}\n"
        for number, author in enumerate(["ann", "ben"])
    )
    (tmp_path / name).write_text(f"id,permalink,date,subreddit,author,{body}\n{rows}")
    posts = posts_of(tmp_path, tmp_path / name)
    assert [(post.author, post.text, post.kind) for post in posts] == [
        ("ann", "hello ann", Kind.ORIGINAL),
        ("ben", "hello ben", Kind.ORIGINAL),
    ]
