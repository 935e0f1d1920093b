"""Bluesky and Mastodon through their doors, and the archives of both: pages, kinds, positions, failures, and whose posts are not read."""

import json
import re
import socket
from datetime import UTC, datetime

import pytest
from failing_server import LOGIN_PAGE, Answer, reset, running, truncated
from fake_bluesky import DID, OTHER, PROFILE, FakeBluesky, Repository, facet, record, repost, tid, view
from fake_bluesky import TOO_MANY as BLUESKY_TOO_MANY
from fake_mastodon import ACCOUNT, ACTOR, PUBLIC, FakeMastodon, archive, boost, note, status
from fake_mastodon import TOO_MANY as MASTODON_TOO_MANY
from hypothesis import given, settings
from hypothesis import strategies as st

from components.errors import InputError, PlatformError
from components.fetch import web
from components.fetch.archives import open_archive
from components.fetch.bluesky import open_car, open_feed
from components.fetch.html_text import html_text
from components.fetch.mastodon import open_account, open_outbox
from components.fetch.patience import Patience
from components.posts import Entity, Kind

BROKEN = Answer(502, b"<html>Bad Gateway</html>", {"Content-Type": "text/html"})
MARCH = datetime(2024, 3, 1, 12, tzinfo=UTC)


class Clock:
    """Time that passes by waiting alone."""

    def __init__(self):
        self.waits = []
        self.patience = Patience(wait=self.waits.append, now=lambda: 1.7e9 + sum(self.waits))


@pytest.fixture
def clock():
    return Clock()


def starter(name, make, monkeypatch):
    servers = []

    def start(items=(), *more):
        manager = running(make(list(items), *more))
        servers.append(manager)
        fake = manager.__enter__()
        monkeypatch.setenv(name, fake.url)
        return fake

    yield start
    for manager in servers:
        manager.__exit__(None, None, None)


@pytest.fixture
def bluesky(monkeypatch):
    yield from starter("MYNAH_BLUESKY_API", FakeBluesky, monkeypatch)


@pytest.fixture
def mastodon(monkeypatch):
    yield from starter("MYNAH_MASTODON_API", FakeMastodon, monkeypatch)


def read(content):
    return list(content.posts(lambda _: None))


def feed(clock, handle="wren.bsky.social"):
    return read(open_feed(handle, clock.patience))


def statuses(clock, account="wren@birds.example"):
    return read(open_account(account, clock.patience))


def refused(kind, call):
    with pytest.raises(kind) as caught:
        call()
    assert caught.value.fix and len(str(caught.value)) < 600
    return str(caught.value)


def marked(post):
    return [(post.text[each.start : each.end], each.kind) for each in post.entities]


# --- Bluesky --------------------------------------------------------------------------------------------------------------


def test_all_pages_of_a_feed_and_the_profile(bluesky, clock):
    fake = bluesky([view(f"3k{number:011}", record(f"Post {number}")) for number in range(230)])
    content = open_feed("@wren.bsky.social", clock.patience)
    posts = read(content)
    assert [post.text for post in posts] == [f"Post {number}" for number in range(230)]
    assert (content.author, content.display_name, content.bio, content.avatar) == (
        "wren.bsky.social",
        "Wren 🐦",
        "Small bird.",
        b"",
    )
    assert {(post.author, post.source, post.language, post.created_at) for post in posts} == {
        ("wren.bsky.social", "bluesky", "en", MARCH)
    }
    assert [asked.query.get("cursor") for asked in fake.asked[1:]] == [None, "100", "200"]
    assert {asked.headers["User-Agent"].partition("/")[0] for asked in fake.asked} == {"mynah"}
    assert [post.text for post in feed(clock, DID)] == [post.text for post in posts]


def test_kinds_replies_quotes_and_reposts(bluesky, clock):
    ref = lambda did, key: {"uri": f"at://{did}/app.bsky.feed.post/{key}", "cid": "bafy"}  # noqa: E731 - a shorthand
    embed = lambda uri: {"$type": "app.bsky.embed.record", "record": {"uri": uri, "cid": "bafy"}}  # noqa: E731
    both = {"$type": "app.bsky.embed.recordWithMedia", "media": {}, "record": embed(f"at://{OTHER}/app.bsky.feed.post/3q")}
    bluesky(
        [
            view("3a", record("Plain")),
            view("3b", record("Yes", reply={"root": ref(OTHER, "3r"), "parent": ref(OTHER, "3p")})),
            view("3c", record("And on", reply={"root": ref(DID, "3b"), "parent": ref(DID, "3b")})),
            view("3d", record("This!", embed=embed(f"at://{OTHER}/app.bsky.feed.post/3q"))),
            view("3e", record("This too!", embed=both)),
            view("3f", record("A feed", embed=embed(f"at://{OTHER}/app.bsky.feed.generator/fish"))),
            repost("3g", record("Fish"), uri=f"at://{DID}/app.bsky.feed.repost/3z"),
            repost("3h", record("More fish")),
            view("3i", record("Pinned"), reason={"$type": "app.bsky.feed.defs#reasonPin"}),
        ]
    )
    posts = feed(clock)
    kinds = [
        Kind.ORIGINAL,
        Kind.REPLY,
        Kind.REPLY,
        Kind.QUOTE,
        Kind.QUOTE,
        Kind.ORIGINAL,
        Kind.REPOST,
        Kind.REPOST,
        Kind.ORIGINAL,
    ]
    assert [post.kind for post in posts] == kinds
    assert [post.id for post in posts] == ["3a", "3b", "3c", "3d", "3e", "3f", "3z", "repost-3h", "3i"]
    assert [post.reply_to for post in posts[:4]] == ["", "3p", "3b", ""]
    assert [post.reply_to_self for post in posts[:4]] == [False, False, True, False]
    assert posts[6].author == "wren.bsky.social" and posts[6].created_at == datetime(2024, 3, 2, 12, tzinfo=UTC)


def test_facets_count_bytes_and_entities_code_points(bluesky, clock):
    text = "🐦 höre @heron.example.com: example.com/fish #Möwe 🐟"
    facets = [
        facet(text, "#Möwe", "tag", tag="Möwe"),
        facet(text, "@heron.example.com", "mention", did=OTHER),
        facet(text, "example.com/fish", "link", uri="https://example.com/fish"),
        {"index": {"byteStart": 1, "byteEnd": 6}, "features": [{"$type": "app.bsky.richtext.facet#tag"}]},  # within a letter
        {"index": {"byteStart": 3, "byteEnd": 9000}, "features": [{"$type": "app.bsky.richtext.facet#tag"}]},
        {"index": {"byteStart": 0, "byteEnd": 4}, "features": [{"$type": "com.example#strange"}]},
        {"index": None, "features": 7},
    ]
    bluesky([view("3a", record(text, facets=facets))])
    [post] = feed(clock)
    assert marked(post) == [("@heron.example.com", "mention"), ("example.com/fish", "url"), ("#Möwe", "hashtag")]


@pytest.mark.parametrize(
    ("said", "when"),
    [
        ("2024-03-01T13:00:00+02:00", datetime(2024, 3, 1, 11, tzinfo=UTC)),
        ("2024-03-01T11:00:00", datetime(2024, 3, 1, 11, tzinfo=UTC)),
        ("2031-01-01T00:00:00Z", datetime(2024, 3, 1, 12, 0, 5, tzinfo=UTC)),  # not after it was seen
        ("yesterday", datetime(2024, 2, 29, 18, 20, 34, tzinfo=UTC)),  # by its key
        (7, datetime(2024, 2, 29, 18, 20, 34, tzinfo=UTC)),
    ],
)
def test_created_at_may_be_anything(bluesky, clock, said, when):
    key = tid(datetime(2024, 2, 29, 18, 20, 34, tzinfo=UTC))
    bluesky([view(key, record("Post", createdAt=said, langs=["en", "de"]))])
    [post] = feed(clock)
    assert post.created_at == when
    assert post.language == ""


def test_odd_records_cost_no_others_and_are_told(bluesky, clock, capsys):
    odd = [
        None,
        7,
        {},
        view("3x", {"text": None}),
        view("3y", record("Another's"), OTHER),
        view("3z", record("Embed", embed=[1], langs=3, facets="x", reply="no")),
    ]
    bluesky([*odd, view("3a", record("Good"))])
    assert [post.text for post in feed(clock)] == ["Embed", "Good"]
    assert "3 posts are left out" in capsys.readouterr().err


@pytest.mark.parametrize(
    "handle",
    [
        "",
        "wren",
        "wren@bsky.social",
        "https://bsky.app/profile/wren.bsky.social",
        "wren..social",
        "did:plc:x",
        "a.b/c",
        "wren.bsky.social\n",
    ],
)
def test_a_bad_handle_of_bluesky_is_refused_before_anything_is_asked(bluesky, clock, handle):
    fake = bluesky()
    assert "no handle of Bluesky" in refused(InputError, lambda: feed(clock, handle))
    assert fake.asked == []


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ({"error": "InvalidRequest", "message": "Profile not found"}, "there is no account"),
        ({"error": "InvalidRequest", "message": "Unable to resolve handle"}, "there is no account"),
        ({"error": "AccountTakedown", "message": "Account has been suspended"}, "is suspended"),
        ({"error": "AccountDeactivated", "message": "Account is deactivated"}, "is deactivated"),
    ],
)
def test_accounts_of_bluesky_that_cannot_be_read(bluesky, clock, error, words):
    bluesky().error = error
    assert words in refused(InputError, lambda: feed(clock))


def test_an_account_that_asks_not_to_be_shown_to_everybody_is_not(bluesky, clock):
    fake = bluesky([view("3a", record("Hello"))], {**PROFILE, "labels": [{"src": DID, "val": "!no-unauthenticated"}]})
    assert "only to people who are logged in" in refused(InputError, lambda: feed(clock))
    assert len(fake.asked) == 1


@pytest.mark.parametrize("failure", [BROKEN, reset, truncated, LOGIN_PAGE])
def test_what_may_pass_at_bluesky_is_tried_again(bluesky, clock, failure):
    fake = bluesky([view(f"3k{number:011}", record(f"Post {number}")) for number in range(230)])
    fake.failures = [None, None, failure, failure]
    assert len(feed(clock)) == 230
    assert clock.waits == [1, 2]
    fake.failures = [None, *[failure] * 5]
    assert "5 times in a row" in refused(PlatformError, lambda: feed(clock))


def test_limits_of_bluesky(bluesky, clock):
    fake = bluesky([view("3a", record("Hello"))])
    fake.failures = [None, Answer(429, BLUESKY_TOO_MANY, {"ratelimit-limit": "3000", "ratelimit-reset": str(int(1.7e9) + 120)})]
    assert len(feed(clock)) == 1
    assert clock.waits == [121]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(200, {"feed": 7}), "holds no feed"),
        (Answer(200, {"feed": [], "cursor": "x"}), "have no end"),
        (Answer(403, {}), "without a login"),
        (Answer(400, {"error": "Odd"}), "Odd"),
    ],
)
def test_answers_of_bluesky_that_are_none(bluesky, clock, answer, words):
    fake = bluesky()
    fake.failures = [None, answer, answer]
    assert words in refused((InputError, PlatformError), lambda: feed(clock))


# --- a repository's CAR file ----------------------------------------------------------------------------------------------


def repository(posts=40):
    records = {f"app.bsky.feed.post/3k{number:011}": record(f"Post {number}") for number in range(posts)}
    records |= {
        f"app.bsky.feed.like/3k{number:011}": {"$type": "app.bsky.feed.like", "subject": {"uri": "at://x"}}
        for number in range(200)
    }
    records["app.bsky.graph.follow/3a"] = {"$type": "app.bsky.graph.follow", "subject": OTHER}
    records["app.bsky.feed.postgate/3a"] = record("No post, for all that it says")
    records["app.bsky.actor.profile/self"] = {
        "$type": "app.bsky.actor.profile",
        "displayName": "Wren",
        "description": "Small bird.",
    }
    return Repository(records)


def car_file(folder, data, name="wren.bsky.social.car"):
    path = folder / name
    path.write_bytes(data)
    return path


def test_a_car_file_yields_the_posts_and_nothing_else(tmp_path):
    content = open_car(car_file(tmp_path, repository().car()))
    passed = []
    posts = list(content.posts(passed.append))
    assert sorted(post.text for post in posts) == sorted(f"Post {number}" for number in range(40))
    assert {(post.author, post.source, post.created_at) for post in posts} == {("wren.bsky.social", "bluesky-car", MARCH)}
    assert sorted(post.id for post in posts)[0] == "3k00000000000"
    assert (content.display_name, content.bio, content.basis) == ("Wren", "Small bird.", "own-account")
    assert 0.9 * content.size < sum(passed) <= content.size


def test_a_record_that_was_deleted_is_not_read_though_its_block_lies_there(tmp_path):
    whole = repository()
    left = Repository({"app.bsky.feed.post/3a": record("Kept")})
    left.blocks |= {link: block for link, block in whole.blocks.items() if b"Post 7" in block}
    assert [post.text for post in read(open_car(car_file(tmp_path, left.car())))] == ["Kept"]


def test_a_car_file_whose_name_is_no_handle_is_called_by_its_did(tmp_path, capsys):
    content = open_car(car_file(tmp_path, repository(1).car(), "repo.car"))
    assert content.author == DID.replace(":", "_")
    assert "HANDLE.car" in capsys.readouterr().err


def test_odd_records_in_a_car_file_are_left_out(tmp_path, capsys):
    odd = {
        "app.bsky.feed.post/3a": {"$type": "app.bsky.feed.post", "text": 7},
        "app.bsky.feed.post/3b": ["no"],
        "app.bsky.feed.post/3c": record("Good"),
    }
    assert [post.text for post in read(open_car(car_file(tmp_path, Repository(odd).car())))] == ["Good"]
    assert "2 posts are left out" in capsys.readouterr().err


def test_an_empty_repository(tmp_path):
    assert read(open_car(car_file(tmp_path, Repository({}).car()))) == []


def missing_node(car):
    """Without the one block that is the tree's root."""
    left = repository()
    del left.blocks[next(link for link, block in left.blocks.items() if block.startswith(b"\xa2ae"))]
    return left.car()


def deep(car):
    left = repository(1)
    left.blocks = {}
    left.root = left._put([[[[]]]])
    return left.car()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda car: b"", "no block begins"),
        (lambda car: b"PK\3\4 a zip", "no"),
        (lambda car: car[:-100], "within a block"),
        (lambda car: car[:2000] + b"\xff" + car[2001:], "damaged"),
        (lambda car: repository().car(version=2), "version 1"),
        (lambda car: b"\xff\xff\xff\xff\x7f" + car, "no block begins"),
        (lambda car: b"\x40" + b"\x81" * 64 + car, "no DAG-CBOR"),
        (missing_node, "missing"),
        (deep, "commit"),
    ],
)
def test_a_damaged_car_file_is_refused(tmp_path, spoil, words):
    path = car_file(tmp_path, spoil(repository().car()))
    said = refused(InputError, lambda: read(open_car(path)))
    assert words in said and "wren.bsky.social.car" in said and str(tmp_path) not in said


@settings(max_examples=60)
@given(st.integers(0, 4000), st.binary(min_size=1, max_size=8))
def test_a_mutated_car_file_gives_an_error_or_a_result(tmp_path_factory, place, bytes_):
    car = repository(10).car()
    path = car_file(tmp_path_factory.mktemp("car"), car[:place] + bytes_ + car[place + len(bytes_) :])
    try:
        read(open_car(path))
    except InputError as error:
        assert error.fix


# --- Mastodon -------------------------------------------------------------------------------------------------------------


def test_all_pages_of_an_account_and_its_profile(mastodon, clock):
    fake = mastodon([status(1000 - number, f"<p>Post {number}</p>") for number in range(90)])
    fake.account = {**ACCOUNT, "avatar_static": f"{fake.url}/avatar.png"}
    content = open_account("@Wren@Birds.Example", clock.patience)
    posts = read(content)
    assert [post.text for post in posts] == [f"Post {number}" for number in range(90)]
    assert (content.author, content.display_name, content.bio) == (
        "wren@birds.example",
        "Wren :verified:",
        "Small bird.\nSee #wrens",
    )
    assert content.avatar == b"a picture"
    assert {(post.author, post.source, post.language, post.created_at) for post in posts} == {
        ("wren@birds.example", "mastodon", "en", MARCH)
    }
    assert [asked.query.get("max_id") for asked in fake.asked if "/statuses" in asked.path] == [None, "961", "921"]
    assert {asked.headers["User-Agent"].partition("/")[0] for asked in fake.asked} == {"mynah"}


def test_kinds_replies_boosts_quotes_clients_and_edits(mastodon, clock):
    boosted = status(7, "<p>Fish</p>", language="de")
    mastodon(
        [
            status(9, "<p>Plain, now</p>", application={"name": "Tusky"}, edited_at="2024-03-03T12:00:00.000Z"),
            status(8, "<p>Yes</p>", in_reply_to_id="3", in_reply_to_account_id="1"),
            status(6, "<p>And on</p>", in_reply_to_id="8", in_reply_to_account_id=ACCOUNT["id"]),
            status(5, "", reblog=boosted),
            status(
                4,
                '<p class="quote-inline">RE: <a href="https://x.example/1">https://x.example/1</a></p><p>This!</p>',
                quote={"state": "accepted", "quoted_status": boosted},
            ),
            status(3, "<p>Quietly</p>", visibility="unlisted"),
            status(2, "<p>For friends</p>", visibility="private"),
            status(1, "<p>For one</p>", visibility="direct"),
        ]
    )
    posts = statuses(clock)
    assert [post.kind for post in posts] == [Kind.ORIGINAL, Kind.REPLY, Kind.REPLY, Kind.REPOST, Kind.QUOTE, Kind.ORIGINAL]
    assert [post.text for post in posts] == ["Plain, now", "Yes", "And on", "Fish", "This!", "Quietly"]
    assert [(post.reply_to, post.reply_to_self) for post in posts[:3]] == [("", False), ("3", False), ("8", True)]
    assert (posts[0].client, posts[3].language) == ("Tusky", "de")


LINK = (
    '<a href="https://www.example.com/a/long/way" rel="nofollow noopener" target="_blank"><span class="invisible">https://www.</span>'
    '<span class="ellipsis">example.com/a/long</span><span class="invisible">/way</span></a>'
)
MENTION = '<span class="h-card" translate="no"><a href="https://birds.example/@heron" class="u-url mention">@<span>heron</span></a></span>'
HASHTAG = '<a href="https://birds.example/tags/fish" class="mention hashtag" rel="tag">#<span>fish</span></a>'


@pytest.mark.parametrize(
    ("html", "text", "entities"),
    [
        (
            f"<p>{MENTION} look: {LINK}<br />{HASHTAG} &amp; 🐟 &lt;3</p>",
            "@heron look: example.com/a/long…\n#fish & 🐟 <3",
            [("@heron", "mention"), ("example.com/a/long…", "url"), ("#fish", "hashtag")],
        ),
        ("<p>One</p><p>Two<br>Three</p>", "One\n\nTwo\nThree", []),
        ("a <b>bold</b>, <i>word</i>\n  and\nmore", "a bold, word and more", []),
        ("<ul><li>One</li><li>Two</li></ul><p>After</p>", "One\nTwo\n\nAfter", []),
        ("<pre>def f():\n    return 1\n\nf()</pre>", "def f():\n    return 1\n\nf()", []),
        ("<blockquote><p>Said</p></blockquote>Yes<script>alert(1)</script><!-- no -->", "Said\n\nYes", []),
        ("<p>Unclosed <a href='https://e.example'>link <span class='invisible'>x</p>end", "Unclosed link\n\nend", [("link", "url")]),
        ("a&nbsp;b &#128038; &unknown; & c < d", "a\xa0b 🐦 &unknown; & c < d", []),
        ("🐦<a name='x'>no link</a> <img src='x' alt='y'>", "🐦no link", []),
        ("<p>a <![foo[ b</p><![CDATA[c]]><!DOCTYPE html>d", "a <![foo[ b\n\n<![CDATA[c]]>d", []),
        ("", "", []),
        ("<br><br>", "", []),
    ],
)  # fmt: skip
def test_html_becomes_the_text_that_a_reader_sees(html, text, entities):
    found, places = html_text(html)
    assert found == text
    assert [(found[each.start : each.end], each.kind) for each in places] == entities


TAGS = [
    "<p>",
    "</p>",
    "<br>",
    "<span class='invisible'>",
    "</span>",
    "<a href='x'>",
    "</a>",
    "<pre>",
    "</pre>",
    "<!--",
    "<li/>",
    "<![",
    "<![CDATA[",
    "<!x",
]
PIECES = [LINK, MENTION, HASHTAG, *TAGS, "&amp;", "<", ">", "<![", "<![CDATA[", "<!x", "]]>", " ", "\n", "🐦", "word"]


@settings(max_examples=150)
@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join) | st.text())
def test_any_html_becomes_text_with_entities_in_their_places(html):
    text, entities = html_text(html)
    ends = [0, *(each.end for each in entities)]
    assert all(before <= each.start < each.end <= len(text) for before, each in zip(ends, entities, strict=False))


def test_deeply_nested_html_is_read_all_the_same():
    assert html_text("<span>" * 20_000 + "deep" + "</span>" * 20_000)[0] == "deep"


BAD_HOSTS = [
    "", "localhost", "127.0.0.1", "[::1]", "2130706433", "birds.example/x", "birds.example:0", "birds.example:99999", "birds.example:",
    "birds.local", "metadata.google.internal", "birds..example", "birds.example?x", "birds.example\n", "-birds.example",
]  # fmt: skip
BAD_USERS = ["", "wren:pw", "a b", "../x", "wren/", "wren?"]


@pytest.mark.parametrize(
    "account", ["", "wren", *(f"wren@{host}" for host in BAD_HOSTS), *(f"{user}@birds.example" for user in BAD_USERS)]
)
def test_an_account_of_a_wrong_form_is_refused_before_anything_is_asked(mastodon, clock, account):
    fake = mastodon()
    assert "no account of Mastodon" in refused(InputError, lambda: statuses(clock, account))
    assert fake.asked == []


@pytest.mark.parametrize(
    ("account", "author"),
    [("wren@vögel.example:8443", "wren@xn--vgel-5qa.example_8443"), ("Wren@BIRDS.example", "wren@birds.example")],
)
def test_names_of_servers_in_all_their_forms(mastodon, clock, account, author):
    mastodon()
    assert open_account(account, clock.patience).author == author


@pytest.mark.parametrize(
    ("where", "answer", "words"),
    [
        ("lookup", Answer(404, {"error": "Record not found"}), "there is no account wren on birds.example"),
        ("lookup", Answer(404, b"<html>not here</html>", {"Content-Type": "text/html"}), "there is no account"),
        ("lookup", Answer(410, {"error": "Gone"}), "gone for good"),
        ("lookup", Answer(200, {**ACCOUNT, "suspended": True}), "is suspended"),
        ("lookup", Answer(401, {"error": "The access token is invalid"}), "without a login (401: The access token is invalid)"),
        ("statuses", Answer(401, {"error": "This method requires an authenticated user"}), "without a login"),
        ("statuses", Answer(403, {"error": "This action is not allowed"}), "without a login"),
        ("statuses", Answer(422, {"error": "This method requires an authenticated user"}), "without a login"),
        ("statuses", Answer(400, {"error": "Odd"}), "Odd"),
        ("statuses", Answer(200, {"no": "list"}), "holds no posts"),
        ("lookup", Answer(200, ["no account"]), "no account"),
        ("lookup", Answer(301, b"", {"Location": "http://169.254.169.254/x"}), "another server, '169.254.169.254'"),
    ],
)
def test_what_a_server_of_mastodon_refuses(mastodon, clock, where, answer, words):
    mastodon([status(1, "<p>Hello</p>")]).refuses = {where: answer}
    assert words in refused((InputError, PlatformError), lambda: statuses(clock))
    assert clock.waits == []


def test_a_moved_account_is_read_where_it_was(mastodon, clock, capsys):
    mastodon([status(1, "<p>Hello</p>")], {**ACCOUNT, "moved": {**ACCOUNT, "acct": "wren@nest.example"}})
    assert len(statuses(clock)) == 1
    assert "has moved to wren@nest.example" in capsys.readouterr().err


@pytest.mark.parametrize("failure", [BROKEN, reset, truncated, LOGIN_PAGE])
def test_what_may_pass_at_mastodon_is_tried_again(mastodon, clock, failure):
    fake = mastodon([status(1000 - number, f"<p>Post {number}</p>") for number in range(90)])
    fake.failures = [None, None, failure, failure]
    assert len(statuses(clock)) == 90
    assert clock.waits == [1, 2]
    fake.failures = [None, *[failure] * 5]
    assert "5 times in a row" in refused(PlatformError, lambda: statuses(clock))


def test_limits_of_mastodon(mastodon, clock):
    fake = mastodon([status(1, "<p>Hello</p>")])
    at = datetime.fromtimestamp(1.7e9 + 200, UTC).strftime("%Y-%m-%dT%H:%M:%S.000000Z")
    fake.failures = [
        None,
        Answer(429, MASTODON_TOO_MANY, {"X-RateLimit-Limit": "300", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": at}),
    ]
    assert len(statuses(clock)) == 1
    assert clock.waits == [201]


def test_pages_of_mastodon_that_repeat_themselves_end(mastodon, clock):
    fake = mastodon()
    page = [status(9, "<p>Again</p>")]
    link = {"Link": f'<{fake.url}/api/v1/accounts/23634/statuses?max_id=10>; rel="next"'}
    fake.refuses = {"statuses": Answer(200, page, link)}
    assert "have no end" in refused(PlatformError, lambda: statuses(clock))


def test_a_link_that_leads_to_another_server_is_not_followed(mastodon, clock):
    fake = mastodon()
    link = {"Link": '<http://169.254.169.254/api?max_id=5>; rel="next"'}
    fake.failures = [None, Answer(200, [status(9, "<p>One</p>")], link)]
    assert [post.text for post in statuses(clock)] == ["One"]
    assert fake.asked[-1].query["max_id"] == "5"  # the number is taken, and the address is not


def test_what_is_a_public_address_for_a_picture(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(2, 1, 6, "", ("10.0.0.1", 443))])
    assert not web._is_public("https://files.birds.example/a.png")
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(2, 1, 6, "", ("93.184.216.34", 443))])
    assert web._is_public("https://files.birds.example/a.png")
    assert not any(
        map(
            web._is_public,
            (
                "http://files.birds.example/a",
                "https://u@files.birds.example/a",
                "https://files.birds.example:22/a",
                "https://[",
                "",
            ),
        )
    )


# --- an archive of Mastodon -----------------------------------------------------------------------------------------------


def opened(folder, files):
    for name, text in files.items():
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return open_archive(folder, "archive-20240301")


def outbox_posts(folder, *items):
    with opened(folder, archive(*items)) as found:
        return read(open_outbox(found))


def test_an_archive_yields_its_public_posts(tmp_path):
    items = [
        note(1, f"<p>Hello {HASHTAG}</p>"),
        note(2, "<p>For friends</p>", to=[f"{ACTOR}/followers"], cc=[]),
        note(3, "<p>For one</p>", to=["https://x.example/users/heron"], cc=[]),
        note(9, "<p>Quietly</p>", to=[f"{ACTOR}/followers"], cc=[PUBLIC]),
        note(10, "<p>To one, heard by all</p>", to="https://x.example/users/heron", cc="as:Public"),
        note(4, "<p>Yes</p>", inReplyTo="https://x.example/users/heron/statuses/77"),
        note(5, "<p>And on</p>", inReplyTo=f"{ACTOR}/statuses/4", to=PUBLIC),
        note(6, "<p>This!</p>", quote="https://x.example/1", contentMap={"en": "a", "de": "b"}),
        boost(7, "https://x.example/users/heron/statuses/78"),
        {"type": "Delete", "to": [PUBLIC], "object": "x"},
        note(8, None),
        "nothing",
    ]
    with opened(tmp_path, archive(*items)) as found:
        content = open_outbox(found)
        posts = read(content)
    quiet, posts = posts[1:3], posts[:1] + posts[3:]
    assert [(post.id, post.text) for post in quiet] == [("9", "Quietly"), ("10", "To one, heard by all")]
    assert [post.text for post in posts] == ["Hello #fish", "Yes", "And on", "This!", "https://x.example/users/heron/statuses/78"]
    assert [post.kind for post in posts] == [Kind.ORIGINAL, Kind.REPLY, Kind.REPLY, Kind.QUOTE, Kind.REPOST]
    assert [post.id for post in posts] == ["1", "4", "5", "6", "7"]
    assert [(post.reply_to, post.reply_to_self) for post in posts[1:3]] == [
        ("https://x.example/users/heron/statuses/77", False),
        ("4", True),
    ]
    assert posts[0].entities == (Entity(6, 11, "hashtag"),)
    assert [post.language for post in posts] == ["en", "en", "en", "", ""]
    assert (posts[0].author, posts[0].created_at, posts[0].source) == ("wren@birds.example", MARCH, "mastodon-archive")
    assert (content.author, content.display_name, content.bio) == ("wren@birds.example", "Wren", "Small bird.")
    assert (content.avatar, content.basis) == (b"a picture", "own-account")


def test_a_large_outbox_is_streamed(tmp_path):
    items = [note(number, f"<p>Post {number} {'x' * 2000}</p>") for number in range(1500)]
    assert len(outbox_posts(tmp_path, *items)) == 1500


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda files: {**files, "outbox.json": ""}, "is empty"),
        (lambda files: {**files, "outbox.json": '{"type": "OrderedCollection"}'}, "no list 'orderedItems'"),
        (lambda files: {**files, "outbox.json": files["outbox.json"][:700]}, "ends inside element"),
        (lambda files: {**files, "outbox.json": '{"orderedItems": [1 2]}'}, "neither `,` nor `]`"),
        (lambda files: {**files, "outbox.json": b'{"orderedItems": ["\xff"]}'}, "not UTF-8"),
        (lambda files: {**files, "actor.json": "{}"}, "does not say whose"),
        (lambda files: {**files, "actor.json": "[1"}, "actor.json"),
        (lambda files: {name: text for name, text in files.items() if name != "actor.json"}, "no archive of Mastodon"),
        (lambda files: {"likes.json": "{}"}, "no archive of Mastodon"),
    ],
)
def test_a_damaged_archive_of_mastodon_is_refused(tmp_path, spoil, words):
    def call():
        with opened(tmp_path, spoil(archive(note(1, "<p>Hello</p>")))) as found:
            read(open_outbox(found))

    assert words in re.sub(r"\s+", " ", refused(InputError, call))


def test_an_outbox_with_the_list_far_in_and_among_odd_spaces(tmp_path):
    files = archive()
    before = json.dumps({"@context": "x" * 200_000})[:-1]
    files["outbox.json"] = f'{before}, "orderedItems" \n:\t[ {json.dumps(note(1, "<p>Hello</p>"))} ] }}'
    with opened(tmp_path, files) as found:
        assert [post.text for post in read(open_outbox(found))] == ["Hello"]
