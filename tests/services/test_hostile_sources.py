"""Servers, repositories and posts that mean harm: each ends soon, with an error that a person can read, or costs no other post."""

import re
import time
import tracemalloc
from datetime import UTC, datetime

import pytest
from failing_server import Answer, running
from fake_bluesky import DID, PROFILE, FakeBluesky, Repository, cbor, cid, record, view
from fake_bluesky import _varint as varint
from fake_mastodon import FakeMastodon, archive, note, status

from components.errors import InputError, PlatformError
from components.fetch import patience
from components.fetch.archives import open_archive
from components.fetch.bluesky import open_car, open_feed
from components.fetch.html_text import LONGEST, html_text
from components.fetch.mastodon import open_account
from components.fetch.mastodon_archive import open_outbox
from components.fetch.patience import Patience

QUICK = Patience(wait=lambda _: None)
MARCH = datetime(2024, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def serve(monkeypatch):
    """Start a fake, which stands for its network."""
    managers = []

    def start(fake):
        managers.append(running(fake))
        managers[-1].__enter__()
        for name in ("MYNAH_BLUESKY_API", "MYNAH_MASTODON_API"):
            monkeypatch.setenv(name, fake.url)
        return fake

    yield start
    for manager in managers:
        manager.__exit__(None, None, None)


def feed():
    return list(open_feed("wren.bsky.social", QUICK).posts(lambda _: None))


def statuses():
    return list(open_account("wren@birds.example", QUICK).posts(lambda _: None))


def refused(kind, call):
    with pytest.raises(kind) as caught:
        call()
    assert caught.value.fix
    assert "\n" not in caught.value.problem
    assert caught.value.problem.isprintable()
    return caught.value.problem


# --- pages without end ----------------------------------------------------------------------------------------------------


class EndlessFeed(FakeBluesky):
    """Always one more page, by a new cursor: empty, or the same again."""

    def _answer(self, asked):
        if not asked.path.endswith("getAuthorFeed"):
            return super()._answer(asked)
        return Answer(200, {"feed": self.feed, "cursor": str(len(self.asked))})


class EndlessStatuses(FakeMastodon):
    """Always one more page, by a new max_id."""

    def _page(self, query):
        link = f'<{self.url}/api/v1/accounts/23634/statuses?max_id={10**9 - len(self.asked)}>; rel="next"'
        return Answer(200, self.statuses, {"Link": link})


@pytest.mark.parametrize("items", [[], [view("3a", record("Hello"))], [{}]])
def test_pages_of_bluesky_that_bring_nothing_new_end(serve, items):
    fake = serve(EndlessFeed(items))
    assert "have no end" in refused(PlatformError, feed)
    assert len(fake.asked) < 10


@pytest.mark.parametrize("items", [[], [status(9, "<p>Hello</p>")]])
def test_pages_of_mastodon_that_bring_nothing_new_end(serve, items):
    fake = serve(EndlessStatuses(items))
    assert "have no end" in refused(PlatformError, statuses)
    assert len(fake.asked) < 10


def test_pages_of_new_posts_without_number_end(serve, monkeypatch):
    class Fresh(EndlessFeed):
        def _answer(self, asked):
            self.feed = [view(f"3{len(self.asked)}x{number}", record("Hello")) for number in range(100)]
            return super()._answer(asked)

    monkeypatch.setattr(patience, "MOST_POSTS", 950)
    serve(Fresh([]))
    assert "more than 950 posts" in refused(PlatformError, feed)


def test_empty_pages_between_others_are_none_of_the_end(serve):
    class Gaps(FakeBluesky):
        def _answer(self, asked):
            if not asked.path.endswith("getAuthorFeed"):
                return super()._answer(asked)
            at = int(asked.query.get("cursor", "0"))
            found = {"feed": [view(f"3k{at}", record(f"Post {at}"))] if at % 3 == 0 else []}
            return Answer(200, found | ({"cursor": str(at + 1)} if at < 12 else {}))

    serve(Gaps([]))
    assert [post.text for post in feed()] == [f"Post {number}" for number in (0, 3, 6, 9, 12)]


# --- answers that no library expects --------------------------------------------------------------------------------------


def test_half_a_surrogate_pair_costs_nothing_at_bluesky(serve):
    serve(FakeBluesky([view("3a", record("a \ud83d b")), view("3b", record("c"))], {**PROFILE, "description": "Bird \udc26"}))
    content = open_feed("wren.bsky.social", QUICK)
    assert content.bio == "Bird \ufffd"
    assert [post.text for post in content.posts(lambda _: None)] == ["a \ufffd b", "c"]


def test_an_answer_that_atproto_cannot_read_is_told(serve):
    deep = b'{"feed": ' + b"[" * 600 + b"]" * 600 + b"}"
    serve(FakeBluesky([])).failures = [None, Answer(200, deep)]
    assert "that atproto cannot read" in refused(PlatformError, feed)


@pytest.mark.parametrize(
    ("said", "when"),
    [
        ("2024-03-01T12:00:00", MARCH),  # without a zone: UTC, wherever this machine is
        ("2024-03-01T14:00:00+02:00", MARCH),
        ("0001-01-01T00:00:00+23:00", None),  # before the first year
        ("9999-12-31T23:59:59-23:00", None),
    ],
)
def test_odd_times_of_mastodon(serve, monkeypatch, said, when):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        serve(FakeMastodon([status(1, "<p>x</p>", created_at=said)]))
        [post] = statuses()
        assert post.to_record()["created_at"] == (when.isoformat() if when else None)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_ids_of_any_shape_are_kept_short_and_fit_for_a_file(serve):
    class Raw(FakeMastodon):
        def _page(self, query):
            return Answer(200, self.statuses)

    serve(Raw([{**status(1, "<p>x</p>"), "id": "\ud800" + "9" * 5000, "in_reply_to_id": "\udfff"}]))
    [post] = statuses()
    assert post.id == "\ufffd" + "9" * 199
    assert post.reply_to == "\ufffd"


@pytest.mark.parametrize("network", [(FakeBluesky, feed), (FakeMastodon, statuses)])
@pytest.mark.parametrize("target", ["http://[::1", "file:///etc/passwd", "//user:pw@169.254.169.254/", "https://127.0.0.1/x"])
def test_wherever_a_server_sends_on_to_nothing_else_is_asked(serve, network, target):
    make, call = network
    fake = serve(make([]))
    fake.failures = [Answer(302, b"", {"Location": target})]
    said = refused(PlatformError, call)
    assert "pw" not in said
    assert len(fake.asked) == 1


@pytest.mark.parametrize("network", [(FakeBluesky, feed), (FakeMastodon, statuses)])
def test_what_a_server_says_obeys_no_terminal(serve, network):
    def no_http(handler):
        handler.close_connection = True
        handler.wfile.write(b"SSH-2.0-\x1b[31mOpenSSH\r\n")

    make, call = network
    fake = serve(make([]))
    fake.failures = [no_http] * 5
    assert "SSH-2.0- [31mOpenSSH" in refused(PlatformError, call)
    fake.failures = [Answer(403, {"error": "no\r\n\x1b[2J", "message": "no\r\n\x1b[2J" + "x" * 9999})]
    assert len(refused(InputError, call)) < 400


# --- HTML -----------------------------------------------------------------------------------------------------------------


OPENINGS = [
    "<a ", "<a b=", "<a b='", '<a b="c" ', "<!--", "<!-- >", "<![CDATA[", "<![CDATA[>", "<!DOCTYPE ", "</a", "<?", "<", "&#", "<script>",
    "<textarea>", "<a/", "<a b='>", "<p><b>", "<a href=x>y",
]  # fmt: skip


@pytest.mark.parametrize("opening", OPENINGS)
def test_html_that_opens_what_it_never_closes_takes_no_longer_than_it_must(opening):
    html = opening * 20_000
    began = time.monotonic()
    html_text(html)
    html_text(f"{html}>")
    assert time.monotonic() - began < 10, "minutes, where its end is looked for from each of them"


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("1 <2 and <a", "1 <2 and <a"),
        ("<p>x</p> a < b <!-- never", "x\n\na < b <!-- never"),
        ("<p>x<!-- a > b -->y</p><!---->z", "xy\n\nz"),
        ("a --> b", "a --> b"),
    ],
)
def test_what_is_no_tag_is_text(html, text):
    assert html_text(html)[0] == text


def test_a_post_that_is_a_book_is_left_out_and_told(serve, tmp_path, capsys):
    book = "<p>" + "x" * LONGEST + "</p>"
    serve(FakeMastodon([status(2, book), status(1, "<p>Hello</p>")]))
    assert [post.text for post in statuses()] == ["Hello"]
    for name, data in archive(note(2, book), note(1, "<p>Hello</p>")).items():
        (tmp_path / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    with open_archive(tmp_path, "mine") as found:
        assert [post.text for post in open_outbox(found).posts(lambda _: None)] == ["Hello"]
    assert len(re.findall("1 post is left out .* too long", capsys.readouterr().err)) == 2


# --- a repository's CAR file ----------------------------------------------------------------------------------------------


def repository():
    return Repository({f"app.bsky.feed.post/3k{number:011}": record(f"Post {number}") for number in range(3)})


def with_commit(**fields):
    made = repository()
    made.root = made._put({"did": DID, "version": 3, "data": made._put({"e": [], "l": None}), "rev": "x", "sig": b"1", **fields})
    return made.car()


def with_node(*entries, left=None):
    made = repository()
    kept = made._put(record("Kept"))
    node = {"e": [{"p": 0, "k": b"app.bsky.feed.post/3a", "v": kept, "t": None, **entry} for entry in entries], "l": left}
    made.root = made._put({"did": DID, "version": 3, "data": made._put(node), "rev": "x", "sig": b"1"})
    return made.car()


def with_header(value):
    block = cbor(value)
    return varint(len(block)) + block


def without(words):
    made = repository()
    del made.blocks[next(link for link, block in made.blocks.items() if words in block)]
    return made.car()


def with_block(block):
    made = repository()
    made.blocks[cid(block)] = block
    node = made._put({"e": [{"p": 0, "k": b"app.bsky.feed.post/3a", "v": cid(block), "t": None}], "l": None})
    made.root = made._put({"did": DID, "version": 3, "data": node, "rev": "x", "sig": b"1"})
    return made.car()


def long_paths():
    """Each key has 1,000 bytes of the one before it: a small tree unpacks to much."""
    first = {"k": b"app.bsky.feed.post/" + b"a" * 981, "p": 0}
    return with_node(first, *({"k": b"%06d" % number, "p": 1000} for number in range(30_000)))


DAMAGED = [
    (with_commit(data=10**15), "no commit"),  # bytes(10**15) would be a petabyte
    (with_commit(data=[300]), "no commit"),
    (with_commit(did=None), "no commit"),
    (with_header({"roots": [10**14], "version": 1}), "does not begin as"),
    (with_header({"roots": [[300]], "version": 1}), "does not begin as"),
    (with_header({"roots": [], "version": 1}), "does not begin as"),
    (with_node({"v": [1, 2]}), "wrong shape"),
    (with_node({"v": {"a": 1}}), "wrong shape"),
    (with_node({"v": None}), "wrong shape"),
    (with_node({"k": "text"}), "wrong shape"),
    (with_node({"p": "text"}), "wrong shape"),
    (with_node({"t": [1]}), "wrong shape"),
    (with_node(left={"a": 1}), "wrong shape"),
    (with_node({"k": b"x" * 2000}), "a path in its tree has 2,000 bytes"),
    (without(b"Post 1"), "1 of its records are missing, such as '3k00000000001'"),
    (with_block(b"\x81" * 100_000 + b"\xf6"), "no DAG-CBOR"),
    (with_block(b"\x9b\x00\x00\x00\x7f\xff\xff\xff\xff"), "no DAG-CBOR"),
    (with_block(b"\x5b\x7f\xff\xff\xff\xff\xff\xff\xff"), "no DAG-CBOR"),
]


@pytest.mark.parametrize(("car", "words"), DAMAGED)
def test_a_repository_of_a_wrong_shape_is_refused(tmp_path, car, words):
    (tmp_path / "wren.bsky.social.car").write_bytes(car)
    assert words in refused(InputError, lambda: list(open_car(tmp_path / "wren.bsky.social.car").posts(lambda _: None)))


def test_paths_that_unpack_to_too_much_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("components.fetch.car.MOST_BYTES_OF_TREE", 4 << 20)
    (tmp_path / "a.car").write_bytes(long_paths())
    tracemalloc.start()
    assert "the paths in its tree have more than 4,194,304 bytes" in refused(InputError, lambda: open_car(tmp_path / "a.car"))
    assert tracemalloc.get_traced_memory()[1] < 40_000_000
    tracemalloc.stop()


def test_a_block_that_lies_there_twice_is_one_post(tmp_path):
    made = repository()
    link, block = next((link, block) for link, block in made.blocks.items() if b"Post 1" in block)
    (tmp_path / "wren.bsky.social.car").write_bytes(made.car() + varint(len(link + block)) + link + block)
    posts = list(open_car(tmp_path / "wren.bsky.social.car").posts(lambda _: None))
    assert sorted(post.text for post in posts) == ["Post 0", "Post 1", "Post 2"]


def test_a_long_text_of_many_marks_takes_no_longer_than_it_must(tmp_path):
    text = "é" * 500_000
    marks = [
        {"index": {"byteStart": 2 * at, "byteEnd": 2 * at + 2}, "features": [{"$type": "app.bsky.richtext.facet#tag"}]}
        for at in range(480_000, 500_000)
    ]
    made = Repository({"app.bsky.feed.post/3a": record(text, facets=marks)})
    (tmp_path / "wren.bsky.social.car").write_bytes(made.car())
    began = time.monotonic()
    [post] = open_car(tmp_path / "wren.bsky.social.car").posts(lambda _: None)
    assert time.monotonic() - began < 8, "the text was decoded anew for each mark"
    assert len(post.entities) == 20_000
    assert post.entities[0].start == 480_000
