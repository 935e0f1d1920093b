"""Bluesky's API through the fetch step: pages, kinds, facets, failures and limits."""

from datetime import UTC, datetime

import pytest
from failures import LOGIN_PAGE, reset, truncated
from fake_bluesky import DID, OTHER, PROFILE, facet, record, repost, tid, view
from fake_bluesky import TOO_MANY as BLUESKY_TOO_MANY
from free_fetch import BROKEN, MARCH, read, refused

from components.fetch.bluesky.api import open_feed
from mynah.core.errors import InputError, PlatformError
from mynah.data.posts import Kind
from tests.http_fake import Answer


def feed(clock, handle="wren.bsky.social"):
    return read(open_feed(handle, clock.patience))


def marked(post):
    return [(post.text[each.start : each.end], each.kind) for each in post.entities]


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
    assert [asked.query.get("cursor") for asked in fake.requests[1:]] == [None, "100", "200"]
    assert {asked.headers["User-Agent"].partition("/")[0] for asked in fake.requests} == {"mynah"}
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
    assert "skipped 3 posts" in capsys.readouterr().err


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
    assert "is not a Bluesky handle" in refused(InputError, lambda: feed(clock, handle))
    assert fake.requests == []


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ({"error": "InvalidRequest", "message": "Profile not found"}, "has no account"),
        ({"error": "InvalidRequest", "message": "Unable to resolve handle"}, "has no account"),
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
    assert len(fake.requests) == 1


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
        (Answer(200, {"feed": 7}), "contains no feed"),
        (Answer(200, {"feed": [], "cursor": "x"}), "have no end"),
        (Answer(403, {}), "without a login"),
        (Answer(400, {"error": "Odd"}), "Odd"),
    ],
)
def test_answers_of_bluesky_that_are_none(bluesky, clock, answer, words):
    fake = bluesky()
    fake.failures = [None, answer, answer]
    assert words in refused((InputError, PlatformError), lambda: feed(clock))
