"""The fetch step through its command: sources, limit, output, and the sample."""

import json
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from fetch_inputs import FEBRUARY, posts_of, refusal
from x_exports import NOON, as_folder, as_zip, export, tweet

from components.fetch.step import fetch
from mynah.core.files import digest, write_lines
from mynah.data.posts import Kind, Post, read_posts, write_posts
from mynah.data.source_records import SOURCES_FILE

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"
SAMPLE = ROOT / "components" / "fetch" / "sample" / "groundling.zip"


# --- sources, limit, output ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("X://someone", "source type X:// is not supported"),
        ("https://user:secret@host", "source type https:// is not supported"),
        ("ftp://host/file.csv", "source type ftp:// is not supported"),
        ("archive://a.zip", "source type archive:// is not supported"),
        ("tweets:abc", "source type tweets: is not supported"),
        ("archive:", "does not exist"),
        ("", "does not exist"),
        ("missing.zip", "'missing.zip' does not exist"),
        ("archive:missing.zip", "does not exist"),
        ("a\0b", "does not exist"),
        ("y" * 5000, "cannot be opened"),
        ("/dev/null", "neither a file nor a folder"),
    ],
)
def test_unknown_and_missing_sources_say_which_there_are(tmp_path: Path, source: str, words: str) -> None:
    message = refusal(tmp_path, source)
    assert words in message
    assert "Supported sources: archive:EXPORT.zip" in message


def test_no_source_a_negative_limit_and_the_same_source_twice_are_refused(tmp_path: Path) -> None:
    assert "no source given" in refusal(tmp_path)
    assert "-1" in refusal(tmp_path, "sample", limit=-1)
    path = as_zip(tmp_path / "a.zip", export(tweet(1, "x")))
    (tmp_path / "link.zip").symlink_to(path)
    assert "given twice" in refusal(tmp_path, path, f"archive:{path}")
    assert "given twice" in refusal(tmp_path, path, tmp_path / "link.zip")
    assert "given twice" in refusal(tmp_path, "sample", SAMPLE)


def test_several_sources_of_one_author_are_joined_in_order(tmp_path: Path) -> None:
    one = as_zip(tmp_path / "one.zip", export(tweet(1, "x")))
    two = as_zip(tmp_path / "two.zip", export(tweet(2, "y")))
    assert [post.id for post in posts_of(tmp_path, two, one)] == ["2", "1"]
    assert [record["source"] for record in json.loads((tmp_path / "out" / SOURCES_FILE).read_text())] == [
        "archive:two.zip",
        "archive:one.zip",
    ]


def test_one_empty_source_beside_a_full_one_is_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = as_zip(tmp_path / "empty.zip", export())
    assert len(posts_of(tmp_path, empty, as_zip(tmp_path / "full.zip", export(tweet(1, "x"))))) == 1
    assert "warning: archive:empty.zip contains no posts" in capsys.readouterr().err


def test_an_error_in_the_second_source_leaves_an_earlier_output_as_it_was(tmp_path: Path) -> None:
    posts_of(tmp_path, "sample")
    before = digest(tmp_path / "out")
    bad = as_zip(tmp_path / "bad.zip", {"data/tweets.js": "x = [1]"})
    refusal(tmp_path, "sample", bad)
    assert digest(tmp_path / "out") == before


def test_the_limit_keeps_the_newest_of_each_source(tmp_path: Path) -> None:
    one = as_zip(tmp_path / "one.zip", export(*(tweet(number, str(number)) for number in (9, 30, 2, 100))))
    (tmp_path / "two.csv").write_text("text\na\nb\nc\n")
    assert [post.text for post in posts_of(tmp_path, one, tmp_path / "two.csv", limit=2)] == ["30", "100", "b", "c"]
    provenance = json.loads((tmp_path / "out" / SOURCES_FILE).read_text())
    assert [record["posts"] for record in provenance] == [2, 2]


def test_without_ids_the_newest_are_told_by_their_time(tmp_path: Path) -> None:
    rows = "text,created_at\nnewest,2024-05-03\nmiddle,2024-05-02\noldest,2024-05-01\n"
    (tmp_path / "none.csv").write_text(rows)
    assert [post.text for post in posts_of(tmp_path, tmp_path / "none.csv", limit=2)] == ["newest", "middle"]
    some = "id,text,created_at\n,newest,2024-05-03\n7,middle,2024-05-02\n8,oldest,2024-05-01\n"
    (tmp_path / "some.csv").write_text(some)
    assert [post.text for post in posts_of(tmp_path, tmp_path / "some.csv", limit=1)] == ["newest"]


@pytest.mark.slow
def test_the_limit_of_a_long_export_is_exact(tmp_path: Path) -> None:
    """More posts than are held at once, in an order that is not that of time."""
    ids = [number * 7919 % 120_011 for number in range(1, 120_001)]
    text = "x = [" + ",".join(f'{{"id":"{number}","text":"t","created_at":"{NOON}"}}' for number in ids) + "]"
    path = as_folder(tmp_path / "long", {"data/tweets.js": text})
    kept = [int(post.id) for post in posts_of(tmp_path, path, limit=100)]
    newest = set(sorted(ids)[-100:])
    assert kept == [number for number in ids if number in newest]


def test_the_shares_of_the_step_are_light() -> None:
    """A pod that only fetches carries neither torch nor the pipeline's own libraries."""
    code = "import sys, components.fetch.step; print(sorted({'torch','transformers','mlflow','kfp','pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_a_large_export_is_read_in_little_memory(tmp_path: Path) -> None:
    """150 MB of posts: the highest resident size of a process that fetches them stays under 300 MB."""
    long_words = "It was the nightingale, and not the lark, that pierced the fearful hollow of thine ear. " * 20
    block = (",\n" + ",\n".join(json.dumps(tweet(10**18 + n, f"{n} {long_words}", lang="en")) for n in range(1000))).encode()
    (tmp_path / "big" / "data").mkdir(parents=True)
    with (tmp_path / "big" / "data" / "tweets.js").open("wb") as file:
        file.write(b"window.YTD.tweets.part0 = [" + block[2:])
        while file.tell() < 150_000_000:
            file.write(block)
        file.write(b"]")
    code = (
        "import resource, sys; from pathlib import Path; from components.fetch.step import fetch; "
        "[p] = fetch([sys.argv[1]], Path(sys.argv[2])); "
        "peak = [int(line.split()[1]) for line in open('/proc/self/status') if line.startswith('VmHWM')] "
        "if sys.platform == 'linux' else [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024]; "
        "print(p.posts, peak[0] // 1024)"  # on Linux ru_maxrss is inherited from whoever started the process
    )
    command = [sys.executable, "-c", code, str(tmp_path / "big"), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    posts, megabytes = map(int, done.stdout.split())
    assert posts > 70_000
    assert megabytes < 300
    assert "reading archive:big" in done.stderr, "a long read shows how far it is"


# --- the sample and real data -------------------------------------------------------------------------------------------


def test_the_sample_holds_every_shape_of_post(tmp_path: Path) -> None:
    [provenance] = fetch(["sample"], tmp_path / "out")
    posts = list(read_posts(tmp_path / "out"))
    assert (provenance.source, provenance.author, provenance.display_name) == (
        "archive:groundling.zip",
        "wren_groundling",
        "Wren Groundling",
    )
    assert "made-up" in provenance.bio
    assert provenance.posts == len(posts) >= 1600
    kinds = Counter(post.kind for post in posts)
    assert kinds[Kind.ORIGINAL] > 1300
    assert min(kinds[kind] for kind in Kind) >= 25
    texts = [post.text for post in posts]
    for mark in ("&amp;", "&lt;", "&gt;", "https://t.co/", "#", "🎭", "Ay!"):
        assert any(mark in text for text in texts), mark
    assert len(set(texts)) < len(texts) - 50
    long_posts = [text for text in texts if len(text) > 300]
    assert len(long_posts) == 3, "whole, out of note-tweet.js"
    assert not any(text.endswith("…") for text in long_posts)
    assert not any("decoy" in text.lower() for text in texts)
    assert SAMPLE.stat().st_size < 400_000


def test_the_script_makes_the_sample_again(tmp_path: Path) -> None:
    words = SHARED / "data" / "public-domain-text"
    if not words.exists():
        pytest.skip("../shared/data/public-domain-text is absent")
    for name in ("one.zip", "two.zip"):
        command = [sys.executable, "-m", "scripts.make_sample_export", "--text", str(words), "--out", str(tmp_path / name)]
        subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()

    def members(path: Path) -> list[tuple[str, tuple[int, ...], bytes]]:  # another zlib may pack the same text otherwise
        with zipfile.ZipFile(path) as packed:
            return [(info.filename, info.date_time, packed.read(info)) for info in packed.infolist()]

    assert members(tmp_path / "one.zip") == members(SAMPLE)


@pytest.mark.slow
def test_a_real_authors_csv_is_counted_to_the_digit(tmp_path: Path) -> None:
    path = SHARED / "data" / "tweets" / "julia.csv"
    if not path.exists():
        pytest.skip("../shared/data/tweets/julia.csv is absent")
    [provenance] = fetch([str(path)], tmp_path / "out", basis="public-figure-research")
    posts = list(read_posts(tmp_path / "out"))
    assert (provenance.kind, provenance.posts, len(posts)) == ("tweets-csv", 13_091, 13_091)
    assert sum(post.kind is Kind.REPOST for post in posts) == 1_036
    assert all(post.created_at for post in posts)
    assert provenance.last == "2017-01-01T21:48:41+00:00"


def test_writers_and_readers_of_posts_agree(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    posts = [Post("1", "ana", "line\nbreak \u2028 and \r", FEBRUARY, Kind.QUOTE, "en", "x-export"), Post("x", "ana", "")]
    write_posts(tmp_path / "a", posts)
    assert posts_of(tmp_path, tmp_path / "a" / "posts.jsonl") == posts
    write_lines(tmp_path / "extra.jsonl", [posts[0].to_record() | {"more": 1}])
    assert posts_of(tmp_path, tmp_path / "extra.jsonl")[0].source == "jsonl"
