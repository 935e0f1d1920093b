"""Keep the posts of one author of a table that has several: the one whom a person names with --author."""

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator

from components.fetch import untrusted_json
from mynah.core.errors import InputError
from mynah.core.progress import notify
from mynah.data.authors import author_key
from mynah.data.posts import Post

SHOWN = 5  # names in a message


def posts_of_author(posts: Iterable[Post], author: str, label: str) -> Iterator[Post]:
    """Yield the posts of one author, and report how many others were left out.

    Args:
        posts: The posts of a table.
        author: The author's name, in any case, with or without @.
        label: The table's name in messages.

    Yields:
        Their posts.

    Raises:
        InputError: The table has posts, and none of theirs; the message has the nearest names.
    """
    wanted, is_found = author_key(author), False
    others: Counter[str] = Counter()
    for post in posts:
        key = author_key(post.author)
        if key == wanted:
            is_found = True
            yield post
        else:
            others[key] += 1
    if others and not is_found:
        raise _unknown(author, others, label)
    if others:
        number = "1 post of another author is" if others.total() == 1 else f"{others.total():,} posts of others are"
        people = "" if others.total() == 1 else f" ({len(others):,} author{'' if len(others) == 1 else 's'})"
        notify(f"{label}: {number} left out{people}; only @{untrusted_json.message_text(author).lstrip('@')[:60]}'s are read")


def _unknown(author: str, others: Counter[str], label: str) -> InputError:
    near = difflib.get_close_matches(author_key(author), others, SHOWN)
    names = near or [name for name, _ in others.most_common(SHOWN)]
    listed = ", ".join(f"@{name} ({others[name]:,})" for name in names)
    which = "The nearest names" if near else "Its authors" if len(others) <= SHOWN else "Those with the most posts"
    plural = "" if len(others) == 1 else "s"
    problem = f"{label}: has no posts of @{untrusted_json.message_text(author).lstrip('@')[:60]}"
    return InputError(
        problem, f"Name one of its {len(others):,} author{plural} with --author. {which}, with the number of posts: {listed}."
    )
