"""Text of a post in HTML, as its reader sees it, and where its links, mentions and hashtags stand.

Mastodon and its kin give posts in HTML. What they write: https://docs.joinmastodon.org/spec/activitypub/#sanitization
"""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

from components.fetch import shapes
from components.posts import Entity

# A block ends the line before and after it; a paragraph leaves one empty.
BLOCKS = {
    "p": 2,
    "blockquote": 2,
    "pre": 2,
    "ul": 2,
    "ol": 2,
    "h1": 2,
    "h2": 2,
    "h3": 2,
    "h4": 2,
    "h5": 2,
    "h6": 2,
    "div": 1,
    "li": 1,
}
UNSEEN = {"script", "style", "head", "title", "template"}  # tags whose text nobody reads
UNSEEN_CLASSES = {"invisible", "quote-inline"}  # the hidden parts of a long link; "RE: https://…" of a quoting post
EMPTY = {"br", "img", "hr", "wbr", "input", "meta", "link"}  # tags without an end
SPACE = re.compile(r"[ \t\r\n\f]+")
DEEPEST = 200  # tags
LONGEST = 200_000  # characters of HTML; servers let their people write some hundreds, or a hundred thousand at most


def html_text(html: str) -> tuple[str, tuple[Entity, ...]]:
    """The text in `html` and its entities; their positions are code points of the text. Of what is too long, the beginning."""
    reader = _Reader()
    reader.feed(_closed(html[:LONGEST]))
    reader.close()
    text = "".join(reader.pieces)
    return text, shapes.entities(reader.spans, len(text))


def is_readable(html: object) -> bool:
    """Whether `html` is text, and not too long to be a post's."""
    return isinstance(html, str) and len(html) <= LONGEST


def _closed(html: str) -> str:
    """`html` without comments, and without what opens and never closes: HTMLParser looks for its end anew from each "<"."""
    first, *others = html.split("<!--")
    parts = (other.partition("-->") for other in others)
    head, end, tail = "".join([first, *(rest if end else f"&lt;!--{open_}" for open_, end, rest in parts)]).rpartition(">")
    # "<![" begins a marked section, which HTML has none of, and the standard library's parser raises AssertionError at most of them.
    return (head + end).replace("<![", "&lt;![") + tail.replace("<", "&lt;")


@dataclass(slots=True)
class _Open:
    """A tag that is not closed yet."""

    tag: str
    unseen: bool
    kind: str = ""  # of the entity that it is
    start: int = -1  # where that begins, once there is text
    tail: str = ""  # what follows its text: "…" where Mastodon shortens a link
    pre: bool = field(default=False)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self.spans: list[tuple[int, int, str]] = []
        self._length = 0
        self._open: list[_Open] = []
        self._lines = 0  # that must end before the next text
        self._space = False  # before the next text

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "br":
            self._break(1, add=True)
        self._break(BLOCKS.get(tag, 0))
        if tag in EMPTY or len(self._open) >= DEEPEST:
            return
        classes = set((dict(attrs).get("class") or "").split())
        outer = self._open[-1] if self._open else _Open("", unseen=False)
        unseen = outer.unseen or tag in UNSEEN or bool(classes & UNSEEN_CLASSES)
        opened = _Open(tag, unseen, tail="…" if "ellipsis" in classes else "", pre=outer.pre or tag == "pre")
        if tag == "a" and dict(attrs).get("href"):
            opened.kind = "hashtag" if "hashtag" in classes else "mention" if "mention" in classes else "url"
        self._open.append(opened)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in EMPTY:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if any(opened.tag == tag for opened in self._open):
            while self._close().tag != tag:
                pass
        self._break(BLOCKS.get(tag, 0))

    def handle_data(self, data: str) -> None:
        inner = self._open[-1] if self._open else _Open("", unseen=False)
        if inner.unseen:
            return
        for number, line in enumerate(data.split("\n") if inner.pre else [data]):
            if number:
                self._break(1, add=True)
            words = line if inner.pre else SPACE.sub(" ", line)
            if words.strip(" ") or (words and inner.pre):
                self._space |= words.startswith(" ") and not inner.pre
                self._write(words if inner.pre else words.strip(" "))
                self._space = words.endswith(" ") and not inner.pre
            elif words:
                self._space = True

    def close(self) -> None:
        super().close()
        while self._open:
            self._close()

    def _write(self, words: str) -> None:
        if self._lines and self._length:
            self._put("\n" * self._lines)
        elif self._space and self._length:
            self._put(" ")
        self._lines, self._space = 0, False
        for opened in self._open:
            if opened.kind and opened.start < 0:
                opened.start = self._length
        self._put(words)

    def _put(self, words: str) -> None:
        self.pieces.append(words)
        self._length += len(words)

    def _break(self, lines: int, *, add: bool = False) -> None:
        """So many lines end here, besides those that do already (`add`), or with them."""
        self._lines = self._lines + lines if add else max(self._lines, lines)

    def _close(self) -> _Open:
        closed = self._open.pop()
        if closed.tail and not closed.unseen and self._length:
            self._put(closed.tail)
        if closed.start >= 0:
            self.spans.append((closed.start, self._length, closed.kind))
        return closed
