"""What the X API costs: agreed to before, never above the cap, and never paid twice."""

import os
import stat
import time

import pytest
from fake_x import WREN, tweet
from x_fetch import BROKEN, YES, fetched, many, refusal

from components.fetch.x import api_pages
from components.fetch.x.api import open_timeline
from components.fetch.x.api_pages import pages_copy_uri, pages_file
from components.fetch.x.api_price import Budget
from mynah.core.errors import InputError, PlatformError

# --- what it costs --------------------------------------------------------------------------------------------------------


def test_nothing_is_asked_before_the_price_and_the_terms_were_agreed_to(x):
    fake = x(many(3))
    assert "at most 6 posts" in refusal(InputError, budget=Budget(), limit=2)
    assert "at most 106 posts" in refusal(InputError, budget=Budget(), limit=102)
    said = refusal(InputError, budget=Budget())
    assert "3,200 posts" in said and "$0.005" in said and "$16.01" in said and "--yes" in said and "--max-cost" in said
    assert "foundation or frontier model" in said and "https://docs.x.com/developer-terms/agreement" in said
    assert fake.requests == []


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
    assert len(fetched(budget=Budget(max_cost_usd=5.0))) == fake.given_out["posts"] == 300


def test_the_cap_is_never_passed_and_what_it_bought_is_kept(x, capsys):
    fake = x(many(500))
    posts = fetched(budget=Budget(max_cost_usd=1.0))
    assert len(posts) == fake.given_out["posts"] == 198  # (1.00 - 0.01) / 0.005
    assert "cost limit of $1.00 is reached: 198 posts" in capsys.readouterr().err
    assert len(fetched(budget=Budget(max_cost_usd=1.0, yes=True))) == 398  # a dollar more, and no account again
    assert fake.given_out == {"posts": 398, "accounts": 1}
    assert len(fetched()) == 500
    assert fake.given_out == {"posts": 500, "accounts": 1}
    assert not pages_file("wren").exists()


@pytest.mark.parametrize("cap", [0.0, 0.034, -1.0, float("nan")])
def test_a_cap_that_buys_nothing_is_refused(x, cap):
    fake = x(many(3))
    assert "the minimum is $0.035" in refusal(InputError, budget=Budget(max_cost_usd=cap)).lower()
    assert fake.requests == []


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
    kept = pages_file("WREN")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600 and stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
    assert "wren" not in kept.name
    fake.timeline = [tweet(99_999, "New meanwhile"), *timeline]
    posts = fetched(clock)
    assert [post.id for post in posts] == [each["id"] for each in timeline]
    assert fake.given_out == {"posts": 3190, "accounts": 1}
    assert "2,000 posts of @Wren are cached" in capsys.readouterr().err
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
    assert not pages_file("wren").exists()


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
    assert fake.requests == []


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
    assert {f"s3://{os.environ['MYNAH_S3_BUCKET']}/{key}" for key in installation()} == {f"{pages_copy_uri('WREN')}/pages.jsonl"}
    assert "wren" not in pages_copy_uri("wren")
    monkeypatch.setenv("MYNAH_CACHE", str(tmp_path / "another pod"))
    assert len(fetched(clock)) == 300
    assert fake.given_out == {"posts": 300, "accounts": 1}
    assert installation() == [], "no older version either"
    assert "only on this machine" not in capsys.readouterr().err


def test_a_copy_is_gone_after_a_day_whosever_it_is(x, clock, installation, monkeypatch, tmp_path):
    fake = x(many(300))
    fake.failures = [None] * 3 + [BROKEN] * 5
    refusal(PlatformError, clock)
    fake.account = {**WREN, "username": "heron"}
    monkeypatch.setenv("MYNAH_CACHE", str(tmp_path / "another pod"))
    monkeypatch.setattr(api_pages, "SECONDS_KEPT", 0)
    assert len(fetched(clock, handle="heron")) == 300
    assert fake.given_out == {"posts": 500, "accounts": 2}
    assert installation() == []


def test_a_bucket_that_fails_costs_no_post(x, installation, monkeypatch, capsys):
    x(many(300))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    assert len(fetched()) == 300
    assert capsys.readouterr().err.count("cached only on this machine") == 2  # as it begins, and as the copy should go


def test_a_line_that_a_kill_cut_is_paid_for_again_and_no_other(x, clock):
    fake = x(many(300))
    fake.failures = [None] * 3 + [BROKEN] * 5
    refusal(PlatformError, clock)
    kept = pages_file("wren")
    kept.write_bytes(kept.read_bytes()[:-20])
    assert len(fetched(clock)) == 300
    assert fake.given_out == {"posts": 400, "accounts": 1}


def test_what_is_kept_is_gone_after_a_day_whosever_it_is(x, clock, monkeypatch):
    fake = x(many(300))
    fake.failures = [None] * 3 + [BROKEN] * 5
    refusal(PlatformError, clock)
    other = pages_file("heron")
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
