"""What the tests of Bluesky and Mastodon share."""

from datetime import UTC, datetime

import pytest
from fake_bluesky import OTHER, Repository, record

from tests.http_fake import Answer

BROKEN = Answer(502, b"<html>Bad Gateway</html>", {"Content-Type": "text/html"})
MARCH = datetime(2024, 3, 1, 12, tzinfo=UTC)


def read(content):
    return list(content.posts(lambda _: None))


def refused(kind, call):
    with pytest.raises(kind) as caught:
        call()
    assert caught.value.fix and len(str(caught.value)) < 600
    return str(caught.value)


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


def deep(car):
    left = repository(1)
    left.blocks = {}
    left.root = left._put([[[[]]]])
    return left.car()


HASHTAG = '<a href="https://birds.example/tags/fish" class="mention hashtag" rel="tag">#<span>fish</span></a>'
