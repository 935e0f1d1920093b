"""What the default rules do to a text. Each function takes what has no place in it and leaves nothing that it would take once more:
a blank stands where something was, so that what it parted does not join into something new.
"""

import functools
import html
import re
import unicodedata
from collections.abc import Callable, Collection

from components import personal
from components.checkpoint import END_OF_TEXT
from components.posts import Entity, Post

# Links: with a scheme, and the ones that people and old exports write without.
URL = re.compile(r"https?:\S+|\b(?:www\.|(?:pic\.twitter\.com|t\.co)/)\S+", re.IGNORECASE)
# Characters of control and private use, and halves of surrogate pairs; those that are white space part words, and stay.
CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff\ue000-\uf8ff\ufffe\uffff]")
# Entities as platforms write them, with a semicolon: what lacks it is a person's "AT&T" or "this&that".
ENTITY = re.compile(r"&(?:#[0-9]{1,8}|#[xX][0-9a-fA-F]{1,8}|[A-Za-z][A-Za-z0-9]{1,31});")
AMPERSANDS = re.compile(r"&(?:(?:amp|AMP|#0{0,9}38|#[xX]0{0,9}26);)+")  # escaped once or more: exports are known to do it twice
OVERLONG = re.compile(r"&#[0-9]{9,};?")  # no character has such a number, and Python refuses to read one of 4,300 digits
# @name, of Mastodon with its server (@ann@mas.to), of Bluesky with dots; and a comma or colon after it.
LEADING = re.compile(r"^(?:\s*@\w+(?:@\w[\w.-]*\w|(?:\.[\w-]+)+)?(?:[,:.!]*\s+|[,:]+|\s*$))+")
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
            text, end = f"{text[: entity.start]} {text[entity.end :]}", entity.start
            found.add("urls")
    return text[start:], found


def after_mentions(entities: Collection[Entity], text: str) -> int:
    """Where in `text` the names end that it begins with."""
    at = 0
    for entity in entities:
        if entity.kind != "mention" or text[at : entity.start].strip():
            break
        at = entity.end
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
    return ENTITY.sub(lambda match: html.unescape(match.group()), plain)


def without_urls(text: str) -> str:
    """A blank for each link."""
    return URL.sub(" ", text)


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
    for found in reversed(personal.find(text)):
        text = text[: found.start] + PLACEHOLDERS[found.kind] + text[found.end :]
    return text


STEPS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("entities", unescape),
    ("mojibake", mend),
    ("controls", without_controls),
    ("urls", without_urls),
    ("end-token", without_end_token),
    ("personal", masked),
    ("mentions", without_mentions),
)
