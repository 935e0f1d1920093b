"""What goes wrong at the X API: refusals, limits, and answers that do not end."""

import json
import os
from collections import Counter
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from failures import LOGIN_PAGE, dripping, flooding, reset, silent, truncated
from fake_x import CAPPED, NO_CREDITS, NOT_ENROLLED, PROBLEMS, TOKEN, TOO_MANY, WREN, problem, tweet
from x_fetch import BROKEN, YES, fetched, many, refusal

from components.fetch.http import session
from components.fetch.x.api import open_timeline
from components.fetch.x.api_pages import pages_file
from mynah.core.errors import InputError, PlatformError
from tests.http_fake import Answer


@pytest.mark.parametrize("handle", ["", "@", "wren/../x", "wren bird", "a" * 16, "wré", "wren?x=1", "wren\n"])
def test_a_bad_handle_is_refused_before_anything_is_asked(x, handle):
    fake = x(many(3))
    assert "is not an X handle" in refusal(InputError, handle=handle)
    assert fake.requests == []


@pytest.mark.parametrize(("token", "words"), [("", "not set"), ("abc\r\nHost: evil", "characters"), ("töken", "characters")])
def test_a_token_that_is_none_is_never_sent_or_shown(x, monkeypatch, token, words):
    fake = x(many(3))
    monkeypatch.setenv("X_BEARER_TOKEN", token)
    said = refusal(InputError)
    assert words in said and (not token or token not in said)
    assert fake.requests == []


@pytest.mark.parametrize(
    ("lookup", "words"),
    [
        (
            problem("Not Found Error", "Could not find user with username: [wren].", "resource-not-found", "wren"),
            "X has no account @wren",
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
        (Answer(200, {"surprise": 1}), PlatformError, "nor a known error"),
        (Answer(200, [1, 2]), PlatformError, "nor a known error"),
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
    assert "rejects the token" in refusal(InputError)


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
    assert "rate-limits requests" in refusal(PlatformError, clock)
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
    monkeypatch.setattr(session, "MAX_BYTES", 1_000_000)
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
    assert len([asked for asked in fake.requests if asked.path.endswith("/tweets")]) == 2
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
        assert "skipping a profile picture" in capsys.readouterr().err
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
    [account, *pages] = [json.loads(line) for line in pages_file("wren").read_text().splitlines()]
    assert account["username"] == "Wren" and Counter(map(len, pages)) == {100: 2}
