"""Clean a text by the default rules.

Each function is idempotent, and leaves a blank where it removed something, so that the texts on both sides do not join into something
that another function would match. Only functions import ftfy, which is of the extra `filter` and takes 0.1 s to import.
"""

import functools
import re
import unicodedata
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from components.filter.escapes import unescape
from mynah.data import personal_data
from mynah.data.posts import Entity, Post
from mynah.models.checkpoint_files import END_OF_TEXT

if TYPE_CHECKING:
    from ftfy import TextFixerConfig

# Links with a scheme, and those that people and old exports write without one; copied pages join pic.twitter.com to the
# word before. A link ends as on X: at a quotation mark, a closing bracket without its opening, an emoji, or a script without spaces.
IN_LINK = r"(?:[^\s()<>\"«»\u0e00-\U0010ffff]++|\([^\s()<>\"«»\u0e00-\U0010ffff]*+\))"
# What is left of a link where a text was cut to 140 characters: "https…", "htt…", "http..." and "https:" at its end.
CUT_LINK = (
    r"(?<!\w)(?:(?i:https?:?/{0,2}|htt?)…|(?i:https?|htt)\.{2,3}(?=\s*+$)|(?i:https?:|htt)(?=\s*+$)|h…(?=\s*+$))"
    r"|(?i:\bpic\.tw[a-z.]{0,11}+…)"
)
LINK = rf"(?:(?i:https?:(?=\S)){IN_LINK}*+…?+|(?i:\bwww\.|pic\.twitter\.com/|\bt\.co/){IN_LINK}++…?+|{CUT_LINK})"
LINK_PARTS = ("htt", "www.", "t.co/", "pic.tw", "ht…", "h…")
LINK_PART = re.compile("|".join(map(re.escape, LINK_PARTS)), re.IGNORECASE)
URL = re.compile(rf"(?<!\s)\s*+(?:\(\s*+{LINK}\s*+\)|{LINK})")
BEHIND_LINK = ".,;!?']}"  # part of the sentence
CUT_DOTS = re.compile(r"htt(?:ps?)?\.{2,3}$", re.IGNORECASE)
STOPS = (".", ",", "!", "?", ")")
# Control and private-use characters, byte order marks, and halves of surrogate pairs; those that are white space separate words, and stay.
CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff\ue000-\uf8ff\ufeff\ufffe\uffff]")
# @name, at Mastodon with its server (@ann@mas.to), at Bluesky with dots, and a comma or colon after it. "@bob's" is not a mention, and
# "@annおはよう" is a name and a word: they stay. X puts direction marks around names in right-to-left posts.
DIRECTION_MARKS = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
AT_SIGNS = "@\uff20"  # Japanese keyboards write the second
AT = f"[{AT_SIGNS}]"
NAME = r"[^\W\u0e00-\U0010ffff]"
BEHIND_NAME = rf"[{DIRECTION_MARKS}]*(?:[,:.!]*\s+|[,:]+|\s*$)"
LEADING = re.compile(
    rf"^(?:[\s{DIRECTION_MARKS}]*{AT}{NAME}+(?:{AT}{NAME}(?:{NAME}|[.-])*{NAME}|(?:\.(?:{NAME}|-)+)+)?{BEHIND_NAME})+"
)
AFTER_NAME = re.compile(BEHIND_NAME)
BEFORE_NAME = re.compile(rf"[\s{DIRECTION_MARKS}]*{AT}")
PLAIN = re.compile(
    r"[^&@:<\\\x80-\U0010ffff]*"
)  # a second round cannot change it, unless it has an escape or personal data was masked
# Texts of ASCII, curly quotation marks, dashes, emoji and East Asian letters: no encoding has two of these for one letter of UTF-8.
UNMISTAKEN = re.compile(r"[\x00-\x7f\u200d\u2013\u2014\u2018\u2019\u201c\u201d\u2026\ufe0f\u3000-\ufaff\U0001f000-\U0010ffff]*")
MAX_ROUNDS = 8  # of cleaning what the previous round exposed; only an adversarial post needs more
# Not longer than the shortest value of their kind, and not words of the author.
PLACEHOLDERS = {
    "email": "[mail]", "phone": "[phone]", "iban": "[account]", "card": "[card]", "ip": "[ip]", "ssn": "[number]",
}  # fmt: skip


def remove_marked(post: Post, on: Collection[str]) -> tuple[str, set[str]]:
    """Remove the spans that the platform marks as links or pictures (rule urls) and as leading mentions (rule mentions).

    Args:
        post: The post.
        on: The rules in force.

    Returns:
        The text, and the rules that removed something.
    """
    start = after_mentions(post.entities, post.text) if "mentions" in on else 0
    text, end, applied = post.text, len(post.text), {"mentions"} if start else set[str]()
    for entity in reversed(post.entities):
        if "urls" in on and entity.kind in ("url", "media") and start <= entity.start < entity.end <= end:
            left, right = text[start : entity.start].rstrip(), text[entity.end :]
            if left.endswith("(") and right.lstrip().startswith(")"):
                left, right = left[:-1].rstrip(), right.lstrip()[1:]
            text, end = f"{text[:start]}{left}{'' if right.startswith(STOPS) else ' '}{right}", start + len(left)
            applied.add("urls")
    return text[start:], applied


def after_mentions(entities: Collection[Entity], text: str) -> int:
    """Return the position in `text` behind the leading mentions and their separators. Entities that do not fit the text are ignored."""
    position = 0
    for entity in entities:
        before = BEFORE_NAME.match(text, position)
        behind = (
            AFTER_NAME.match(text, entity.end) if entity.kind == "mention" and entity.start < entity.end <= len(text) else None
        )
        if not before or not behind or before.end() != entity.start + 1:
            break
        position = behind.end()
    return position


def clean(text: str, on: Collection[str]) -> tuple[str, set[str]]:
    """Apply the rules in `on` until nothing changes any more, so that a clean text stays as it is. Never raises.

    Args:
        text: The text.
        on: The rules in force.

    Returns:
        The text on one line, never longer than before, and the rules that changed it.
    """
    steps = _steps(frozenset(on))
    changed_by: set[str] = set()
    for _ in range(MAX_ROUNDS):
        previous = text
        for name, step in steps:
            if (new := step(text)) != text:
                text = new
                changed_by.add(name)
        text = one_line(text)
        if text == previous or ("personal" not in changed_by and PLAIN.fullmatch(text) and "_x" not in text):
            return text, changed_by
    text = one_line(re.sub(r"[&@:<\\_0-9]|[^\x20-\x7e]", " ", text))  # nothing nested so deeply is meaningful
    return one_line(remove_links(text)) if "urls" in on else text, changed_by


def mend(text: str) -> str:
    """Undo escapes, wrong decoding and control characters: the text as a reader saw it, with its links."""
    return remove_control_characters(fix_encoding(unescape(text)))


def one_line(text: str) -> str:
    """Replace newlines and runs of white space by one blank."""
    return " ".join(text.split())


def fix_encoding(text: str) -> str:
    """Repair UTF-8 that was decoded as another encoding with ftfy: "cafÃ©" to "café". Quotes, widths and ligatures are unchanged."""
    if text.isascii() or UNMISTAKEN.fullmatch(text):
        return text
    import ftfy

    fixed = ftfy.fix_encoding(text, _mojibake_only())
    return fixed if len(fixed) <= len(text) else text


@functools.cache
def _mojibake_only() -> "TextFixerConfig":
    import ftfy

    return ftfy.TextFixerConfig(
        unescape_html=False, remove_terminal_escapes=False, fix_latin_ligatures=False, fix_character_width=False,
        uncurl_quotes=False, fix_line_breaks=False, remove_control_chars=False, normalization=None, explain=False,
    )  # fmt: skip


def remove_links(text: str) -> str:
    """Replace each link, with parentheses that hold nothing else, by a blank; a full stop or comma behind it stays."""
    for _ in range(MAX_ROUNDS):  # what stood around a link may be one
        if not _may_have_link(text) or (new := URL.sub(_behind, text)) == text:
            return text
        text = new
    return LINK_PART.sub(" ", text)


def _may_have_link(text: str) -> bool:
    """Return whether one of LINK_PARTS is in the text. Most texts have none, and the pattern of a link is tried at each character."""
    lower = text.lower()
    if "htt" in lower or "www." in lower or "t.co/" in lower or "pic.tw" in lower:
        return True
    return "…" in text and ("ht…" in lower or "h…" in lower)


def _behind(link: re.Match[str]) -> str:
    bare = link.group().rstrip(BEHIND_LINK)
    if (behind := link.group()[len(bare) :]) and not CUT_DOTS.search(link.group()):
        return behind
    return "" if link.string.startswith(STOPS, link.end()) else " "


def remove_leading_mentions(text: str) -> str:
    """Remove the leading @names: whom a post replies to is not part of its text."""
    return LEADING.sub("", text) if "@" in text or AT_SIGNS[1] in text else text


def remove_control_characters(text: str) -> str:
    """Remove control characters, and compose letters with their accents (NFC) where that is not longer."""
    if text.isascii() and text.isprintable():
        return text
    text = CONTROLS.sub("", text)
    composed = unicodedata.normalize("NFC", text)
    return composed if len(composed) <= len(text) else text


def remove_end_tokens(text: str) -> str:
    """Replace each end token by a blank: GPT-2's tokenizer would end the post there."""
    return text.replace(END_OF_TEXT, " ")


def mask_personal_data(text: str) -> str:
    """Replace personal data by placeholders: a bot could repeat it to anybody."""
    parts, position = list[str](), 0
    for item in personal_data.find(text):
        parts += text[position : item.start], PLACEHOLDERS[item.kind]
        position = item.end
    return "".join((*parts, text[position:]))


STEPS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("entities", unescape),
    ("mojibake", fix_encoding),
    ("controls", remove_control_characters),
    ("urls", remove_links),
    ("end-token", remove_end_tokens),
    ("personal", mask_personal_data),
    ("mentions", remove_leading_mentions),
)


@functools.cache
def _steps(on: frozenset[str]) -> tuple[tuple[str, Callable[[str], str]], ...]:
    return tuple((name, step) for name, step in STEPS if name in on)
