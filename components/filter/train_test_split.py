"""Choose the texts to hold out: a tenth, at random or the newest, such that no training text nearly repeats a held-out one."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from components.filter.near_duplicates import NearDuplicateIndex
from mynah.core.errors import InputError
from mynah.data.posts import Post

HELD_OUT_SHARE = 0.1


@dataclass(slots=True)
class TrainTestSplitter:
    """Collects the kept texts one by one; stores a digest of each, and the text itself where near duplicates must be found.

    Attributes:
        seed: Of the random split.
        alike: Whether near duplicates may occur; False where a rule has dropped them.
        by_time: Hold out the newest texts instead of random ones.
    """

    seed: int
    alike: bool = True
    by_time: bool = False
    _digests: list[bytes] = field(default_factory=list)  # of each distinct text
    _parents: list[int] = field(default_factory=list)  # of each distinct text that of a similar one, or its own (union-find)
    _indices: dict[bytes, int] = field(default_factory=dict)
    _text_indices: list[int] = field(default_factory=list)  # of each added text the index of its distinct text
    _index: NearDuplicateIndex = field(default_factory=NearDuplicateIndex)
    _times: list[tuple[str, float]] = field(default_factory=list)  # of each added text: author, seconds

    def add(self, text: str, post: Post) -> None:
        """Add the text of `post`. Raises InputError when it has no time and the split is by time."""
        if self.by_time:
            if post.created_at is None:
                raise InputError(
                    f"the post {post.id} of {post.author} has no time, and by-time holds the newest out",
                    "Leave +by-time out of --rules.",
                )
            self._times.append((post.author, post.created_at.timestamp()))
        plain = text.casefold()
        digest = split_digest(plain, self.seed)
        index = self._indices.setdefault(digest, len(self._digests))
        self._text_indices.append(index)
        if index < len(self._digests):
            return
        self._digests.append(digest)
        self._parents.append(index)
        for other in self._index.add(plain, keep=True) if self.alike else ():
            self._parents[self._first(other)] = self._first(index)

    def held_out(self) -> set[int]:
        """Return the numbers of the texts to hold out, in the order in which they were added.

        Holds out a tenth of the distinct texts, and of similar ones all or none. When posts come or go, all but a few at the border stay
        on their side, so that a bot and its champion can be compared on posts that neither was trained on: texts are ordered by a digest of
        the text and the seed, and similar ones by the smallest of their digests.
        """
        groups: defaultdict[int, list[int]] = defaultdict(list)
        for index in range(len(self._digests)):
            groups[self._first(index)].append(index)
        ranks = self._newest() if self.by_time else self._digests
        ordered = sorted(groups, key=lambda group: min(ranks[index] for index in groups[group]))
        held_out: set[int] = set()
        target = max(1, round(len(self._digests) * HELD_OUT_SHARE))
        for group in ordered:
            if len(held_out) + len(groups[group]) <= target:
                held_out.update(groups[group])
        if not held_out and len(groups) > 1:  # every group is larger than a tenth
            held_out.update(groups[min(ordered, key=lambda group: len(groups[group]))])
        if len(groups) < 2:
            held_out.clear()
        return {number for number, index in enumerate(self._text_indices) if index in held_out}

    def _first(self, index: int) -> int:
        """Return the root of a text's group."""
        while (parent := self._parents[index]) != index:
            self._parents[index] = index = self._parents[parent]
        return index

    def _newest(self) -> Sequence[tuple[float, bytes]]:
        """Rank each text by the share of its author's texts that are newer, so that every author's newest are held out."""
        totals = Counter(author for author, _ in self._times)
        ranks: list[tuple[float, bytes]] = [(1.0, digest) for digest in self._digests]
        newer: Counter[str] = Counter()
        for number in sorted(range(len(self._times)), key=lambda number: -self._times[number][1]):
            author, index = self._times[number][0], self._text_indices[number]
            ranks[index] = min(ranks[index], (newer[author] / totals[author], self._digests[index]))
            newer[author] += 1
        return ranks


def split_digest(text: str, seed: int) -> bytes:
    """Return the digest by which a seed orders texts: SHA-256, 32 bytes."""
    return hashlib.sha256(f"{seed}\0{text}".encode("utf-8", "surrogatepass")).digest()
