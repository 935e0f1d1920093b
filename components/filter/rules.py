"""The rules that decide which posts a bot learns from, and clean the ones it does.

`huggingtweets` is the original's, exactly (dev/huggingtweets-dev.ipynb in borisdayma/huggingtweets): its counts on a known
export are held to the digit by the tests. `default` starts from it and mends what it misses, rule by rule (choice.py names them).
"""

import itertools
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field

from components.filter.automated import is_automated
from components.filter.choice import ON, Rules, parse_rules
from components.filter.clean import PLACEHOLDERS, clean, cut, one_line
from components.filter.language import language_of
from components.filter.near import UNSPACED, Alike
from components.posts import Kind, Post

FEWEST_WORDS = 3
LETTERS_A_WORD = 2  # where no blanks part words; of Chinese most words have two
UNSPACED_LETTER = re.compile(f"[{UNSPACED}]")
URL_PATTERNS = tuple(
    re.compile(pattern)
    for start in ("http:", "https:")
    for pattern in (rf" {start}\S+", rf"{start}\S+ ", rf"\n{start}\S+ ", rf"\n{start}\S+", rf"{start}\S+")
)
# "@ann: what she said", and what stands behind RT, MT or a bird's arrows, at the start or after words of one's own; "Butte, MT" is a place.
MANUAL_QUOTE = re.compile(r"^\W{0,3}[\"“”„«]\s?@\w[\w.@]*[:\s]|(?:(?<![^\W_])(?:RT|Rt|rt|(?<!, )MT)\s?:?\s?|[♻🔁]\ufe0f?\s?)@\w")
MASK = re.compile("|".join(map(re.escape, PLACEHOLDERS.values())))


@dataclass(frozen=True, slots=True)
class Kept:
    """A post's text, cleaned."""

    text: str
    mended: Collection[str] = field(default=(), compare=False)  # the rules that changed it


@dataclass(frozen=True, slots=True)
class Dropped:
    """Why a post was not kept; the reason is a column of the funnel."""

    reason: str
    like: str = ""  # the id of the post that it says nearly the same as


Judge = Callable[[Post], Kept | Dropped]


def is_repost(post: Post) -> bool:
    """Flagged by the source, or marked by hand in the old way (an export's `retweeted` flag is false on every post)."""
    return post.kind is Kind.REPOST or post.text.startswith("RT @")


def remove_urls(text: str) -> str:
    """Remove URLs with the blank before or after each."""
    for pattern in URL_PATTERNS:
        text = pattern.sub("", text)
    return text


def is_short(text: str) -> bool:
    """Fewer than 3 words once links, mentions and hashtags are left out."""
    return sum(1 for _ in itertools.islice(_words(text), FEWEST_WORDS)) < FEWEST_WORDS


def says_little(text: str) -> bool:
    """The same without placeholders; in scripts that put no blanks between words every two letters are one."""
    words = 0
    for word in _words(text):
        if "[" in word and (bare := MASK.sub("", word)) != word and not any(map(str.isalnum, bare)):
            continue
        words += 1 if word.isascii() else max(1, len(UNSPACED_LETTER.findall(word)) // LETTERS_A_WORD)
        if words >= FEWEST_WORDS:
            return False
    return True


def _words(text: str) -> Iterator[str]:
    return (word for word in text.split() if not ("@" in word or "#" in word or "http" in word.lower()))


def huggingtweets(post: Post) -> Kept | Dropped:
    """The original's rules: no reposts, three entities unescaped, URLs removed, one line, no short posts."""
    if is_repost(post):
        return Dropped("retweet")
    unescaped = post.text.replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">")
    text = one_line(remove_urls(unescaped))
    return Dropped("short") if is_short(text) else Kept(text)


@dataclass(slots=True)
class DefaultRules:
    """The rules in `on` (all of choice.ON by default), in their order. `languages`: the main one of each author, for the rule language."""

    on: Collection[str] = frozenset(ON)
    languages: Mapping[str, str] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    alike: Alike = field(default_factory=Alike)
    ids: list[str] = field(default_factory=list)  # of the posts whose texts were placed in `alike`

    def __call__(self, post: Post) -> Kept | Dropped:
        """Judge one post; posts seen before (whatever their case) are duplicates."""
        if "retweets" in self.on and is_repost(post):
            return Dropped("retweet")
        bare, marked = cut(post, self.on)
        text, mended = clean(bare, self.on)
        if "manual-quotes" in self.on and "@" in text and MANUAL_QUOTE.search(text):
            return Dropped("manual-quote")
        if "automated" in self.on and is_automated(post):
            return Dropped("automated")
        if not text or ("short" in self.on and says_little(text)):
            return Dropped("short")
        if "language" in self.on and self._is_foreign(post):
            return Dropped("language")
        if "duplicates" in self.on:
            key = text.casefold()
            if key in self.seen:
                return Dropped("duplicate")
            self.seen.add(key)
        if "near-duplicates" in self.on:
            self.ids.append(post.id)
            if like := self.alike.place(text):
                return Dropped("near-duplicate", self.ids[like[0]])
        return Kept(text, mended | marked)

    def _is_foreign(self, post: Post) -> bool:
        language = language_of(post)
        return bool(language) and language != self.languages.get(post.author, language)


def judge_for(rules: str | Rules, languages: Mapping[str, str] | None = None) -> Judge:
    """The judge of `rules`. Raises InputError for a name that there is not."""
    rules = parse_rules(rules) if isinstance(rules, str) else rules
    return huggingtweets if rules.base == "huggingtweets" else DefaultRules(rules.on, languages or {})
