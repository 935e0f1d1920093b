"""Convert a post's HTML to the text that a reader sees, with the positions of its links, mentions and hashtags.

Mastodon and compatible servers return posts in HTML: https://docs.joinmastodon.org/spec/activitypub/#sanitization
"""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

from components.fetch import untrusted_json
from mynah.data.posts import Entity

# Line breaks before and after an element that browsers do not put on the line of the text before it: 2 leaves an empty line
# (https://html.spec.whatwg.org/multipage/rendering.html#flow-content-3). Of a table each row is a line.
PARAGRAPHS = (
    "p", "blockquote", "pre", "ul", "ol", "dl", "dir", "menu", "figure", "table", "fieldset", "details", "h1", "h2", "h3",
    "h4", "h5", "h6", "hr",
)  # fmt: skip
LINES = (
    "address", "article", "aside", "body", "caption", "center", "dd", "dialog", "div", "dt", "figcaption", "footer", "form", "header",
    "hgroup", "html", "legend", "li", "listing", "main", "nav", "optgroup", "option", "plaintext", "search", "section", "summary",
    "tbody", "tfoot", "thead", "tr", "xmp",
)  # fmt: skip
BLOCKS = dict.fromkeys(PARAGRAPHS, 2) | dict.fromkeys(LINES, 1)
# Elements that stand apart from the words beside them, on the same line.
APART = {
    "td", "th", "img", "button", "input", "select", "textarea", "audio", "video", "picture", "object", "iframe", "svg", "canvas",
}  # fmt: skip
EMOJI_CLASSES = {
    "emoji",
    "emojione",
    "custom-emoji",
}  # of images that stand for a character; others' descriptions are not displayed
# Elements whose text is not displayed.
HIDDEN_TAGS = {"script", "style", "head", "title", "template", "datalist", "noembed", "noframes", "noscript"}
HIDDEN_CLASSES = {"invisible", "quote-inline"}  # the hidden parts of a long link; "RE: https://…" of a quoting post
EMPTY = {
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr",
}  # fmt: skip  # void elements, without an end tag
SPACE = re.compile(r"[ \t\r\n\f]+")
MAX_DEPTH = 200  # tags
MAX_CHARACTERS = 200_000  # of HTML; servers limit a post to some hundreds, at most a hundred thousand


def html_text(html: str) -> tuple[str, tuple[Entity, ...]]:
    """Return the text in `html` and its entities, with positions in code points of the text. Truncates HTML that is too long."""
    reader = _TextReader()
    reader.feed(_closed(html[:MAX_CHARACTERS]))
    reader.close()
    text = "".join(reader.pieces)
    return text, untrusted_json.entities(reader.spans, len(text))


def is_readable(html: object) -> bool:
    """Return whether `html` is text, and short enough for a post."""
    return isinstance(html, str) and len(html) <= MAX_CHARACTERS


def _closed(html: str) -> str:
    """Return `html` without comments and unclosed constructs: HTMLParser searches for their end again from each "<", in quadratic time."""
    first, *others = html.split("<!--")
    parts = (other.partition("-->") for other in others)
    head, end, tail = "".join([first, *(rest if end else f"&lt;!--{open_}" for open_, end, rest in parts)]).rpartition(">")
    # HTML has no marked sections ("<!["), and the standard library's parser raises AssertionError for most of them.
    return (head + end).replace("<![", "&lt;![") + tail.replace("<", "&lt;")


@dataclass(slots=True)
class _OpenTag:
    """An open tag."""

    tag: str
    hidden: bool
    kind: str = ""  # of its entity
    start: int = -1  # of the entity, once there is text
    tail: str = ""  # appended to its text: "…" where Mastodon shortens a link
    pre: bool = field(default=False)


class _TextReader(HTMLParser):
    """Collects the text of an HTML fragment in `pieces`, and the positions of its links, mentions and hashtags in `spans`."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self.spans: list[tuple[int, int, str]] = []
        self._length = 0
        self._open_tags: list[_OpenTag] = []
        self._lines = 0  # line breaks before the next text
        self._space = False  # a blank before the next text

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "br":
            self._break(1, add=True)
        self._break(BLOCKS.get(tag, 0))
        self._space |= tag in APART
        if tag == "img":
            self._write_emoji(dict(attrs))
        if tag in EMPTY or len(self._open_tags) >= MAX_DEPTH:
            return
        classes = set((dict(attrs).get("class") or "").split())
        outer = self._open_tags[-1] if self._open_tags else _OpenTag("", hidden=False)
        hidden = outer.hidden or tag in HIDDEN_TAGS or bool(classes & HIDDEN_CLASSES)
        opened = _OpenTag(tag, hidden, tail="…" if "ellipsis" in classes else "", pre=outer.pre or tag == "pre")
        if tag == "a" and dict(attrs).get("href"):
            opened.kind = "hashtag" if "hashtag" in classes else "mention" if "mention" in classes else "url"
        self._open_tags.append(opened)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in EMPTY:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if any(opened.tag == tag for opened in self._open_tags):
            while self._close().tag != tag:
                pass
        self._break(BLOCKS.get(tag, 0))
        self._space |= tag in APART

    def handle_data(self, data: str) -> None:
        inner = self._open_tags[-1] if self._open_tags else _OpenTag("", hidden=False)
        if inner.hidden:
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
        while self._open_tags:
            self._close()

    def _write_emoji(self, attrs: dict[str, str | None]) -> None:
        """Write what an image stands for, if it stands for a character."""
        words = " ".join((attrs.get("alt") or "").split())
        is_hidden = bool(self._open_tags) and self._open_tags[-1].hidden
        if words and not is_hidden and EMOJI_CLASSES & set((attrs.get("class") or "").split()):
            self._write(words)
            self._space = True

    def _write(self, words: str) -> None:
        if self._lines and self._length:
            self._put("\n" * self._lines)
        elif self._space and self._length:
            self._put(" ")
        self._lines, self._space = 0, False
        for opened in self._open_tags:
            if opened.kind and opened.start < 0:
                opened.start = self._length
        self._put(words)

    def _put(self, words: str) -> None:
        self.pieces.append(words)
        self._length += len(words)

    def _break(self, lines: int, *, add: bool = False) -> None:
        """Request line breaks before the next text: in addition to those already requested (`add`), or at least so many."""
        self._lines = self._lines + lines if add else max(self._lines, lines)

    def _close(self) -> _OpenTag:
        closed = self._open_tags.pop()
        if closed.tail and not closed.hidden and self._length:
            self._put(closed.tail)
        if closed.start >= 0:
            self.spans.append((closed.start, self._length, closed.kind))
        return closed
