"""The X API through its door: pages, kinds, long texts, positions; every failure; what is paid, and never paid twice."""

import json
import logging
import os
import stat
import time
from collections import Counter
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from failing_server import LOGIN_PAGE, Answer, dripping, flooding, reset, running, silent, truncated
from fake_x import CAPPED, NO_CREDITS, NOT_ENROLLED, PROBLEMS, TOKEN, TOO_MANY, WREN, FakeX, problem, tweet

from components.errors import InputError, PlatformError
from components.fetch import web, x_pages
from components.fetch.patience import Patience
from components.fetch.x_api import Spend, open_timeline
from components.fetch.x_pages import copied_pages, kept_pages
from components.posts import Entity, Kind

YES = Spend(yes=True)
BROKEN = Answer(503, b"upstream connect error", {"Content-Type": "text/plain"})


class Clock:
    """Time that passes by waiting alone."""

    def __init__(self):
        self.waits = []

    def now(self):
        return 1.7e9 + sum(self.waits)

    def patience(self, **more):
        return Patience(wait=self.waits.append, now=self.now, **more)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(autouse=True)
def no_secret(capsys, caplog):
    """The token is in nothing that is printed or logged, in any test."""
    caplog.set_level(logging.DEBUG)
    yield
    printed = capsys.readouterr()
    assert TOKEN not in printed.out + printed.err + caplog.text


@pytest.fixture
def x(tmp_path, monkeypatch):
    """Start a fake X with a timeline."""
    monkeypatch.setenv("X_BEARER_TOKEN", TOKEN)
    monkeypatch.setenv("MYNAH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MYNAH_X_PRICE_PER_POST", raising=False)
    servers = []

    def start(timeline=(), **more):
        manager = running(FakeX(list(timeline), **more))
        servers.append(manager)
        fake = manager.__enter__()
        monkeypatch.setenv("MYNAH_X_API", fake.url)
        return fake

    yield start
    for manager in servers:
        manager.__exit__(None, None, None)


def many(count):
    return [tweet(10_000 + count - number, f"Post {count - number}") for number in range(count)]


def fetched(clock=None, limit=0, spend=YES, handle="wren", **patience):
    content = open_timeline(handle, limit, spend, (clock or Clock()).patience(**patience))
    posts = list(content.posts(lambda _: None))
    x_pages.Pages(handle).remove_finished()  # as `fetch` does when they are written
    return posts


def refusal(kind, clock=None, **options):
    with pytest.raises(kind) as caught:
        fetched(clock, **options)
    assert caught.value.fix and TOKEN not in str(caught.value) and len(str(caught.value)) < 800
    return str(caught.value)


# --- what is read ---------------------------------------------------------------------------------------------------------


def test_all_pages_of_a_timeline_newest_first_with_the_profile(x):
    fake = x(many(250), account={**WREN, "profile_image_url": "{url}/picture_normal.jpg"})
    fake.account["profile_image_url"] = f"{fake.url}/picture_normal.jpg"
    content = open_timeline("@wren", 0, YES)
    posts = list(content.posts(lambda _: None))
    assert [post.text for post in posts] == [f"Post {250 - number}" for number in range(250)]
    assert (content.author, content.display_name, content.bio, content.avatar) == (
        "Wren",
        "Wren & Co",
        "Small bird.",
        b"a picture",
    )
    assert {(post.author, post.source, post.language) for post in posts} == {("Wren", "x-api", "en")}
    assert posts[0].created_at == datetime(2023, 2, 1, 12, tzinfo=UTC)
    pages = [asked for asked in fake.asked if asked.path.endswith("/tweets")]
    assert [page.query.get("pagination_token") for page in pages] == [None, "p100", "p200"]
    assert not any(
        "exclude" in page.query or "expansions" in page.query for page in pages
    )  # the one costs posts, the other money
    assert {asked.headers["User-Agent"].partition("/")[0] for asked in fake.asked} == {"mynah"}


def test_no_more_than_3200_are_asked_for_and_a_limit_ends_it_earlier(x):
    fake = x(many(3300))
    assert len(fetched()) == 3200
    assert fake.given_out == {"posts": 3200, "accounts": 1}
    assert len(fetched(limit=130)) == 130
    assert fake.given_out["posts"] == 3200 + 130
    before = fake.given_out["posts"]
    assert len(fetched(limit=2)) == 2
    assert fake.given_out["posts"] == before + 5  # the least that X gives


def test_kinds_replies_and_clients(x):
    refers = lambda kind, number=7: {"referenced_tweets": [{"type": kind, "id": str(number)}]}  # noqa: E731 - a shorthand
    link = {"start": 5, "end": 28, "url": "https://t.co/aaaaaaaaaa", "expanded_url": "https://x.com/heron/status/99"}
    x(
        [
            tweet(9, "Plain", source="Twitter for iPhone"),
            tweet(8, "@heron yes", in_reply_to_user_id="55", **refers("replied_to")),
            tweet(7, "and on", in_reply_to_user_id=WREN["id"], **refers("replied_to", 6)),
            tweet(6, "This! https://t.co/aaaaaaaaaa", **refers("quoted", 99)),
            tweet(
                5, "This! https://t.co/aaaaaaaaaa", entities={"urls": [{**link, "start": 6, "end": 29}]}
            ),  # the quoted one is gone
            tweet(4, "RT @heron: Fish", **refers("retweeted")),
            tweet(3, "@heron gone", in_reply_to_user_id="55"),
        ]
    )
    posts = fetched()
    kinds = [Kind.ORIGINAL, Kind.REPLY, Kind.REPLY, Kind.QUOTE, Kind.QUOTE, Kind.REPOST, Kind.REPLY]
    assert [post.kind for post in posts] == kinds
    assert [post.reply_to for post in posts] == ["", "7", "6", "", "", "", ""]
    assert [post.reply_to_self for post in posts] == [False, False, True, False, False, False, False]
    assert posts[0].client == "Twitter for iPhone"


def test_long_texts_are_whole_and_have_entities_of_their_own(x):
    long = "🐦 " * 150 + "see @heron &amp; https://t.co/bbbbbbbbbb"
    start = long.index("@heron")
    own = {"mentions": [{"start": start, "end": start + 6, "username": "heron", "id": "5"}]}
    x(
        [
            tweet(
                9,
                long[:270] + "…",
                note_tweet={"text": long, "entities": own},
                entities={"hashtags": [{"start": 1, "end": 3, "tag": "no"}]},
            )
        ]
    )
    [post] = fetched()
    assert (post.text, post.entities) == (long, (Entity(start, start + 6, "mention"),))


def test_positions_are_code_points_over_the_escaped_text_also_where_x_counts_otherwise(x):
    text = "🐦&amp;🐦 @Heron #bird @herons https://t.co/cccccccccc https://t.co/dddddddddd"
    spot = lambda part: {"start": text.index(part), "end": text.index(part) + len(part)}  # noqa: E731 - a shorthand
    shifted = {"start": text.index("#bird") - 4, "end": text.index("#bird") + 1}  # as over the text without its escape
    entities = {
        "mentions": [{**spot("@Heron"), "username": "heron"}, {"start": 0, "end": 3, "username": "nobody"}],
        "hashtags": [{**shifted, "tag": "bird"}],
        "urls": [
            {**spot("https://t.co/d"), "url": "https://t.co/dddddddddd", "media_key": "3_1"},
            {**spot("https://t.co/c"), "url": "https://t.co/cccccccccc", "expanded_url": "https://example.com"},
        ],
        "annotations": [{"start": 0, "end": 4, "type": "Other"}],
    }
    x([tweet(9, text, entities=entities)])
    [post] = fetched()
    marked = [(post.text[each.start : each.end], each.kind) for each in post.entities]
    assert marked == [
        ("@Heron", "mention"),
        ("#bird", "hashtag"),
        ("https://t.co/cccccccccc", "url"),
        ("https://t.co/dddddddddd", "media"),
    ]


def test_of_an_edited_post_only_the_last_version(x):
    versions = ["5", "6", "7"]
    x([tweet(number, f"Version {number}", edit_history_tweet_ids=versions) for number in (7, 6, 5)])
    assert [post.text for post in fetched()] == ["Version 7"]


def test_a_post_of_an_odd_shape_is_left_out_and_told(x, capsys):
    x(
        [
            tweet(9, "Good"),
            tweet(8, None),
            {"text": "without id", "id": "abc"},
            tweet(7, "Also", entities=[3], lang=4, created_at="soon"),
        ]
    )
    assert [(post.text, post.language, post.created_at is None) for post in fetched()] == [
        ("Good", "en", False),
        ("Also", "", True),
    ]
    assert "2 posts are left out" in capsys.readouterr().err


def test_names_of_the_new_openapi_document_are_read_too(x):
    x([tweet(9, "Short", note_tweet=None, referenced_tweets=None)])
    fake_answer = {
        "data": [
            {
                "id": "9",
                "text": "Sho…",
                "note_post": {"text": "Short and long"},
                "referenced_posts": [{"type": "quoted", "id": "3"}],
            }
        ]
    }
    fake = x()
    fake.statuses = fake_answer
    [post] = fetched()
    assert (post.text, post.kind) == ("Short and long", Kind.QUOTE)


# --- what it costs --------------------------------------------------------------------------------------------------------


def test_nothing_is_asked_before_the_price_and_the_terms_were_agreed_to(x):
    fake = x(many(3))
    assert "at most 6 posts" in refusal(InputError, spend=Spend(), limit=2)
    assert "at most 106 posts" in refusal(InputError, spend=Spend(), limit=102)
    said = refusal(InputError, spend=Spend())
    assert "3,200 posts" in said and "$0.005" in said and "$16.01" in said and "--yes" in said and "--max-cost" in said
    assert "foundation or frontier model" in said and "https://docs.x.com/developer-terms/agreement" in said
    assert fake.asked == []


def test_price_and_terms_are_told_before_it_begins(x, capsys, monkeypatch):
    x(many(3))
    monkeypatch.setenv("MYNAH_X_PRICE_PER_POST", "0.001")
    fetched(limit=500)
    said = capsys.readouterr().err
    assert "504 posts" in said and "$0.001" in said and "$0.51" in said and "agreement" in said
    assert "posts of @Wren: 3, about $0.013 spent" in said


def test_pages_that_are_short_cost_no_more_than_was_told(x, capsys):
    fake = x(many(300))
    fake.hidden = {fake.timeline[3]["id"]}
    assert len(fetched(limit=100)) == 100
    assert fake.given_out["posts"] == 104
    assert "at most 104 posts" in capsys.readouterr().err


def test_a_price_near_nothing_buys_whole_pages(x, monkeypatch):
    fake = x(many(300))
    monkeypatch.setenv("MYNAH_X_PRICE_PER_POST", "1e-310")
    assert len(fetched(spend=Spend(max_cost_usd=5.0))) == fake.given_out["posts"] == 300


def test_the_cap_is_never_passed_and_what_it_bought_is_kept(x, capsys):
    fake = x(many(500))
    posts = fetched(spend=Spend(max_cost_usd=1.0))
    assert len(posts) == fake.given_out["posts"] == 198  # (1.00 - 0.01) / 0.005
    assert "cap of $1.00 is reached: 198 posts" in capsys.readouterr().err
    assert len(fetched(spend=Spend(max_cost_usd=1.0, yes=True))) == 398  # a dollar more, and no account again
    assert fake.given_out == {"posts": 398, "accounts": 1}
    assert len(fetched()) == 500
    assert fake.given_out == {"posts": 500, "accounts": 1}
    assert not kept_pages("wren").exists()


@pytest.mark.parametrize("cap", [0.0, 0.034, -1.0, float("nan")])
def test_a_cap_that_buys_nothing_is_refused(x, cap):
    fake = x(many(3))
    assert "the least is $0.035" in refusal(InputError, spend=Spend(max_cost_usd=cap)).lower()
    assert fake.asked == []


@pytest.mark.parametrize("price", ["free", "-1", "nan", "1e9"])
def test_a_price_that_is_none_is_refused(x, monkeypatch, price):
    x(many(3))
    monkeypatch.setenv("MYNAH_X_PRICE_PER_POST", price)
    assert price in refusal(InputError)


def test_a_fetch_that_is_cut_off_pays_for_no_page_twice(x, clock, capsys):
    timeline = many(3190)  # a timeline that X shows whole, so that a new post pushes no old one out
    fake = x(timeline)
    fake.failures = [None] * 21 + [BROKEN] * 5
    said = refusal(PlatformError, clock)
    assert "503" in said and "kept for a day" in said
    assert fake.given_out == {"posts": 2000, "accounts": 1}
    kept = kept_pages("WREN")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600 and stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
    assert "wren" not in kept.name
    fake.timeline = [tweet(99_999, "New meanwhile"), *timeline]
    posts = fetched(clock)
    assert [post.id for post in posts] == [each["id"] for each in timeline]
    assert fake.given_out == {"posts": 3190, "accounts": 1}
    assert "2,000 posts of @Wren are kept" in capsys.readouterr().err
    assert list(kept.parent.iterdir()) == []


def test_a_smaller_fetch_leaves_what_a_larger_one_paid_for(x, clock):
    timeline = many(300)
    fake = x(timeline)
    fake.failures = [None] * 3 + [BROKEN] * 5
    refusal(PlatformError, clock)
    assert [post.id for post in fetched(clock, limit=5)] == [each["id"] for each in timeline[:5]]
    assert fake.given_out["posts"] == 200
    assert len(fetched(clock)) == 300
    assert fake.given_out == {"posts": 300, "accounts": 1}
    assert not kept_pages("wren").exists()


def test_another_fetch_may_end_between_the_account_and_its_posts(x):
    x(many(300))
    content = open_timeline("wren", 0, YES)
    assert len(fetched()) == 300
    assert len(list(content.posts(lambda _: None))) == 300


@pytest.mark.parametrize("cache", ["/dev/null", "/dev/null/x", "/proc/nothing", "~nobody-of-that-name/x"])
def test_a_folder_for_pages_that_cannot_be_made_is_told_before_anything_is_paid(x, monkeypatch, cache):
    fake = x(many(3))
    monkeypatch.setenv("MYNAH_CACHE", cache)
    assert "folder" in refusal(PlatformError)
    assert fake.asked == []


# --- the copy in a bucket ---------------------------------------------------------------------------------------------------


@pytest.fixture
def installation(s3, bucket, monkeypatch):
    """An installation's bucket, which keeps versions."""
    client, name = bucket
    client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    settings = {
        "MYNAH_S3_BUCKET": name, "AWS_ENDPOINT_URL_S3": s3.url, "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": s3.access_key, "AWS_SECRET_ACCESS_KEY": s3.secret_key,
    }  # fmt: skip
    for key, value in settings.items():
        monkeypatch.setenv(key, value)
    return lambda: [each["Key"] for each in client.list_object_versions(Bucket=name).get("Versions", [])]


def test_the_next_pod_pays_for_no_page_twice(x, clock, installation, monkeypatch, tmp_path, capsys):
    fake = x(many(300))
    fake.failures = [None] * 3 + [BROKEN] * 5
    refusal(PlatformError, clock)
    assert {f"s3://{os.environ['MYNAH_S3_BUCKET']}/{key}" for key in installation()} == {f"{copied_pages('WREN')}/pages.jsonl"}
    assert "wren" not in copied_pages("wren")
    monkeypatch.setenv("MYNAH_CACHE", str(tmp_path / "another pod"))
    assert len(fetched(clock)) == 300
    assert fake.given_out == {"posts": 300, "accounts": 1}
    assert installation() == [], "no older version either"
    assert "machine alone" not in capsys.readouterr().err


def test_a_copy_is_gone_after_a_day_whosever_it_is(x, clock, installation, monkeypatch, tmp_path):
    fake = x(many(300))
    fake.failures = [None] * 3 + [BROKEN] * 5
    refusal(PlatformError, clock)
    fake.account = {**WREN, "username": "heron"}
    monkeypatch.setenv("MYNAH_CACHE", str(tmp_path / "another pod"))
    monkeypatch.setattr(x_pages, "SECONDS_KEPT", 0)
    assert len(fetched(clock, handle="heron")) == 300
    assert fake.given_out == {"posts": 500, "accounts": 2}
    assert installation() == []


def test_a_bucket_that_fails_costs_no_post(x, installation, monkeypatch, capsys):
    x(many(300))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    assert len(fetched()) == 300
    assert capsys.readouterr().err.count("kept on this machine alone") == 2  # as it begins, and as the copy should go


def test_a_line_that_a_kill_cut_is_paid_for_again_and_no_other(x, clock):
    fake = x(many(300))
    fake.failures = [None] * 3 + [BROKEN] * 5
    refusal(PlatformError, clock)
    kept = kept_pages("wren")
    kept.write_bytes(kept.read_bytes()[:-20])
    assert len(fetched(clock)) == 300
    assert fake.given_out == {"posts": 400, "accounts": 1}


def test_what_is_kept_is_gone_after_a_day_whosever_it_is(x, clock, monkeypatch):
    fake = x(many(300))
    fake.failures = [None] * 3 + [BROKEN] * 5
    refusal(PlatformError, clock)
    other = kept_pages("heron")
    other.write_text("not ours\n")
    later = time.time() + 90_000
    monkeypatch.setattr(time, "time", lambda: later)
    assert len(fetched(clock)) == 300
    assert fake.given_out == {"posts": 500, "accounts": 2}
    assert not other.exists()


def test_two_fetches_of_an_account_at_once_would_both_pay(x):
    x(many(300))
    content = open_timeline("wren", 0, YES)
    posts = content.posts(lambda _: None)
    next(posts)
    assert "another mynah is fetching @wren" in refusal(PlatformError)
    posts.close()
    assert len(fetched()) == 300


# --- what goes wrong ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("handle", ["", "@", "wren/../x", "wren bird", "a" * 16, "wré", "wren?x=1", "wren\n"])
def test_a_bad_handle_is_refused_before_anything_is_asked(x, handle):
    fake = x(many(3))
    assert "no handle of X" in refusal(InputError, handle=handle)
    assert fake.asked == []


@pytest.mark.parametrize(("token", "words"), [("", "not set"), ("abc\r\nHost: evil", "characters"), ("töken", "characters")])
def test_a_token_that_is_none_is_never_sent_or_shown(x, monkeypatch, token, words):
    fake = x(many(3))
    monkeypatch.setenv("X_BEARER_TOKEN", token)
    said = refusal(InputError)
    assert words in said and (not token or token not in said)
    assert fake.asked == []


@pytest.mark.parametrize(
    ("lookup", "words"),
    [
        (
            problem("Not Found Error", "Could not find user with username: [wren].", "resource-not-found", "wren"),
            "there is no account @wren",
        ),
        (problem("Forbidden", "User has been suspended: [wren].", "resource-not-found", "wren"), "@wren is suspended"),
        ({"data": {**WREN, "protected": True}}, "the posts of @wren are protected"),
    ],
)
def test_accounts_that_cannot_be_read_come_with_status_200(x, lookup, words):
    fake = x(many(3))
    fake.lookup = lookup
    assert words in refusal(InputError)
    assert fake.given_out["posts"] == 0


def test_an_account_that_becomes_protected_between_the_two_requests(x):
    fake = x(many(3))
    detail = "Sorry, you are not authorized to see the user with id: [2244994945]."
    fake.statuses = problem("Authorization Error", detail, "not-authorized-for-resource", "2244994945", "id")
    assert "the posts of @Wren are protected" in refusal(InputError)


def test_an_account_without_posts_is_no_error(x):
    x([])
    assert fetched() == []


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (Answer(402, NO_CREDITS), PlatformError, "credits for X's API are spent"),
        (Answer(403, NOT_ENROLLED), InputError, "attached to a Project"),
        (Answer(429, CAPPED), PlatformError, "Monthly product cap"),
        (
            Answer(400, {"errors": [{"message": "Bad field"}], "detail": "Invalid.", "type": f"{PROBLEMS}/invalid-request"}),
            PlatformError,
            "Bad field",
        ),
        (
            Answer(401, {"title": "Unauthorized", "detail": f"token {TOKEN} is wrong", "status": 401}),
            InputError,
            "X_BEARER_TOKEN",
        ),
        (Answer(418, {"detail": f"the token {TOKEN}"}), PlatformError, "the token …"),
        (Answer(418, {"detail": "y" * 190 + TOKEN}), PlatformError, "yyy…"),  # which would be cut within the token
        (Answer(200, {"errors": [{"detail": f"on\ntwo lines: {TOKEN}"}]}), PlatformError, "on two lines: …"),
        (Answer(200, {"surprise": 1}), PlatformError, "nor a reason"),
        (Answer(200, [1, 2]), PlatformError, "nor a reason"),
        (Answer(302, b"", {"Location": "http://169.254.169.254/latest"}), PlatformError, "another server, '169.254.169.254'"),
        (Answer(302, b"", {"Location": "/2/users/by/username/wren"}), PlatformError, "redirects"),
    ],
)
def test_refusals_that_do_not_pass(x, clock, answer, kind, words):
    for place in (0, 1):
        fake = x(many(300))
        fake.failures = [None] * place + [answer] * 5
        assert words in refusal(kind, clock)
        assert clock.waits == []


def test_a_wrong_token(x, monkeypatch):
    x(many(3))
    monkeypatch.setenv("X_BEARER_TOKEN", "wrong")
    assert "does not take the token" in refusal(InputError)


FAILURES = [
    BROKEN,
    Answer(500, {"title": "Internal Server Error"}),
    reset,
    truncated,
    LOGIN_PAGE,
    Answer(200, b"", {}),
    Answer(200, b"[" * 9999),
]


@pytest.mark.parametrize("failure", FAILURES)
def test_what_may_pass_is_tried_again_after_ever_longer_waits(x, clock, failure):
    fake = x(many(300))
    fake.failures = [None, None, failure, failure, failure]
    assert len(fetched(clock)) == 300
    assert clock.waits == [1, 2, 4]
    fake.failures = [None, failure, failure, failure, failure, failure]
    assert "5 times in a row" in refusal(PlatformError, clock)


def test_a_limit_is_waited_for_until_its_reset(x, clock):
    fake = x(many(300))
    in_ten_minutes = Answer(429, TOO_MANY, {"x-rate-limit-reset": str(int(clock.now()) + 600)})
    fake.failures = [None, None, in_ten_minutes]
    assert len(fetched(clock)) == 300
    assert clock.waits == [601]


def test_a_limit_without_or_with_a_nonsensical_reset_is_waited_for_patiently_and_ends(x, clock):
    fake = x(many(300))
    odd = [Answer(429, TOO_MANY, {"x-rate-limit-reset": each} if each else {}) for each in ("", "soon", "-5", "1", "9" * 400)]
    fake.failures = [None, *odd]
    assert len(fetched(clock)) == 300
    assert clock.waits == [1, 2, 4, 8, 16]
    fake.failures = [Answer(429, TOO_MANY)] * 100
    assert "takes no more requests" in refusal(PlatformError, clock)
    assert sum(clock.waits[5:]) <= 1200


def test_a_limit_beyond_patience_is_told_at_once(x, clock):
    fake = x(many(300))
    fake.failures = [None, Answer(429, TOO_MANY, {"x-rate-limit-reset": str(int(clock.now()) + 86_000)})]
    assert "24 h" in refusal(PlatformError, clock)
    assert clock.waits == []


@pytest.mark.parametrize("value", ["30", format_datetime(datetime.fromtimestamp(1.7e9 + 30, UTC), usegmt=True)])
def test_a_busy_server_says_when_to_come_again(x, clock, value):
    fake = x(many(3))
    fake.failures = [Answer(503, {}, {"Retry-After": value})]
    assert len(fetched(clock)) == 3
    assert clock.waits == [31]


@pytest.mark.parametrize(
    ("failure", "words"), [(dripping, "no end after"), (silent, "timed out"), (flooding, "more than 1,000,000 bytes")]
)
def test_an_answer_that_does_not_end_or_never_begins(x, clock, monkeypatch, failure, words):
    monkeypatch.setattr(web, "MOST_BYTES", 1_000_000)
    fake = x(many(300))
    fake.failures = [None, None] + [failure] * 2
    assert words in refusal(PlatformError, clock, tries=2, silence=0.2, answer=0.2)
    fake.failures = []
    assert len(fetched(clock)) == 300
    assert fake.given_out["posts"] == 300


def test_a_server_that_is_not_there(x, clock, monkeypatch):
    x(many(3))
    monkeypatch.setenv("MYNAH_X_API", "http://127.0.0.1:1")
    assert "Connection refused" in refusal(PlatformError, clock)
    assert clock.waits == [1, 2, 4, 8]


def test_pages_without_end_have_an_end(x, clock):
    fake = x(many(3))
    fake.statuses = {"data": [tweet(9, "Again")], "meta": {"result_count": 1, "next_token": "p5"}}
    assert "have no end" in refusal(PlatformError, clock)
    assert len([asked for asked in fake.asked if asked.path.endswith("/tweets")]) == 2
    fake.statuses = {"meta": {"result_count": 0, "next_token": "p5"}}
    assert "have no end" in refusal(PlatformError, clock)


def test_a_profile_picture_that_cannot_be_had_costs_no_post(x, clock, capsys):
    for address in (
        "{url}/nothing.jpg",
        "http://169.254.169.254/a.jpg",
        "https://localhost/a.jpg",
        "https://[::1",
        "file:///etc/passwd",
    ):
        fake = x(many(3))
        fake.account = {**WREN, "profile_image_url": address.format(url=fake.url)}
        content = open_timeline("wren", 0, YES, clock.patience())
        assert content.avatar == b"" and len(list(content.posts(lambda _: None))) == 3
        assert "picture is left out" in capsys.readouterr().err
    assert clock.waits == []


def test_a_netrc_does_not_replace_the_token(x, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password else\n")
    os.chmod(netrc, 0o600)  # noqa: PTH101 - as a person does it
    monkeypatch.setenv("NETRC", str(netrc))
    x(many(3))
    assert len(fetched()) == 3


def test_what_is_kept_is_json_lines(x, clock):
    fake = x(many(300))
    fake.failures = [None] * 3 + [BROKEN] * 5
    refusal(PlatformError, clock)
    [account, *pages] = [json.loads(line) for line in kept_pages("wren").read_text().splitlines()]
    assert account["username"] == "Wren" and Counter(map(len, pages)) == {100: 2}
