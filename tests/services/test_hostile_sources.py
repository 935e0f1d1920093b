"""Servers and posts that mean harm: each ends soon, with an error that a person can read, or costs no other post."""

import re
import time
from datetime import UTC, datetime

import pytest
from fake_bluesky import PROFILE, FakeBluesky, record, view
from fake_mastodon import FakeMastodon, archive, note, status

from components.fetch.archives.zip_folder import open_archive
from components.fetch.bluesky.api import open_feed
from components.fetch.http import retry
from components.fetch.http.retry import RetryPolicy
from components.fetch.mastodon.api import open_account
from components.fetch.mastodon.archive import open_outbox
from components.fetch.mastodon.html_text import MAX_CHARACTERS, html_text
from mynah.core.errors import InputError, PlatformError
from tests.http_fake import Answer
from tests.services.source_refusals import refused

QUICK = RetryPolicy(wait=lambda _: None)
MARCH = datetime(2024, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def serve(monkeypatch):
    """Start a fake, which stands for its network."""
    started = []

    def start(fake):
        started.append(fake)
        for name in ("MYNAH_BLUESKY_API", "MYNAH_MASTODON_API"):
            monkeypatch.setenv(name, fake.url)
        return fake

    yield start
    for fake in started:
        fake.stop()


def feed():
    return list(open_feed("wren.bsky.social", QUICK).posts(lambda _: None))


def statuses():
    return list(open_account("wren@birds.example", QUICK).posts(lambda _: None))


# --- pages without end ----------------------------------------------------------------------------------------------------


class EndlessFeed(FakeBluesky):
    """Always one more page, by a new cursor: empty, or the same again."""

    def respond(self, asked):
        if not asked.path.endswith("getAuthorFeed"):
            return super().respond(asked)
        return Answer(200, {"feed": self.feed, "cursor": str(len(self.requests))})


class EndlessStatuses(FakeMastodon):
    """Always one more page, by a new max_id."""

    def _page(self, query):
        link = f'<{self.url}/api/v1/accounts/23634/statuses?max_id={10**9 - len(self.requests)}>; rel="next"'
        return Answer(200, self.statuses, {"Link": link})


@pytest.mark.parametrize("items", [[], [view("3a", record("Hello"))], [{}]])
def test_pages_of_bluesky_that_bring_nothing_new_end(serve, items):
    fake = serve(EndlessFeed(items))
    assert "have no end" in refused(PlatformError, feed)
    assert len(fake.requests) < 10


@pytest.mark.parametrize("items", [[], [status(9, "<p>Hello</p>")]])
def test_pages_of_mastodon_that_bring_nothing_new_end(serve, items):
    fake = serve(EndlessStatuses(items))
    assert "have no end" in refused(PlatformError, statuses)
    assert len(fake.requests) < 10


def test_pages_of_new_posts_without_number_end(serve, monkeypatch):
    class Fresh(EndlessFeed):
        def respond(self, asked):
            self.feed = [view(f"3{len(self.requests)}x{number}", record("Hello")) for number in range(100)]
            return super().respond(asked)

    monkeypatch.setattr(retry, "MAX_POSTS", 950)
    serve(Fresh([]))
    assert "more than 950 posts" in refused(PlatformError, feed)


def test_empty_pages_between_others_are_none_of_the_end(serve):
    class Gaps(FakeBluesky):
        def respond(self, asked):
            if not asked.path.endswith("getAuthorFeed"):
                return super().respond(asked)
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
    assert "that atproto cannot parse" in refused(PlatformError, feed)


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
    assert len(fake.requests) == 1


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
    book = "<p>" + "x" * MAX_CHARACTERS + "</p>"
    serve(FakeMastodon([status(2, book), status(1, "<p>Hello</p>")]))
    assert [post.text for post in statuses()] == ["Hello"]
    for name, data in archive(note(2, book), note(1, "<p>Hello</p>")).items():
        (tmp_path / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    with open_archive(tmp_path, "mine") as found:
        assert [post.text for post in open_outbox(found).posts(lambda _: None)] == ["Hello"]
    assert len(re.findall("skipped 1 post .* too long", capsys.readouterr().err)) == 2
