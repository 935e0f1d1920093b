"""Posts to a circle stand unmarked among the others of an X export, and are left out by the list beside them."""

from pathlib import Path
from typing import Any

import pytest
from fetch_inputs import posts_of, refused_export
from x_exports import as_zip, export, note, part, tweet

SUMMER = "Sat Aug 20 12:00:00 +0000 2022"


def texts(folder: Path, files: dict[str, str]) -> list[str]:
    return [post.text for post in posts_of(folder, as_zip(folder / "mine.zip", files))]


@pytest.mark.parametrize("member", ["twitter-circle-tweet.js", "twitter-circle-tweet-part1.js"])
def test_posts_that_the_list_names_are_left_out_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], member: str
) -> None:
    files = export(tweet(1, "for my circle", SUMMER), tweet(2, "for all", SUMMER), tweet(3, "for my circle too", SUMMER))
    listed = {f"data/{member}": part([tweet(1, "for my circle"), {"tweet": {"id": 3}}], 0, "x")}
    assert texts(tmp_path, files | listed) == ["for all"]
    assert "left out 2 posts to a circle" in capsys.readouterr().err


def test_all_versions_of_an_edited_post_have_its_audience(tmp_path: Path) -> None:
    versions = {"edit_info": {"initial": {"editTweetIds": ["1", "4"], "editsRemaining": "4"}}}
    files = export(
        tweet(1, "circle", SUMMER, **versions), tweet(4, "circle, edited", SUMMER, **versions), tweet(5, "for all", SUMMER)
    )
    assert texts(tmp_path, files | {"data/twitter-circle-tweet.js": part([tweet(1, "circle")])}) == ["for all"]


def test_a_long_post_to_a_circle_is_left_out_too(tmp_path: Path) -> None:
    files = export(tweet(1, "secret… https://t.co/a"), tweet(2, "x"), notes=[note("secret and long")])
    assert texts(tmp_path, files | {"data/twitter-circle-tweet.js": part([tweet(1, "secret…")])}) == ["x"]


@pytest.mark.parametrize(
    ("created_at", "month"),
    [
        (SUMMER, "2022-08"),
        ("Tue Oct 31 12:00:00 +0000 2023", "2023-10"),
        ("Sat Apr 30 12:00:00 +0000 2022", ""),
        ("Wed Nov 01 12:00:00 +0000 2023", ""),
    ],
)
def test_without_the_list_the_months_of_circles_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], created_at: str, month: str
) -> None:
    assert texts(tmp_path, export(tweet(1, "x", created_at))) == ["x"]
    said = " ".join(capsys.readouterr().err.split())
    assert ("has no twitter-circle-tweet.js" in said) == bool(month)
    assert month in said
    (tmp_path / "out").rename(tmp_path / "before")
    texts(tmp_path, export(tweet(1, "x", created_at)) | {"data/twitter-circle-tweet.js": part([])})
    assert "twitter-circle-tweet" not in capsys.readouterr().err


@pytest.mark.parametrize("element", [{}, {"tweet": {}}, "1", {"tweet": {"id_str": None}}, {"tweet": {"id": [1]}}])
def test_a_list_whose_posts_cannot_be_told_is_refused(tmp_path: Path, element: Any) -> None:
    message = refused_export(tmp_path, export(tweet(1, "x")) | {"data/twitter-circle-tweet.js": part([element])})
    assert "data/twitter-circle-tweet.js, element 1" in message


def test_a_damaged_list_is_refused(tmp_path: Path) -> None:
    assert "data/twitter-circle-tweet.js" in refused_export(
        tmp_path, export(tweet(1, "x")) | {"data/twitter-circle-tweet.js": "cut ["}
    )
