"""Posts to a circle in an X export: they stand in `tweets.js` without a mark, and only `twitter-circle-tweet.js` beside it tells which they are.

There were circles from May 2022 to October 2023. https://github.com/tweetback/tweetback leaves the same posts out.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from components.fetch.x.export_edits import Edits
from components.fetch.x.export_json import DOWNLOAD_AGAIN, identity, typed
from mynah.core.errors import InputError
from mynah.core.progress import notify
from mynah.data.posts import Post

CIRCLE_PART = re.compile(r"twitter-circle-tweets?(?:-part([0-9]{1,9}))?\.js")
CIRCLES_FROM, CIRCLES_UNTIL = (
    datetime(2022, 5, 1, tzinfo=UTC),
    datetime(2023, 11, 1, tzinfo=UTC),
)  # from the first test to their end
MAX_POSTS = 1_000_000
MAX_MONTHS_SHOWN = 6


class CirclePosts:
    """Leaves out the posts to a circle, and counts them.

    Args:
        label: The export's name in messages.
        elements: The elements of the export's list of them, with their places; None where it has no such list.

    Raises:
        InputError: An element has no id, so that its post would be taken as one for everybody, or there are implausibly many.
    """

    def __init__(self, label: str, elements: Iterable[tuple[str, Any]] | None) -> None:
        self._label, self._has_list = label, elements is not None
        self._left_out = 0
        self._months: Counter[str] = Counter()  # in which a post may have been to a circle
        self._ids: set[str] = set()
        for place, element in elements or ():
            self._ids.add(_listed_id(place, element))
            if len(self._ids) > MAX_POSTS:
                raise InputError(f"{place}: lists more than {MAX_POSTS:,} posts to a circle", DOWNLOAD_AGAIN)

    def leave_out(self, posts: Iterable[Post], edits: Edits) -> Iterator[Post]:
        """Yield the other posts. Where one version of an edited post was to a circle, all were."""
        circle = {edits.get(number, number) for number in self._ids}
        for post in posts:
            if edits.get(post.id, post.id) in circle:
                self._left_out += 1
                continue
            if not self._has_list and post.created_at and CIRCLES_FROM <= post.created_at < CIRCLES_UNTIL:
                self._months[f"{post.created_at:%Y-%m}"] += 1
            yield post

    def report(self) -> None:
        """Print how many posts were left out, and in which months posts to a circle cannot be told from others."""
        if self._left_out:
            notify(f"{self._label}: left out {self._left_out:,} post{'s' if self._left_out > 1 else ''} to a circle")
        if self._months:
            months = sorted(self._months)
            shown = ", ".join(months) if len(months) <= MAX_MONTHS_SHOWN else f"{months[0]} to {months[-1]}"
            notify(
                f"{self._label}: has no twitter-circle-tweet.js, so that posts to a circle cannot be told from the others among the "
                f"{self._months.total():,} of {shown}; download the archive from X again, unless you had no circle",
                "warning",
            )


def _listed_id(place: str, element: object) -> str:
    """Return the id of a listed post, with or without a wrapper such as "tweet". Raises InputError where it has none."""
    record = typed(element, dict, "the element", place)
    inner = next(iter(record.values())) if len(record) == 1 else record
    tweet: dict[str, Any] = inner if isinstance(inner, dict) else record
    return identity(tweet.get("id_str") or tweet.get("id") or tweet.get("tweetId"), "id_str", place)
