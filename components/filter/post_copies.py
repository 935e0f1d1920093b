"""Find copies of a post among all sources: one post by its author and id, however many exports, tables and networks have it.

Of several copies the newest text is kept: the last version of an edited post, and the whole text where another copy is cut. X gives each
version of an edited post an id of its own (`Post.versions`); Mastodon keeps the id (`Post.edited_at`).
"""

import html
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from components.filter.near_duplicates import jaccard, word_pairs
from mynah.core.files import read_lines
from mynah.data.posts import POSTS_FILE, Kind, Post, read_posts, versions_of

Key = tuple[str, str]  # author, whose case does not count, and id

# How `mynah fetch` begins a line: whose post it is can be told without parsing the rest.
HEAD = re.compile(r'\{"id": "([^"\\]*)", "author": "([^"\\]*)", "text": "')
ROW = re.compile(r"row-[0-9]+")  # not an id: a table without ids has the number of the row
MAX_COPIES = 20  # of one post; what more posts share is not an id, but maybe the account's
MAX_TIME_APART = timedelta(days=1)  # of copies; a table's times without a zone may be hours off
LONG_ID = 6  # characters; shorter ones may be numbers that two tables count alike
RELATED = 0.1  # Jaccard index of the word pairs of two versions of a text
LONGEST_END = 300  # characters, in which an ellipsis is sought
CUT = re.compile(r"(?:…|\.\.\.)(?:\s*https?://\S+)?\s*$")


@dataclass(frozen=True, slots=True)
class PostCopy:
    """A copy of a post that another one stands for, whose id is `like`."""

    post: Post
    like: str


@dataclass(frozen=True, slots=True)
class PostCopies:
    """The copies in a folder of posts, by the index of a post in it.

    Attributes:
        stands_for: Of each copy that is dropped the index of the post that is kept.
        completed: Kept posts with what only another copy knows, such as the time.
        versions: Of each superseded version of an edited post the id of the kept one.
    """

    stands_for: Mapping[int, int] = field(default_factory=dict)
    completed: Mapping[int, Post] = field(default_factory=dict)
    versions: Mapping[Key, str] = field(default_factory=dict)

    def dropped(self, posts: Iterable[Post], is_read: Callable[[int], bool]) -> Iterator[PostCopy]:
        """Yield the dropped copies among all `posts` whose kept post `is_read`, by its index."""
        for index, post in enumerate(posts) if self.stands_for else ():
            kept = self.stands_for.get(index)
            if kept is not None and is_read(kept):
                yield PostCopy(post, self.completed[kept].id)

    def without(self, posts: Iterable[Post]) -> Iterator[tuple[int, Post]]:
        """Yield the kept ones of all `posts` with their indices. A reply to a superseded version becomes one to the kept version."""
        for index, post in enumerate(posts):
            if index in self.stands_for:
                continue
            kept = self.completed.get(index, post)
            if self.versions and kept.reply_to and (now := self.versions.get((kept.author.casefold(), kept.reply_to))):
                kept = replace(kept, reply_to=now)
            yield index, kept


@dataclass(slots=True)
class _Copies:
    """The copies of one post so far."""

    best: Post
    best_index: int
    indices: list[int]


def find_copies(raw: Path) -> PostCopies:
    """Find the copies in a folder that `mynah fetch` wrote. Raises InputError for a file that is damaged."""
    firsts, repeated = _repeated_identities(raw)
    if not firsts and not repeated:
        return PostCopies()
    groups: dict[Key, list[_Copies]] = {}
    for index, post in enumerate(read_posts(raw)):
        identity = _identity(post.author, post.id, firsts)
        if identity in repeated:
            _add(groups.setdefault(identity, []), index, post)
    copies = [group for found in groups.values() for group in found if len(group.indices) > 1]
    stands_for = {index: group.best_index for group in copies for index in group.indices if index != group.best_index}
    kept = {group.best_index: group.best for group in copies}
    return PostCopies(stands_for, kept, _superseded(raw, firsts, stands_for) if firsts else {})


def _repeated_identities(raw: Path) -> tuple[dict[Key, str], set[Key]]:
    """Return of each version of an edited post the id of the first one, and the identities that several posts have."""
    counts: Counter[Key] = Counter()
    firsts: dict[Key, str] = {}
    names: dict[str, str] = {}  # each author's name is held once
    for record in _records(raw):
        author, number = str(record.get("author")).casefold(), str(record.get("id"))
        author = names.setdefault(author, author)
        if not number.startswith("row-") or not ROW.fullmatch(number):
            counts[author, number] += 1
        for version in versions_of(record.get("versions")):
            firsts[author, version] = versions_of(record.get("versions"))[0]
    for (author, version), first in firsts.items():
        if version != first and (count := counts.pop((author, version), 0)):
            counts[author, first] += count
    return firsts, {identity for identity, count in counts.items() if 1 < count <= MAX_COPIES}


def _records(raw: Path) -> Iterator[dict[str, Any]]:
    return (record if isinstance(record, dict) else {} for record in read_lines(raw / POSTS_FILE, "fetch", _identifying))


def _identifying(line: str) -> object:
    """Return the author, the id and the versions in a line, maybe with the rest. Raises ValueError for what is no JSON, unless it begins well."""
    head = HEAD.match(line)
    return {"id": head[1], "author": head[2]} if head and '"versions": ' not in line else json.loads(line)


def _identity(author: str, number: str, firsts: Mapping[Key, str]) -> Key:
    name = author.casefold()
    return name, firsts.get((name, number), number)


def _superseded(raw: Path, firsts: Mapping[Key, str], stands_for: Mapping[int, int]) -> dict[Key, str]:
    """Return of each version of an edited post but the kept one the id of that one."""
    kept: dict[Key, str] = {}
    for index, record in enumerate(_records(raw)):
        author, number = str(record.get("author")).casefold(), str(record.get("id"))
        if (author, number) in firsts and index not in stands_for:
            kept[_identity(author, number, firsts)] = number
    return {
        (author, version): kept[author, first]
        for (author, version), first in firsts.items()
        if kept.get((author, first), version) != version
    }


def _add(groups: list[_Copies], index: int, post: Post) -> None:
    """Add a post to the copies of the same one among `groups`, or begin a new group."""
    for group in groups:
        if _is_same(group.best, post):
            group.indices.append(index)
            if _is_newer(post, group.best):
                group.best, group.best_index = _completed(post, group.best), index
            else:
                group.best = _completed(group.best, post)
            return
    groups.append(_Copies(post, index, [index]))


def _is_same(first: Post, second: Post) -> bool:
    """Return whether two posts of one identity are one post, and not two of tables that count alike."""
    if first.created_at and second.created_at:
        return abs(first.created_at - second.created_at) <= MAX_TIME_APART
    if len(first.id) >= LONG_ID:
        return True
    texts = _comparable(first.text), _comparable(second.text)
    return _is_beginning(*sorted(texts, key=len)) or jaccard(*map(word_pairs, texts)) >= RELATED


def _is_newer(post: Post, other: Post) -> bool:
    """Return whether the text of `post` is newer than that of `other`, an earlier one in the folder; the later one where nothing shows it."""
    if post.id != other.id:
        return _version(post) > _version(other)
    if post.edited_at != other.edited_at:
        return not other.edited_at or bool(post.edited_at and post.edited_at > other.edited_at)
    text, other_text = _comparable(post.text), _comparable(other.text)
    if (is_cut := _uncut(text) != text) != (_uncut(other_text) != other_text):
        return not is_cut
    if text != other_text and _is_beginning(*sorted((text, other_text), key=len)):
        return len(text) > len(other_text)
    if post.created_at and other.created_at and post.created_at != other.created_at:
        return post.created_at > other.created_at
    return True


def _version(post: Post) -> tuple[int, str]:
    return len(post.id), post.id  # ids of X grow with time, and none begins with 0


def _is_beginning(shorter: str, longer: str) -> bool:
    return longer.startswith(_uncut(shorter).rstrip())


def _uncut(text: str) -> str:
    """Return `text` without the ellipsis, and the link behind it, by which a source shows that it cut the text."""
    cut = CUT.search(text, max(0, len(text) - LONGEST_END))
    return text[: cut.start()] if cut else text


def _comparable(text: str) -> str:
    """Return a text without what sources write differently: escapes and white space."""
    return " ".join(html.unescape(text).split())


def _completed(post: Post, other: Post) -> Post:
    """Return `post` with what only its copy `other` knows."""
    is_unmarked = post.kind is Kind.ORIGINAL
    return replace(
        post,
        created_at=post.created_at or other.created_at,
        kind=other.kind if is_unmarked else post.kind,
        language=post.language or other.language,
        entities=post.entities or (other.entities if post.text == other.text else ()),
        reply_to=post.reply_to or other.reply_to,
        reply_to_self=post.reply_to_self or (other.reply_to_self and post.reply_to in ("", other.reply_to)),
        client=post.client or other.client,
    )
