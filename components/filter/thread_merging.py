"""Merge threads: an author's post and their own replies to it, and to these, become one text."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from components.filter.text_cleaning import LEADING, after_mentions
from mynah.data.posts import Entity, Kind, Post

Key = tuple[str, str]  # author and id


@dataclass(frozen=True, slots=True)
class MergedPost:
    """A post that was joined to the first one of its thread."""

    post: Post


def merge_threads(read: Callable[[], Iterable[Post]]) -> Iterator[Post | MergedPost]:
    """Yield the posts with each thread joined into one, in the order of time, at the position of its last post.

    Args:
        read: Returns the posts; it is called twice.

    Yields:
        Posts, and a MergedPost for each that was joined to another. A reply whose first post is missing stays alone, and so do reposts.
    """
    roots = find_roots(read())
    remaining: dict[Key, int] = {}
    for root in roots.values():
        remaining[root] = remaining.get(root, 1) + 1
    pending: dict[Key, dict[str, Post]] = {}
    for post in read():
        key = (post.author, post.id)
        root = roots.get(key, key)
        if root not in remaining or not _joins(post) or post.id in pending.get(root, ()):
            yield post
            continue
        pending.setdefault(root, {})[post.id] = post
        if len(pending[root]) == remaining[root]:
            del remaining[root]  # a later copy of one of them stays alone
            yield from _join(pending.pop(root), root[1])
    for posts in pending.values():
        yield from posts.values()


def find_roots(posts: Iterable[Post]) -> dict[Key, Key]:
    """Return the first post of each post's thread, except for that first one itself."""
    parents: dict[Key, Key] = {}
    known: set[Key] = set()
    for post in posts:
        if _joins(post):
            key = (post.author, post.id)
            known.add(key)
            if post.reply_to_self and post.reply_to:
                parents[key] = (post.author, post.reply_to)
    roots: dict[Key, Key | None] = {}
    for key in parents:
        path: dict[Key, None] = {}
        last = key
        while last in parents and last not in roots and last not in path:
            path[last] = None
            last = parents[last]
        root = roots.get(last, last if last in known and last not in path else None)  # last in path: a cycle of replies
        roots.update(dict.fromkeys(path, root))
    return {key: root for key, root in roots.items() if root is not None}


def _joins(post: Post) -> bool:
    return post.kind is not Kind.REPOST and not post.text.startswith("RT @")


def _join(posts: dict[str, Post], root: str) -> Iterator[Post | MergedPost]:
    first = posts.pop(root)
    texts, entities, length = [first.text], list(first.entities), len(first.text)
    for post in sorted(posts.values(), key=_time_order):
        match = LEADING.match(post.text)
        skipped = max(after_mentions(post.entities, post.text), match.end() if match else 0)
        shift = length + 1 - skipped
        entities += [Entity(old.start + shift, old.end + shift, old.kind) for old in post.entities if old.start >= skipped]
        texts.append(post.text[skipped:])
        length += 1 + len(texts[-1])
        yield MergedPost(post)
    yield replace(first, text=" ".join(texts), entities=tuple(entities))


def _time_order(post: Post) -> tuple[float, int, str]:
    """Order by time, and posts of the same second, or without a time, by their ids, which grow with time."""
    return (post.created_at.timestamp() if post.created_at else 0.0, len(post.id), post.id)
