"""Posts survive their records, and the newest of them are found."""

import json
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from mynah.data.posts import Kind, Post, newest

posts = st.builds(
    Post,
    id=st.text(max_size=20),
    author=st.text(max_size=20),
    text=st.text(),
    created_at=st.none() | st.datetimes(timezones=st.just(UTC)),
    kind=st.sampled_from(list(Kind)),
    language=st.sampled_from(["", "en"]),
)


@given(posts)
def test_a_post_survives_its_record(post):
    assert Post.from_record(json.loads(json.dumps(post.to_record()))) == post


def test_newest_by_number_time_or_place():
    def made(*pairs):
        return [Post(identity, "a", "x", when) for identity, when in pairs]

    day = [datetime(2020, 1, n, tzinfo=UTC) for n in range(1, 4)]
    assert [p.id for p in newest(made(("9", day[0]), ("10", day[1]), ("8", day[2])), 2)] == ["9", "10"]
    assert [p.id for p in newest(made(("c", day[2]), ("a", day[0]), ("b", day[1])), 2)] == ["c", "b"]
    assert [p.id for p in newest(made(("c", None), ("a", day[0]), ("b", None)), 2)] == ["a", "b"]
    assert len(newest(made(("1", None), ("2", None)), 0)) == 2


def test_newest_takes_numbers_of_any_length_and_leading_zeros():
    posts = [Post(identity, "a", "x") for identity in ("9" * 5000, "0010", "9")]
    assert [post.id for post in newest(posts, 2)] == ["9" * 5000, "0010"]
