"""The split, threads, the funnel's files and its picture."""

import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from components.card.pictures.funnel import bars, draw_funnel
from components.errors import InputError
from components.filter import FilterSettings, filter_posts, read_texts
from components.filter.funnel import LABELS, rows
from components.filter.near import THRESHOLD, likeness, pairs_of_words
from components.filter.split import Sides
from components.filter.threads import Part, merged
from components.posts import Entity, Kind, Post, read_posts, write_posts
from tests.code.filter_inputs import many, post, raw_folder

BEGAN = datetime(2024, 1, 1, tzinfo=UTC)


def sides_of(texts, seed=42, **more):
    sides = Sides(seed, **more)
    for number, text in enumerate(texts):
        sides.add(text, post(text, number=number, created_at=BEGAN + timedelta(hours=number)))
    return sides.held_out()


def lines(folder, name):
    return [json.loads(line) for line in (folder / name).read_text("utf-8").splitlines()]


@given(st.lists(st.text(min_size=1, max_size=3), min_size=2, max_size=60), st.integers(0, 99))
@settings(max_examples=60)
def test_equal_texts_are_on_one_side(texts, seed):
    chosen = sides_of(texts, seed)
    held_out = {texts[number].casefold() for number in chosen}
    assert not held_out & {text.casefold() for number, text in enumerate(texts) if number not in chosen}
    assert sides_of(texts, seed) == chosen


@given(st.integers(0, 9))
@settings(max_examples=5)
def test_near_duplicates_are_on_one_side_when_their_rule_is_off(seed):
    texts = [
        f"Thing {n} happened to me on the way to {place}, and I laughed about it"
        for n in range(120)
        for place in ("work", "work today", "school")
    ]
    texts += [record.text for record in many(200)]
    chosen = sides_of(texts, seed)
    pairs = [pairs_of_words(text) for text in texts]
    assert 0 < len(chosen) <= 0.1 * len(texts)
    for one in chosen:
        assert not any(likeness(pairs[one], pairs[other]) >= THRESHOLD for other in range(len(texts)) if other not in chosen)


@pytest.mark.parametrize("rules", ["huggingtweets", "default,-near-duplicates"])
def test_the_same_through_the_files(tmp_path, rules):
    texts = [
        f"Number {n}: the {word} is late again, as it was all of last week, and {n} of us wait"
        for n in range(60)
        for word in ("train", "bus")
    ]
    raw_folder(tmp_path / "raw", [post(text, number=n) for n, text in enumerate(texts)] + many(150, start=1000))
    filter_posts(tmp_path / "raw", tmp_path / "data", FilterSettings(rules))
    train, held_out = (read_texts(tmp_path / "data", part) for part in ("train", "held_out"))
    assert len(train) + len(held_out) == 270
    assert 20 <= len(held_out) <= 27
    for text in held_out:
        assert not any(likeness(pairs_of_words(text), pairs_of_words(other)) >= THRESHOLD for other in train)


def test_most_texts_stay_on_their_side_when_posts_come_and_go():
    texts = [record.text for record in many(400)]
    before = {texts[number] for number in sides_of(texts)}
    less = texts[20:]
    after = {less[number] for number in sides_of(less)}
    assert len(before - after - set(texts[:20])) <= 4
    assert len(after - before) <= 4


def test_a_cluster_larger_than_a_tenth_is_trained_on():
    nearly = [f"We are out of bread, and of milk, and of eggs, and of all else that there was {'!' * n}" for n in range(50)]
    texts = nearly + [record.text for record in many(50)]
    chosen = sides_of(texts)
    assert len(chosen) == 10
    assert min(chosen) >= 50


def test_two_clusters_alone_are_split_between_the_sides():
    texts = [f"We are out of bread, and of milk, and of eggs {'!' * n}" for n in range(20)]
    texts += [f"The train is late again, as it was all week {'!' * n}" for n in range(5)]
    assert sides_of(texts) == set(range(20, 25))
    assert sides_of(texts[:20]) == set()


def test_by_time_holds_the_newest_out_of_each_author(tmp_path):
    posts = [
        Post(each.id, each.author, each.text, BEGAN + timedelta(hours=int(each.id)))
        for each in many(150) + many(150, "bob", 1000)
    ]
    raw_folder(tmp_path / "raw", posts[::-1])
    for rules in ("default,+by-time", "huggingtweets,+by-time"):
        filter_posts(tmp_path / "raw", tmp_path / "data", FilterSettings(rules))
        held_out = sorted(int(record["id"]) for record in lines(tmp_path / "data", "held_out.jsonl"))
        assert held_out == [*range(135, 150), *range(1135, 1150)]


def test_by_time_needs_times(tmp_path):
    raw_folder(tmp_path / "raw", many())
    with pytest.raises(InputError, match=r"the post 0 of ann has no time.*\nLeave"):
        filter_posts(tmp_path / "raw", tmp_path / "data", FilterSettings("default,+by-time"))
    assert not (tmp_path / "data").exists()


def test_a_near_duplicate_names_the_post_that_it_repeats(tmp_path):
    raw_folder(tmp_path / "raw", [*many(), post("@bob Post number 7 says that the weather is finefinefine today!", number=900)])
    filter_posts(tmp_path / "raw", tmp_path / "data", FilterSettings())
    [dropped] = lines(tmp_path / "data", "dropped.jsonl")
    assert (dropped["id"], dropped["reason"], dropped["like"]) == ("900", "near-duplicate", "7")
    assert dropped["text"].startswith("@bob")


def thread(*parts, author="ann", start=5100):
    """A post and the author's own answers, each to the one before."""
    return [
        post(text, Kind.REPLY if n else Kind.ORIGINAL, start + n, author, reply_to=str(start + n - 1) if n else "", reply_to_self=bool(n),
             created_at=BEGAN + timedelta(minutes=start + n))
        for n, text in enumerate(parts)
    ]  # fmt: skip


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
    part, whole = merged(lambda: [first, second])
    assert isinstance(part, Part)
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
    found = list(merged(lambda: posts))
    assert sorted((each.post if isinstance(each, Part) else each).id for each in found) == sorted(each.id for each in posts)
    assert sum(len(each.text.split()) // 2 for each in found if not isinstance(each, Part)) == len(posts)


def test_a_thread_of_ten_thousand_posts(tmp_path):
    found = list(merged(lambda: thread(*["and so on"] * 10_000)[::-1]))
    assert len(found) == 10_000
    assert found[-1].text == " ".join(["and so on"] * 10_000)


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
    table = rows(funnel.to_record())
    for place in range(len(funnel.authors)):
        numbers = [counts[place] for _, counts in table]
        assert numbers[0] == sum(numbers[1:])
    assert [label for label, _ in table][1:3] == ["Retweets", "Short tweets"]
    assert len(table) == 4 or not classic
    assert len(lines(folder / "data", "dropped.jsonl")) == sum(sum(counts) for _, counts in table[1:-1])
    assert sum(sum(counts) for _, counts in table[:1]) == len(posts) + 200


def test_every_reason_has_words_for_people():
    reasons = {"retweet", "short", "manual-quote", "automated", "language", "duplicate", "near-duplicate", "merged"}
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


@pytest.mark.parametrize("rules", ["huggingtweets", "default,+threads"])
def test_the_classic_rows_and_the_joined_add_up(tmp_path, rules):
    story = thread("So I went to the shop", "@ann and they were out of bread", "@ann Ay")
    raw_folder(tmp_path / "raw", [*many(), *story, post("RT @bob: yes", number=8000), post("Ay", number=8001)])
    told = dict(rows(filter_posts(tmp_path / "raw", tmp_path / "data", FilterSettings(rules)).to_record()))
    joined = told.pop("Joined to their thread", [0])
    assert joined == [2 if "threads" in rules else 0]
    assert told["Tweets downloaded"] == [205]
    assert told["Retweets"] == [1]
    assert told["Short tweets"] == [1 if "threads" in rules else 2]
    assert told["Tweets kept"] == [201 if "threads" in rules else 202]
    assert (
        told["Tweets downloaded"][0] == sum(told[label][0] for label in ("Retweets", "Short tweets", "Tweets kept")) + joined[0]
    )


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


def test_julia(shared, tmp_path):
    from components.fetch import fetch

    fetch([str(shared / "data/tweets/julia.csv")], tmp_path / "raw", basis="permission")
    [author] = filter_posts(tmp_path / "raw", tmp_path / "data", FilterSettings()).authors
    assert (author.downloaded, author.dropped["retweet"], author.dropped["short"]) == (13091, 1036, 431)
    assert {reason: count for reason, count in author.dropped.items() if reason not in ("retweet", "short")} == {
        "manual-quote": 11, "automated": 3, "duplicate": 21, "near-duplicate": 22
    }  # fmt: skip
    texts = read_texts(tmp_path / "data", "train")
    assert not any("http" in text or "&amp;" in text or text.startswith("@") for text in texts)
