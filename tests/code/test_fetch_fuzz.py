"""Whatever bytes come, fetch gives posts or a MynahError, and leaves no half-written output."""

import csv
import io
import json
import random
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from x_exports import as_folder, as_zip, export, note, old_export, old_tweet, part, quoting, tweet

from components.fetch.step import fetch
from components.fetch.x.export_json import elements
from mynah.core.errors import MynahError
from mynah.data.posts import Kind, Post, read_posts, write_posts
from tests.code.fetch_mutations import mutated, result_or_refusal

pytestmark = pytest.mark.slow  # processes, or thousands of texts: not before each commit

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "components" / "fetch" / "sample" / "groundling.zip"


def small_export() -> dict[str, bytes]:
    more = quoting("https://x.com/a/status/1") | {"in_reply_to_user_id_str": "5", "source": "<a href='x'>Web &amp; so</a>"}
    marks = {"user_mentions": [{"screen_name": "a", "indices": ["3", "5"]}], "hashtags": [{"indices": ["0", "2"]}]}
    edited = {"edit_info": {"initial": {"editTweetIds": ["1", "4"], "editsRemaining": "4"}}}
    files = export(
        tweet(1, "One &amp; 🎭", **edited),
        tweet(2, "RT @a: b", entities=marks),
        tweet(3, "Cut… https://t.co/a", **more),
        tweet(4, "One", edit_info={"edit": {"initialTweetId": "1", "editControlInitial": edited["edit_info"]["initial"]}}),
        notes=[note("Cut and whole")],
    )
    return {name: text.encode() for name, text in files.items()}


def small_old_export() -> dict[str, bytes]:
    files = old_export(old_tweet(1, "One &amp; 🎭"), old_tweet(2, "RT @a: b", retweeted_status=old_tweet(3, "b")))
    return {name: text.encode() for name, text in files.items()}


def small_old_table() -> dict[str, bytes]:
    header = b'"tweet_id","in_reply_to_status_id","in_reply_to_user_id","timestamp","source","text","retweeted_status_id","expanded_urls"'
    row = b'"5","4","5","2017-01-01 21:48:41 +0000","<a href=""x"">Echofon</a>","@wren A, ""b""","",""'
    details = small_old_export()["data/js/user_details.js"]
    return {"tweets.csv": b"\n".join([header, row, row, b""]), "data/js/user_details.js": details}


def small_outbox() -> dict[str, bytes]:
    actor = {
        "id": "https://b.example/users/wren",
        "preferredUsername": "wren",
        "name": "Wren",
        "summary": "<p>Small &amp; bird</p>",
    }
    note_ = {
        "id": "https://b.example/users/wren/statuses/1", "type": "Note", "published": "2024-03-01T12:00:00Z",
        "content": "<p>Hello <a href='x'>#all</a></p>", "to": ["https://www.w3.org/ns/activitystreams#Public"], "inReplyTo": None,
    }  # fmt: skip
    item = {
        "id": f"{note_['id']}/activity",
        "type": "Create",
        "published": note_["published"],
        "to": note_["to"],
        "object": note_,
    }
    box = {"type": "OrderedCollection", "totalItems": 2, "orderedItems": [item, item]}
    return {"actor.json": json.dumps(actor).encode(), "outbox.json": json.dumps(box).encode()}


@pytest.mark.parametrize("seed", range(3))
def test_mutated_bytes_of_the_sample_zip(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    whole = SAMPLE.read_bytes()
    with zipfile.ZipFile(SAMPLE) as packed:
        directory = packed.start_dir
    for _ in range(40):
        head, tail = (whole, b"") if rng.random() < 0.5 else (whole[:directory], whole[directory:])
        (tmp_path / "a.zip").write_bytes(head + mutated(tail, rng) if tail else mutated(head, rng))
        result_or_refusal(tmp_path / "a.zip", tmp_path / "out")


@pytest.mark.parametrize(
    ("make", "member"),
    [
        (small_export, "data/tweets.js"),
        (small_export, "data/manifest.js"),
        (small_export, "data/account.js"),
        (small_export, "data/profile.js"),
        (small_export, "data/note-tweet.js"),
        (small_old_export, "data/js/tweets/2015_01.js"),
        (small_old_export, "data/js/user_details.js"),
        (small_old_table, "tweets.csv"),
        (small_outbox, "actor.json"),
        (small_outbox, "outbox.json"),
    ],
)
def test_mutated_members_of_an_export(tmp_path: Path, make: Callable[[], dict[str, bytes]], member: str) -> None:
    rng = random.Random(member)
    files = make()
    outcomes = []
    for _ in range(80):
        folder = as_folder(tmp_path / "a", files | {member: mutated(files[member], rng)})
        outcomes.append(result_or_refusal(folder, tmp_path / "out"))
    assert set(outcomes) == {True, False}, "some mutations are harmless and some are not"


def test_mutated_small_zips(tmp_path: Path) -> None:
    """Small, so that most mutations hit the zip's own structure."""
    rng = random.Random(7)
    whole = as_zip(tmp_path / "whole.zip", {"data/tweets.js": part([tweet(1, "x")])}).read_bytes()
    for _ in range(300):
        (tmp_path / "a.zip").write_bytes(mutated(whole, rng))
        result_or_refusal(tmp_path / "a.zip", tmp_path / "out")


def swollen(data: bytes, rng: random.Random) -> bytes:
    """`data` with a stretch of it, mostly a whole element, repeated to some megabytes."""
    start = rng.choice([place for place, byte in enumerate(data) if byte in b'[{"'])
    stretch = data[start : start + rng.choice((1, 3, 40, 400))]
    return data[:start] + stretch * (rng.choice((1, 6)) * 1_000_000 // len(stretch)) + data[start:]


FETCHES = """
import resource, sys
from pathlib import Path
from mynah.core.errors import MynahError
from components.fetch.step import fetch
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))  # more is a MemoryError, which ends this process with a traceback
read = 0
for source in sorted(Path(sys.argv[1]).iterdir()):
    try:
        read += fetch([str(source)], Path(sys.argv[2]), basis="permission")[0].posts > 0
    except MynahError:
        pass
    print(source.name, read)
"""


def test_no_export_however_mutated_takes_more_than_a_gigabyte(tmp_path: Path) -> None:
    rng, exports = random.Random(11), tmp_path / "exports"
    for number in range(30):
        files = rng.choice((small_export, small_old_export, small_outbox))()
        member = rng.choice(sorted(name for name in files if name.endswith((".js", ".json"))))
        change = mutated if number % 3 else swollen
        as_folder(exports / f"mutated-{number:02d}", files | {member: change(files[member], rng)})
    as_folder(exports / "objects", small_export() | {"data/account.js": b"x = [" + b"{}," * 17_000_000 + b"{}]"})
    as_folder(exports / "one-text", small_export() | {"data/tweets.js": b'x = ["' + b"y" * 60_000_000})
    as_folder(exports / "one-list", small_export() | {"data/manifest.js": b"x = {" + b'"dataTypes":[' * 5_000_000})
    done = subprocess.run(
        [sys.executable, "-c", FETCHES, str(exports), str(tmp_path / "out")], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    assert len(lines) == 33 and 0 < int(lines[-1].split()[1]) < 33, "some mutations are harmless and some are not"


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_mutated_tables(tmp_path: Path, suffix: str) -> None:
    rng = random.Random(suffix)
    lines = {
        "csv": b'id,text,author,created_at,kind,lang\n1,"a, ""b""\n",x,2020-01-01,reply,en\n2,c,,2020,,\n',
        "jsonl": b'{"id": 1, "text": "a", "author": "x", "created_at": "2020-01-01T00:00:00Z", "kind": "reply"}\n{"text": "b"}\n',
    }
    for _ in range(150):
        (tmp_path / f"a.{suffix}").write_bytes(mutated(lines[suffix], rng))
        result_or_refusal(tmp_path / f"a.{suffix}", tmp_path / "out")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150)
@given(st.lists(JSON, max_size=6), st.integers(1, 40), st.sampled_from([None, 1]), st.booleans())
def test_elements_do_not_depend_on_where_the_chunks_end(
    values: list[object], size: int, indent: int | None, ascii_only: bool
) -> None:
    text = f"window.YTD.tweets.part0 = {json.dumps(values, indent=indent, ensure_ascii=ascii_only)}"
    data = text.encode("utf-8", "replace")
    chunks = [data[place : place + size] for place in range(0, len(data), size)]
    assert [value for _, value in elements(chunks, "x")] == json.loads(data.decode().partition("= ")[2])


@settings(max_examples=150)
@given(st.lists(JSON, min_size=1, max_size=4), st.integers(1, 40), st.data())
def test_a_cut_list_is_refused_wherever_it_is_cut(values: list[object], size: int, data: st.DataObject) -> None:
    text = json.dumps(values).encode()
    short = text[: data.draw(st.integers(0, len(text) - 1))]
    with pytest.raises(MynahError, match="x"):
        list(elements([short[place : place + size] for place in range(0, len(short), size)], "x"))


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)
TIMES = st.none() | st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
POSTS = st.builds(
    Post,
    id=st.text("0123456789abcdef", min_size=1, max_size=20),
    author=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_]{0,14}", fullmatch=True).map(lambda name: name.rstrip("_") or "a"),
    text=TEXTS,
    created_at=TIMES,
    kind=st.sampled_from(Kind),
    language=st.sampled_from(["", "en", "pt-BR"]),
    source=st.sampled_from(["x-export", "csv", "jsonl"]),
    reply_to=st.text("0123456789abcdef", max_size=20),
    reply_to_self=st.booleans(),
    client=st.sampled_from(["", "Twitter for iPhone", "a <b>"]),
)


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(POSTS, min_size=1, max_size=8))
def test_posts_survive_being_written_and_fetched(posts: list[Post]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_posts(folder, posts)
        fetch([str(folder / "posts.jsonl")], folder / "out", basis="permission")
        assert list(read_posts(folder / "out")) == posts


@settings(max_examples=100)
@given(st.lists(TEXTS.filter(lambda text: "\0" not in text), min_size=1, max_size=8))
def test_any_text_survives_csv_and_an_export(texts: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        written = io.StringIO(newline="")
        rows = csv.writer(written, quoting=csv.QUOTE_ALL)
        rows.writerows([["id", "text"], *([str(number), text] for number, text in enumerate(texts))])
        (folder / "a.csv").write_bytes(written.getvalue().encode())
        as_zip(folder / "a.zip", {"data/tweets.js": part([tweet(number, text) for number, text in enumerate(texts)])})
        fetch([str(folder / "a.csv"), str(folder / "a.zip")], folder / "out", basis="permission")
        assert [post.text for post in read_posts(folder / "out")] == texts + texts
