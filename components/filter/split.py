"""Which of the texts that are kept are held out: a tenth, at random or the newest, with nothing that is nearly the same trained on."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from components.errors import InputError
from components.filter.near import Alike
from components.posts import Post

HELD_OUT_SHARE = 0.1


@dataclass(slots=True)
class Sides:
    """Gathers the kept texts one by one; keeps of each no more than a digest, and the text itself where like ones are looked for.

    `alike`: whether texts may come that are like earlier ones; False where a rule has dropped these.
    """

    seed: int
    alike: bool = True
    by_time: bool = False
    _lots: list[bytes] = field(default_factory=list)  # of each text that no earlier one equals
    _above: list[int] = field(default_factory=list)  # of each such text one that it is like, or itself
    _places: dict[bytes, int] = field(default_factory=dict)
    _texts: list[int] = field(default_factory=list)  # of each text added, which of these it is
    _known: Alike = field(default_factory=Alike)
    _times: list[tuple[str, float]] = field(default_factory=list)  # of each text added: author, seconds

    def add(self, text: str, post: Post) -> None:
        """Add the next text, of `post`. Raises InputError when it has no time and the split is by time."""
        if self.by_time:
            if post.created_at is None:
                raise InputError(
                    f"the post {post.id} of {post.author} has no time, and by-time holds the newest out",
                    "Leave +by-time out of --rules.",
                )
            self._times.append((post.author, post.created_at.timestamp()))
        plain = text.casefold()
        lot = lot_of(plain, self.seed)
        place = self._places.setdefault(lot, len(self._lots))
        self._texts.append(place)
        if place < len(self._lots):
            return
        self._lots.append(lot)
        self._above.append(place)
        for other in self._known.place(plain, keep=True) if self.alike else ():
            self._above[self._first(other)] = self._first(place)

    def held_out(self) -> set[int]:
        """The numbers of the texts to hold out, in the order in which they were added.

        A tenth of the different texts, and of like ones all or none. When posts come or go, all others but a few at the border stay
        on their side, so that a bot that is made anew can be compared with its champion on posts that neither was trained on: texts
        are ordered by a digest of each and the seed, not drawn, and like ones go by their least: one that is held out alone is held
        out with those that are like it, too.
        """
        groups: defaultdict[int, list[int]] = defaultdict(list)
        for place in range(len(self._lots)):
            groups[self._first(place)].append(place)
        ranks = self._newest() if self.by_time else self._lots
        ordered = sorted(groups, key=lambda group: min(ranks[place] for place in groups[group]))
        chosen: set[int] = set()
        wanted = max(1, round(len(self._lots) * HELD_OUT_SHARE))
        for group in ordered:
            if len(chosen) + len(groups[group]) <= wanted:
                chosen.update(groups[group])
        if not chosen and len(groups) > 1:  # every group is larger than a tenth
            chosen.update(groups[min(ordered, key=lambda group: len(groups[group]))])
        if len(groups) < 2:
            chosen.clear()
        return {number for number, place in enumerate(self._texts) if place in chosen}

    def _first(self, place: int) -> int:
        while (above := self._above[place]) != place:
            self._above[place] = place = self._above[above]
        return place

    def _newest(self) -> Sequence[tuple[float, bytes]]:
        """Of each text how many of its author's are newer, as a share: so the newest of each author are held out, not all of one's."""
        totals = Counter(author for author, _ in self._times)
        ranks: list[tuple[float, bytes]] = [(1.0, lot) for lot in self._lots]
        newer: Counter[str] = Counter()
        for number in sorted(range(len(self._times)), key=lambda number: -self._times[number][1]):
            author, place = self._times[number][0], self._texts[number]
            ranks[place] = min(ranks[place], (newer[author] / totals[author], self._lots[place]))
            newer[author] += 1
        return ranks


def lot_of(text: str, seed: int) -> bytes:
    """The digest that orders texts, 32 bytes."""
    return hashlib.sha256(f"{seed}\0{text}".encode("utf-8", "surrogatepass")).digest()
