"""What the default rules do to a text. Each function takes what has no place in it and leaves nothing that it would take once more:
a blank stands where something was, so that what it parted does not join into something new.
"""

import functools
import html
import html.entities
import re
import unicodedata
from collections.abc import Callable, Collection

from components import personal
from components.checkpoint import END_OF_TEXT
from components.posts import Entity, Post

# Links: with a scheme, and the ones that people and old exports write without; pages that were copied glue pic.twitter.com to the
# word before. A link ends where X ends it: at a quotation mark, a bracket that it did not open, an emoji, or a script without blanks.
IN_LINK = r"(?:[^\s()<>\"«»\u0e00-\U0010ffff]++|\([^\s()<>\"«»\u0e00-\U0010ffff]*+\))"
LINK = rf"(?:(?i:https?:(?=\S)){IN_LINK}*+|(?i:\bwww\.|pic\.twitter\.com/|\bt\.co/){IN_LINK}++)"
URL = re.compile(rf"(?<!\s)\s*+(?:\(\s*+{LINK}\s*+\)|{LINK})")
BEHIND_LINK = re.compile(r"[.,;!?'\]}]+$")  # belongs to the sentence
STOPS = (".", ",", "!", "?", ")")
# Characters of control and private use, and halves of surrogate pairs; those that are white space part words, and stay.
CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff\ue000-\uf8ff\ufffe\uffff]")
# Entities as platforms write them, with a semicolon: what lacks it is a person's "AT&T" or "this&that".
ENTITY = re.compile(r"&(?:#[0-9]{1,8}|#[xX][0-9a-fA-F]{1,8}|[A-Za-z][A-Za-z0-9]{1,31});")
AMPERSANDS = re.compile(r"&(?:(?:amp|AMP|#0{0,9}38|#[xX]0{0,9}26);)+")  # escaped once or more: exports are known to do it twice
OVERLONG = re.compile(r"&#[0-9]{9,};?")  # no character has such a number, and Python refuses to read one of 4,300 digits
# @name, of Mastodon with its server (@ann@mas.to), of Bluesky with dots; and a comma or colon after it. "@bob's" is no address, and
# "@annおはよう" is a name and a word: they stay. X puts names between marks of direction in posts that go from right to left.
TURNS = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
NAME = r"[^\W\u0e00-\U0010ffff]"
BEHIND_NAME = rf"[{TURNS}]*(?:[,:.!]*\s+|[,:]+|\s*$)"
LEADING = re.compile(rf"^(?:[\s{TURNS}]*@{NAME}+(?:@{NAME}(?:{NAME}|[.-])*{NAME}|(?:\.(?:{NAME}|-)+)+)?{BEHIND_NAME})+")
AFTER_NAME = re.compile(BEHIND_NAME)
BEFORE_NAME = re.compile(rf"[\s{TURNS}]*@")
PLAIN = re.compile(r"[^&@:<\x80-\U0010ffff]*")  # a second round finds nothing in it, unless there were numbers side by side
MOST_ROUNDS = 8  # of cleaning what cleaning laid bare; a post that needs more was made to
# No longer than the shortest of their kind, and no words of the author's.
PLACEHOLDERS = {
    "email": "[mail]", "phone": "[phone]", "iban": "[account]", "card": "[card]", "ip": "[ip]", "ssn": "[number]",
}  # fmt: skip


def cut(post: Post, on: Collection[str]) -> tuple[str, set[str]]:
    """The text without what the platform itself marks as a link or picture (rule urls) or as a name it begins with (mentions).

    With the rules that had something to cut.
    """
    start = after_mentions(post.entities, post.text) if "mentions" in on else 0
    text, end, found = post.text, len(post.text), {"mentions"} if start else set[str]()
    for entity in reversed(post.entities):
        if "urls" in on and entity.kind in ("url", "media") and start <= entity.start < entity.end <= end:
            left, right = text[start : entity.start].rstrip(), text[entity.end :]
            if left.endswith("(") and right.lstrip().startswith(")"):
                left, right = left[:-1].rstrip(), right.lstrip()[1:]
            text, end = f"{text[:start]}{left}{'' if right.startswith(STOPS) else ' '}{right}", start + len(left)
            found.add("urls")
    return text[start:], found


def after_mentions(entities: Collection[Entity], text: str) -> int:
    """Where in `text` the names end that it begins with, and what parts them from what follows. Marks that fit no name are passed."""
    at = 0
    for entity in entities:
        before = BEFORE_NAME.match(text, at)
        behind = (
            AFTER_NAME.match(text, entity.end) if entity.kind == "mention" and entity.start < entity.end <= len(text) else None
        )
        if not before or not behind or before.end() != entity.start + 1:
            break
        at = behind.end()
    return at


def clean(text: str, on: Collection[str]) -> tuple[str, set[str]]:
    """`text` on one line after the rules in `on`, and which of them changed it. Never longer than it was; never raises.

    Cleaned until nothing changes any more, so that a clean text stays as it is.
    """
    steps = [(name, step) for name, step in STEPS if name in on]
    mended: set[str] = set()
    for _ in range(MOST_ROUNDS):
        before = text
        for name, step in steps:
            if (new := step(text)) != text:
                text = new
                mended.add(name)
        text = one_line(text)
        if text == before or (PLAIN.fullmatch(text) and "personal" not in mended):
            return text, mended
    text = re.sub(r"[&@:<]|[^\x20-\x7e]", " ", text)  # what was nested so deep says nothing
    return one_line(text), mended


def one_line(text: str) -> str:
    """Newlines and runs of white space to one blank."""
    return " ".join(text.split())


def mend(text: str) -> str:
    """UTF-8 that was read as another encoding, mended by ftfy: "cafÃ©" to "café". Quotes, widths and ligatures stay the author's."""
    if text.isascii():
        return text
    import ftfy

    mended = ftfy.fix_encoding(text, _mojibake_only())
    return mended if len(mended) <= len(text) else text


@functools.cache
def _mojibake_only() -> "ftfy.TextFixerConfig":  # type: ignore[name-defined]  # noqa: F821
    import ftfy

    return ftfy.TextFixerConfig(
        unescape_html=False, remove_terminal_escapes=False, fix_latin_ligatures=False, fix_character_width=False,
        uncurl_quotes=False, fix_line_breaks=False, remove_control_chars=False, normalization=None, explain=False,
    )  # fmt: skip


def unescape(text: str) -> str:
    """Every HTML entity as its character, also where it was escaped more than once."""
    if "&" not in text:
        return text
    plain = AMPERSANDS.sub("&", OVERLONG.sub(" ", text))
    return ENTITY.sub(_character, plain)


def _character(entity: re.Match[str]) -> str:
    """html.unescape reads the start of a name, too: `&notes;` to `¬es;`."""
    whole = entity.group()
    return html.unescape(whole) if whole[1] == "#" or whole[1:] in html.entities.html5 else whole


def without_urls(text: str) -> str:
    """A blank for each link and the parentheses that hold nothing else; a full stop or comma behind it stays."""
    return URL.sub(_behind, text)


def _behind(link: re.Match[str]) -> str:
    if behind := BEHIND_LINK.search(link.group()):
        return behind.group()
    return "" if link.string.startswith(STOPS, link.end()) else " "


def without_mentions(text: str) -> str:
    """Without the @names that it begins with: whom a post answers is no part of what it says."""
    return LEADING.sub("", text) if "@" in text else text


def without_controls(text: str) -> str:
    """Without control characters, and each letter with its accent as one character (NFC) where that is no longer."""
    if text.isascii() and text.isprintable():
        return text
    text = CONTROLS.sub("", text)
    composed = unicodedata.normalize("NFC", text)
    return composed if len(composed) <= len(text) else text


def without_end_token(text: str) -> str:
    """A blank for each end token: GPT-2's tokenizer would take it for the end of the post."""
    return text.replace(END_OF_TEXT, " ")


def masked(text: str) -> str:
    """With placeholders for personal data, which a bot could tell to anybody."""
    parts, at = list[str](), 0
    for found in personal.find(text):
        parts += text[at : found.start], PLACEHOLDERS[found.kind]
        at = found.end
    return "".join((*parts, text[at:]))


STEPS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("entities", unescape),
    ("mojibake", mend),
    ("controls", without_controls),
    ("urls", without_urls),
    ("end-token", without_end_token),
    ("personal", masked),
    ("mentions", without_mentions),
)
