"""The filter step: the classic rules to the digit, the default rules, the split, the funnel."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.fetch.step import fetch
from components.filter.rules import DefaultRules, Dropped, KeptPost, huggingtweets
from components.filter.step import FilterSettings, filter_posts
from mynah.core.errors import InputError, PlatformError
from mynah.data.datasets import read_texts
from mynah.data.posts import Kind
from tests.code.filter_inputs import ANY_TEXT, many, post, raw_folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limit", "retweets", "short", "kept", "characters"), [(0, 1036, 431, 11624, 1036378), (3200, 580, 221, 2399, 208849)]
)
def test_classic_rules_count_as_the_original_did(shared, tmp_path, limit, retweets, short, kept, characters):
    fetch([str(shared / "data/tweets/julia.csv")], tmp_path / "raw", basis="public-figure-research")
    funnel = filter_posts(tmp_path / "raw", tmp_path / "data", FilterSettings("huggingtweets", limit))
    [author] = funnel.authors
    assert author.dropped == {"retweet": retweets, "short": short}
    assert (author.downloaded, author.kept, author.kept_characters) == (limit or 13091, kept, characters)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I &amp; you &lt;3 the &gt; sign", "I & you <3 the > sign"),
        ("look at this https://t.co/abc now", "look at this now"),
        ("https://t.co/abc look at this", "look at this"),
        ("look at this\nhttp://t.co/abc", "look at this"),
        ("two\n\nlines   and\tblanks", "two lines and blanks"),
        ("@ann I quite agree with", "@ann I quite agree with"),
        ("caf&eacute; is left &quot;as it is&quot;", "caf&eacute; is left &quot;as it is&quot;"),
    ],
)
def test_classic_cleaning(text, expected):
    assert huggingtweets(post(text)) == KeptPost(expected)


@pytest.mark.parametrize(
    ("text", "kind", "reason"),
    [
        ("RT @bob: what he said was long enough", Kind.ORIGINAL, "retweet"),
        ("flagged by the platform as a repost", Kind.REPOST, "retweet"),
        ("Ay, sir", Kind.ORIGINAL, "short"),
        ("@ann @bob #fine yes no", Kind.ORIGINAL, "short"),
        ("one two https://t.co/abc", Kind.ORIGINAL, "short"),
        ("", Kind.ORIGINAL, "short"),
    ],
)
@pytest.mark.parametrize("judge", [huggingtweets, DefaultRules()])
def test_what_both_rules_drop(judge, text, kind, reason):
    assert judge(post(text, kind)) == Dropped(reason)


def test_default_rules_mend_what_the_classic_ones_miss():
    judge = DefaultRules()
    assert judge(post("caf&eacute; &quot;as it was&quot; said")) == KeptPost('café "as it was" said')
    assert judge(post("CAFÉ &quot;AS IT WAS&quot; SAID")) == Dropped("duplicate")
    assert judge(post("the end <|endoftext|> is not the end")) == KeptPost("the end is not the end")
    assert judge(post("&lt;|endoftext|&gt; hidden in three entities here")) == KeptPost("hidden in three entities here")
    assert judge(post("bell\x07 and null\x00 go from here")) == KeptPost("bell and null go from here")


@given(ANY_TEXT)
def test_classic_cleaning_holds_for_any_text(text):
    judged = huggingtweets(post(text))
    if isinstance(judged, Dropped):
        return
    assert judged.text == " ".join(judged.text.split())
    assert len(judged.text) <= len(text)
    if "&" not in judged.text and "http" not in judged.text:  # the original unescapes once, and misses URLs within URLs
        assert huggingtweets(post(judged.text)) in (judged, Dropped("retweet"))


@pytest.mark.slow
@settings(max_examples=20)
@given(st.lists(st.tuples(st.sampled_from(["ann", "bob"]), st.text(max_size=40), st.sampled_from(list(Kind))), max_size=40))
def test_the_funnel_always_adds_up(tmp_path_factory, found):
    folder = tmp_path_factory.mktemp("funnel")
    posts = [post(text, kind, n, author) for n, (author, text, kind) in enumerate(found)]
    raw_folder(folder / "raw", posts + many())
    funnel = filter_posts(folder / "raw", folder / "data", FilterSettings())
    for place in range(len(funnel.authors)):
        numbers = [counts[place] for _, counts in funnel.rows()]
        assert numbers[0] == sum(numbers[1:])
    assert funnel.train + funnel.held_out == sum(author.kept for author in funnel.authors)
    dropped = (folder / "data" / "dropped.jsonl").read_text("utf-8").count("\n")
    assert dropped == sum(sum(author.dropped.values()) for author in funnel.authors)


@pytest.mark.slow
def test_split_is_ninety_to_ten_and_moves_with_the_seed(tmp_path):
    raw_folder(tmp_path / "raw", many(300))
    parts = []
    for seed in (1, 1, 2):
        filter_posts(tmp_path / "raw", tmp_path / "data", FilterSettings(seed=seed))
        parts.append(read_texts(tmp_path / "data", "held_out"))
    assert len(parts[0]) == 30
    assert parts[0] == parts[1] != parts[2]


def test_the_limit_is_for_each_author(tmp_path):
    raw_folder(tmp_path / "raw", many(150) + many(150, "bob", 1000))
    funnel = filter_posts(tmp_path / "raw", tmp_path / "data", FilterSettings(limit=120))
    assert [(author.author, author.downloaded) for author in funnel.authors] == [("ann", 120), ("bob", 120)]


def test_every_drop_is_written_with_its_reason(tmp_path):
    raw_folder(tmp_path / "raw", [*many(), post("Ay", number=900), post("RT @a: b c d e", number=901)])
    filter_posts(tmp_path / "raw", tmp_path / "data", FilterSettings())
    dropped = [json.loads(line) for line in (tmp_path / "data" / "dropped.jsonl").read_text().splitlines()]
    assert [(record["id"], record["reason"]) for record in dropped] == [("900", "short"), ("901", "retweet")]


def test_too_few_characters_is_an_error_that_says_so(tmp_path):
    raw_folder(tmp_path / "raw", many(20))
    with pytest.raises(InputError, match=r"only 1,150 characters .* needs 6,000"):
        filter_posts(tmp_path / "raw", tmp_path / "data", FilterSettings())
    assert not (tmp_path / "data").exists()


def test_few_characters_is_a_warning(tmp_path, capsys):
    raw_folder(tmp_path / "raw", many(200))
    filter_posts(tmp_path / "raw", tmp_path / "data", FilterSettings())
    assert "warning: " in (told := capsys.readouterr().err)
    assert "40,000" in told


def test_unknown_rules_name_the_known(tmp_path):
    raw_folder(tmp_path / "raw", many())
    with pytest.raises(InputError, match="unknown rules 'classic'\nUse --rules huggingtweets or default"):
        filter_posts(tmp_path / "raw", tmp_path / "data", FilterSettings("classic"))


@pytest.mark.parametrize("what", ["missing", "empty", "file"])
def test_raw_that_is_no_raw(tmp_path, what):
    raw = tmp_path / "raw"
    if what == "empty":
        raw.mkdir()
    elif what == "file":
        raw.write_text("posts")
    with pytest.raises(InputError, match=r"no posts\.jsonl\nIs it a folder that `mynah fetch` wrote"):
        filter_posts(raw, tmp_path / "data", FilterSettings())


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 2: not valid JSON"),
        ('{"id": 1}', "not a post"),
        ("[1]", "not a post"),
        ('{"id":1,"author":"a","text":"x","kind":"poem"}', "poem"),
    ],
)
def test_a_broken_line_is_named(tmp_path, line, said):
    raw = raw_folder(tmp_path / "raw", many(1))
    with (raw / "posts.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(InputError, match=said):
        filter_posts(raw, tmp_path / "data", FilterSettings())


def test_a_foreign_folder_is_left_alone(tmp_path):
    raw_folder(tmp_path / "raw", many())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="not written by mynah"):
        filter_posts(tmp_path / "raw", tmp_path / "mine", FilterSettings())
    with pytest.raises(InputError, match="is a file"):
        filter_posts(tmp_path / "raw", tmp_path / "mine" / "thesis.txt", FilterSettings())
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_a_full_disk_leaves_nothing_half_written(tmp_path, small_disk):
    raw_folder(tmp_path / "raw", many(3000))
    disk = small_disk(64)
    with pytest.raises(PlatformError, match="no space left"):
        filter_posts(tmp_path / "raw", disk / "data", FilterSettings())
    assert list(disk.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("what a URL parts <|endohttp://t.co/x oftext|> stays apart", "what a URL parts <|endo oftext|> stays apart"),
        ("a URL hthttps://t.co/x tp://x.co/y in a URL", "a URL ht tp://x.co/y in a URL"),
        ("a keyboard that writes Https://t.co/X itself", "a keyboard that writes itself"),
        ("three\x0bold\x0cline ends\u2028part words", "three old line ends part words"),
        (f"a number &#{'9' * 5000}; that is no character", "a number that is no character"),
        ("half of a \ud83d pair goes", "half of a pair goes"),
    ],
)
def test_default_rules_hold_against_crafted_posts(text, expected):
    assert DefaultRules()(post(text)) == KeptPost(expected)


def test_a_limit_below_zero_is_refused():
    with pytest.raises(InputError, match="the limit of posts is -1"):
        FilterSettings(limit=-1)


@pytest.mark.parametrize(
    "posts", [[post("one and the same text " * 300)], [post("one and the same text " * 3, number=n) for n in range(200)]]
)
def test_one_text_alone_cannot_be_split(tmp_path, posts):
    raw_folder(tmp_path / "raw", posts)
    with pytest.raises(InputError, match="none can be held out"):
        filter_posts(tmp_path / "raw", tmp_path / "data", FilterSettings("huggingtweets"))
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"id": "1", "author": "a", "text": "\xff"}', "not UTF-8"),
        (b"[" * 100_000, "line 2: not valid JSON"),
        (b"1" * 5000, "line 2: not valid JSON"),
        (b'{"id": "1", "author": "a", "text": null}', "the text is not a string"),
        (b'{"id": "1", "author": "a", "text": "x", "created_at": "2020-01-01T00:00:00"}', "no time zone"),
        (b'{"id": "1", "author": "a", "text": "x", "created_at": "yesterday"}', "not a post"),
    ],
)
def test_bytes_that_are_no_posts(tmp_path, line, said):
    raw = raw_folder(tmp_path / "raw", many(1))
    with (raw / "posts.jsonl").open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(InputError, match=said):
        filter_posts(raw, tmp_path / "data", FilterSettings())
    assert not (tmp_path / "data").exists()
