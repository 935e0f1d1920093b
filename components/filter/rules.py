"""The rules that decide which posts a bot learns from, and clean the ones it does.

`huggingtweets` is the original's, exactly (dev/huggingtweets-dev.ipynb in borisdayma/huggingtweets): its counts on a known
export are held to the digit by the tests. `default` starts from it and mends what it misses.
"""

import html
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field

from components.checkpoint import END_OF_TEXT
from components.errors import InputError
from components.posts import Kind, Post

FEWEST_WORDS = 3
BORING = ("http", "@", "#")  # a word that holds one of these does not count as a word of the author's
URL_PATTERNS = tuple(
    re.compile(pattern)
    for start in ("http:", "https:")
    for pattern in (rf" {start}\S+", rf"{start}\S+ ", rf"\n{start}\S+ ", rf"\n{start}\S+", rf"{start}\S+")
)
URL = re.compile(r"https?:\S+", re.IGNORECASE)
# Characters of control and private use, and halves of surrogate pairs; those that are white space part words, and stay.
CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff\ue000-\uf8ff\ufffe\uffff]")
OVERLONG = re.compile(r"&#[0-9]{9,};?")  # no character has such a number, and Python refuses to read one of 4,300 digits


@dataclass(frozen=True, slots=True)
class Kept:
    """A post's text, cleaned."""

    text: str


@dataclass(frozen=True, slots=True)
class Dropped:
    """Why a post was not kept; the reason is a column of the funnel."""

    reason: str


Judge = Callable[[Post], Kept | Dropped]


def is_repost(post: Post) -> bool:
    """Flagged by the source, or marked by hand in the old way (an export's `retweeted` flag is false on every post)."""
    return post.kind is Kind.REPOST or post.text.startswith("RT @")


def remove_urls(text: str) -> str:
    """Remove URLs with the blank before or after each."""
    for pattern in URL_PATTERNS:
        text = pattern.sub("", text)
    return text


def one_line(text: str) -> str:
    """Newlines and runs of white space to one blank."""
    return " ".join(text.split())


def is_short(text: str) -> bool:
    """Fewer than 3 words once links, mentions and hashtags are left out."""
    return sum(all(mark not in word.lower() for mark in BORING) for word in text.split()) < FEWEST_WORDS


def huggingtweets(post: Post) -> Kept | Dropped:
    """The original's rules: no reposts, three entities unescaped, URLs removed, one line, no short posts."""
    if is_repost(post):
        return Dropped("retweet")
    unescaped = post.text.replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">")
    text = one_line(remove_urls(unescaped))
    return Dropped("short") if is_short(text) else Kept(text)


@dataclass(slots=True)
class DefaultRules:
    """The original's rules, and: every HTML entity, control characters out, the end token defused, no post twice."""

    seen: set[str] = field(default_factory=set)

    def __call__(self, post: Post) -> Kept | Dropped:
        """Judge one post; posts seen before (whatever their case) are duplicates."""
        if is_repost(post):
            return Dropped("retweet")
        text = CONTROLS.sub("", html.unescape(OVERLONG.sub("", post.text)))
        # A blank for each URL, and before the end token's turn: what they part must not join into a new one.
        text = URL.sub(" ", unicodedata.normalize("NFC", text)).replace(END_OF_TEXT, " ")
        text = one_line(text)
        if is_short(text):
            return Dropped("short")
        key = text.casefold()
        if key in self.seen:
            return Dropped("duplicate")
        self.seen.add(key)
        return Kept(text)


RULES: dict[str, Callable[[], Judge]] = {"huggingtweets": lambda: huggingtweets, "default": DefaultRules}


def judge_for(rules: str) -> Judge:
    """The judge of the named rules. Raises InputError for a name that is not in `RULES`."""
    if rules not in RULES:
        raise InputError(f"there are no rules {rules!r}", f"Use --rules {' or '.join(RULES)}.")
    return RULES[rules]()
