"""Threads: an author's post and their own answers to it, and to these, as one text."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from components.filter.clean import LEADING, after_mentions
from components.posts import Entity, Kind, Post

Key = tuple[str, str]  # author and id


@dataclass(frozen=True, slots=True)
class Part:
    """A post that was joined to the first one of its thread."""

    post: Post


def merged(read: Callable[[], Iterable[Post]]) -> Iterator[Post | Part]:
    """The posts that `read` gives, which is called twice; a thread's as one, in the order of time, where its last one stood.

    An answer whose first post is not there stays alone, and so do reposts.
    """
    roots = find_roots(read())
    left: dict[Key, int] = {}
    for root in roots.values():
        left[root] = left.get(root, 1) + 1
    waiting: dict[Key, dict[str, Post]] = {}
    for post in read():
        key = (post.author, post.id)
        root = roots.get(key, key)
        if root not in left or not _joins(post) or post.id in waiting.get(root, ()):
            yield post
            continue
        waiting.setdefault(root, {})[post.id] = post
        if len(waiting[root]) == left[root]:
            del left[root]  # another copy of one of them stays alone
            yield from _join(waiting.pop(root), root[1])
    for posts in waiting.values():
        yield from posts.values()


def find_roots(posts: Iterable[Post]) -> dict[Key, Key]:
    """The first post of the thread that a post belongs to, for each but that first one itself."""
    above: dict[Key, Key] = {}
    there: set[Key] = set()
    for post in posts:
        if _joins(post):
            key = (post.author, post.id)
            there.add(key)
            if post.reply_to_self and post.reply_to:
                above[key] = (post.author, post.reply_to)
    ends: dict[Key, Key | None] = {}
    for key in above:
        path: dict[Key, None] = {}
        last = key
        while last in above and last not in ends and last not in path:
            path[last] = None
            last = above[last]
        end = ends.get(last, last if last in there and last not in path else None)  # last in path: they answer each other
        ends.update(dict.fromkeys(path, end))
    return {key: end for key, end in ends.items() if end is not None}


def _joins(post: Post) -> bool:
    return post.kind is not Kind.REPOST and not post.text.startswith("RT @")


def _join(posts: dict[str, Post], root: str) -> Iterator[Post | Part]:
    first = posts.pop(root)
    texts, entities, length = [first.text], list(first.entities), len(first.text)
    for post in sorted(posts.values(), key=_moment):
        match = LEADING.match(post.text)
        skipped = max(after_mentions(post.entities, post.text), match.end() if match else 0)
        moved = length + 1 - skipped
        entities += [Entity(each.start + moved, each.end + moved, each.kind) for each in post.entities if each.start >= skipped]
        texts.append(post.text[skipped:])
        length += 1 + len(texts[-1])
        yield Part(post)
    yield replace(first, text=" ".join(texts), entities=tuple(entities))


def _moment(post: Post) -> tuple[float, int, str]:
    """Orders by time, and posts of the same second, or without a time, by their ids, which grow with time."""
    return (post.created_at.timestamp() if post.created_at else 0.0, len(post.id), post.id)
