"""Posts for the tests of the filter."""

import json
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from mynah.data.posts import Kind, Post, write_posts


def post(text, kind=Kind.ORIGINAL, number=1, author="ann", **more):
    return Post(str(number), author, text, kind=kind, **more)


def raw_folder(folder, posts):
    folder.mkdir()
    write_posts(folder, posts)
    return folder


def many(count=200, author="ann", start=0):
    return [
        post(f"Post number {n} says that the weather is {'fine' * (n % 5 + 1)} today", number=n, author=author)
        for n in range(start, start + count)
    ]


# Any text, with halves of surrogate pairs; and text that is mostly made of what the rules look for.
PARTS = (
    "http://", "https://t.co/x", "HTTP://x", "www.", "t.co/", "<|endo", "ftext|>", "<|endoftext|>", "&", "amp;", "&lt;", "&amp;",
    "&#60;", "&#x7c;", "&#38;", "#38;", "&#64;", "num;", ";", " ", "\n", "\x0b", "\x85", "\x93", "one",
    "é", "Ã©", "â€™", "Ã", "\xa0", "e\u0301", "\u0958", "\ud83d", "@ann", "@", "@mas.to", ".bsky.social", ":", ",", "RT ", "\"", "“",
    "ann@example.org", "+1-415-555-2671", "415", ".555", "-2671", "DE89 3704 0044 0532 0130 00", "4111 1111 1111 1111", "98.202.88.97",
)  # fmt: skip
ANY_TEXT = st.text(st.characters(), max_size=300) | st.lists(st.sampled_from(PARTS), max_size=30).map("".join)


BEGAN = datetime(2024, 1, 1, tzinfo=UTC)


def lines(folder, name):
    return [json.loads(line) for line in (folder / name).read_text("utf-8").splitlines()]


def thread(*parts, author="ann", start=5100):
    """A post and the author's own answers, each to the one before."""
    return [
        post(text, Kind.REPLY if n else Kind.ORIGINAL, start + n, author, reply_to=str(start + n - 1) if n else "", reply_to_self=bool(n),
             created_at=BEGAN + timedelta(minutes=start + n))
        for n, text in enumerate(parts)
    ]  # fmt: skip
