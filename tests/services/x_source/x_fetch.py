"""What the tests of the X API share: fetching a timeline, and its refusal."""

import pytest
from fake_x import TOKEN, tweet

from components.fetch.http.retry import RetryPolicy
from components.fetch.x import api_pages
from components.fetch.x.api import open_timeline
from components.fetch.x.api_price import Budget
from tests.http_fake import Answer

YES = Budget(yes=True)
BROKEN = Answer(503, b"upstream connect error", {"Content-Type": "text/plain"})


class Clock:
    """Time that passes by waiting alone."""

    def __init__(self):
        self.waits = []

    def now(self):
        return 1.7e9 + sum(self.waits)

    def patience(self, **more):
        return RetryPolicy(wait=self.waits.append, now=self.now, **more)


def many(count):
    return [tweet(10_000 + count - number, f"Post {count - number}") for number in range(count)]


def fetched(clock=None, limit=0, budget=YES, handle="wren", **patience):
    content = open_timeline(handle, limit, budget, (clock or Clock()).patience(**patience))
    posts = list(content.posts(lambda _: None))
    api_pages.PageCache(handle).remove_finished()  # as `fetch` does when they are written
    return posts


def refusal(kind, clock=None, **options):
    with pytest.raises(kind) as caught:
        fetched(clock, **options)
    assert caught.value.fix and TOKEN not in str(caught.value) and len(str(caught.value)) < 800
    return str(caught.value)
