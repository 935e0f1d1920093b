"""The funnel's files and its picture: rows add up, each reason has words, and the command shows them."""

import json
import re
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from components.filter.step import FilterSettings, filter_posts
from mynah.data.datasets import read_texts
from mynah.data.funnel import LABELS
from mynah.data.posts import Kind, Post, read_posts, write_posts
from mynah.drawing.funnel_chart import bars, draw_funnel
from tests.code.filter_inputs import BEGAN, lines, many, post, raw_folder


@pytest.mark.slow
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["ann", "bob"]),
            st.sampled_from(
                ["a b c d", "RT @x: y", "hi", "Today stats: 3 new", "“@x: so it is” yes", "A B C D!", "one two three"]
            ),
        ),
        max_size=30,
    ),
    st.booleans(),
)
@settings(max_examples=15)
def test_all_rows_add_up_whatever_the_rules(tmp_path_factory, found, classic):
    folder = tmp_path_factory.mktemp("funnel")
    posts = [
        post(text, number=n, author=author, reply_to=str(n - 1), reply_to_self=n % 3 > 0)
        for n, (author, text) in enumerate(found)
    ]
    raw_folder(folder / "raw", posts + many(200, start=1000))
    funnel = filter_posts(
        folder / "raw", folder / "data", FilterSettings("huggingtweets" if classic else "default,+threads,+language")
    )
    table = funnel.rows()
    for place in range(len(funnel.authors)):
        numbers = [counts[place] for _, counts in table]
        assert numbers[0] == sum(numbers[1:])
    assert [label for label, _ in table][1:3] == ["Retweets", "Short tweets"]
    assert len(table) == 4 or not classic
    assert len(lines(folder / "data", "dropped.jsonl")) == sum(sum(counts) for _, counts in table[1:-1])
    assert sum(sum(counts) for _, counts in table[:1]) == len(posts) + 200


def test_every_reason_has_words_for_people():
    reasons = {"copy", "retweet", "short", "manual-quote", "automated", "language", "duplicate", "near-duplicate", "merged"}
    assert set(LABELS) == reasons
    assert len(set(LABELS.values())) == len(reasons)


def test_the_picture_shows_where_the_posts_went(tmp_path):
    raw_folder(tmp_path / "raw", [*many(), *(post("Ay", number=n) for n in range(900, 1100))])
    filter_posts(tmp_path / "raw", tmp_path / "data", FilterSettings())
    with Image.open(tmp_path / "data" / "funnel.png") as image:
        assert image.width == 1200
        colours = image.convert("RGB").getcolors(1 << 20)
    dropped = next(count for count, colour in colours if colour == (201, 126, 74))
    kept = max(count for count, colour in colours if colour not in ((201, 126, 74), (252, 250, 246)))
    assert dropped == pytest.approx(kept / 3, rel=0.05)  # 200 of 400; the author's colour is in two bars, of 400 and of 200
    assert not (tmp_path / "data" / "kept.jsonl").exists()


@pytest.mark.parametrize("handle", ["ann" * 70, "a.b-c_" * 40, "🦜" * 200, "ש" * 200, ""])
def test_of_a_long_handle_as_much_is_drawn_as_there_is_room_for(tmp_path, handle):
    nothing = [("Tweets downloaded", [0]), ("Tweets kept", [0])]
    draw_funnel(nothing, ["b"], tmp_path / "short.png")
    draw_funnel(nothing, [handle], tmp_path / "long.png")
    short, long = (title_width(tmp_path / name) for name in ("short.png", "long.png"))
    assert long > short or not handle
    assert long <= 1200 - 40


def title_width(path):
    """Up to which column the title goes."""
    with Image.open(path) as image:
        return ImageOps.invert(image.convert("L")).crop((0, 0, 1200, 90)).point(lambda level: 255 * (level > 40)).getbbox()[2]


def test_the_command_gives_the_table_as_json(tmp_path):
    raw_folder(tmp_path / "raw", [*many(), *many(50, "bob", 500), post("Ay", number=901)])
    command = [sys.executable, "-m", "pipelines", "filter", tmp_path / "raw", "--out", tmp_path / "data", "--json"]
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert [(each["author"], each["downloaded"], each["dropped"], each["kept"]) for each in told["authors"]] == [
        ("ann", 201, {"short": 1}, 200), ("bob", 50, {}, 50)
    ]  # fmt: skip
    assert told == json.loads((tmp_path / "data" / "funnel.json").read_text())


def test_bars_hang_where_the_last_one_ended():
    table = [("in", 10), ("a", 2), ("b", 0), ("c", 3), ("out", 5)]
    assert bars(table) == [("in", 10, 0, 1), ("a", 2, 0.8, 1), ("b", 0, 0.8, 0.8), ("c", 3, 0.5, 0.8), ("out", 5, 0, 0.5)]
    assert bars([("in", 0), ("out", 0)]) == [("in", 0, 0, 0), ("out", 0, 0, 0)]


def test_posts_keep_their_fields_and_old_ones_are_read(tmp_path):
    whole = Post("1", "ann", "@bob hi", BEGAN, Kind.REPLY, "en", "x-export", (), "7", True, "Buffer")
    write_posts(tmp_path, [whole])
    assert list(read_posts(tmp_path)) == [whole]
    (tmp_path / "posts.jsonl").write_text('{"id": "1", "author": "ann", "text": "hi"}\n')
    assert list(read_posts(tmp_path)) == [Post("1", "ann", "hi")]


def test_the_limit_takes_the_newest_without_changing_their_order(tmp_path):
    raw_folder(tmp_path / "raw", many(300))
    funnel = filter_posts(tmp_path / "raw", tmp_path / "data", FilterSettings(limit=200))
    ids = [int(record["id"]) for record in lines(tmp_path / "data", "train.jsonl")]
    assert funnel.authors[0].downloaded == 200
    assert ids == sorted(ids)
    assert min(ids) >= 100


@pytest.mark.parametrize(
    ("rules", "said"),
    [("default,-near-dups", "Did you mean -near-duplicates?"), ("default,+by-time", "the post 0 of ann has no time")],
)
def test_the_command_refuses_in_one_line_and_writes_nothing(tmp_path, rules, said):
    raw_folder(tmp_path / "raw", many())
    command = [sys.executable, "-m", "pipelines", "filter", tmp_path / "raw", "--out", tmp_path / "data", "--rules", rules]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw"]


def test_the_command_shows_each_reason_with_its_number(tmp_path):
    again = [post("Post number 7 says that the weather is finefinefine today!", number=900), post("Ay", number=901)]
    raw_folder(tmp_path / "raw", [*many(), *again, post("So true! RT @bob: the sun is out", number=902)])
    command = [
        sys.executable,
        "-m",
        "pipelines",
        "filter",
        tmp_path / "raw",
        "--out",
        tmp_path / "data",
        "--rules",
        "default,+threads",
    ]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for label, number in (
        ("Tweets downloaded", 203),
        ("Short tweets", 1),
        ("Quotes of others by hand", 1),
        ("Near duplicates", 1),
        ("Tweets kept", 200),
    ):
        assert re.search(rf"{label} +│ +{number} ", told), told


@pytest.mark.slow
def test_julia(shared, tmp_path):
    from components.fetch.step import fetch

    fetch([str(shared / "data/tweets/julia.csv")], tmp_path / "raw", basis="permission")
    [author] = filter_posts(tmp_path / "raw", tmp_path / "data", FilterSettings()).authors
    assert (author.downloaded, author.dropped["retweet"], author.dropped["short"]) == (13091, 1036, 431)
    assert {reason: count for reason, count in author.dropped.items() if reason not in ("retweet", "short")} == {
        "manual-quote": 14, "automated": 3, "duplicate": 21, "near-duplicate": 22
    }  # fmt: skip
    texts = read_texts(tmp_path / "data", "train")
    assert not any("http" in text or "&amp;" in text or text.startswith("@") for text in texts)
