"""The rules that select and clean the posts from which a bot learns.

`huggingtweets` is the original's, exactly (dev/huggingtweets-dev.ipynb in https://github.com/borisdayma/huggingtweets): tests hold it to
the original's counts on a known export. `default` starts from it and corrects its gaps, rule by rule (rule_selection.py names them).
"""

import itertools
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from components.filter.bot_posts import is_automated
from components.filter.language import are_kin, language_of, main_language
from components.filter.manual_quotes import is_manual_quote
from components.filter.near_duplicates import UNSPACED, NearDuplicateIndex
from components.filter.rule_selection import ON, Rules, parse_rules
from components.filter.text_cleaning import AT_SIGNS, PLACEHOLDERS, clean, one_line, remove_marked
from mynah.data.posts import Kind, Post

MIN_WORDS = 3
LETTERS_PER_WORD = 2  # in scripts without spaces; most Chinese words have two
UNSPACED_LETTER = re.compile(f"[{UNSPACED}]")
URL_PATTERNS = tuple(
    re.compile(pattern)
    for start in ("http:", "https:")
    for pattern in (rf" {start}\S+", rf"{start}\S+ ", rf"\n{start}\S+ ", rf"\n{start}\S+", rf"{start}\S+")
)
MENDING = {"entities", "mojibake", "controls"}
MASK = re.compile("|".join(map(re.escape, PLACEHOLDERS.values())))


@dataclass(frozen=True, slots=True)
class CleanedPost:
    """What the rules judge: the text as a bot would learn it, the rules that changed it, and its language, where a rule asks for it."""

    text: str
    mended: Collection[str]
    language: str = ""


@dataclass(frozen=True, slots=True)
class KeptPost:
    """The cleaned text of a post that is kept."""

    text: str
    mended: Collection[str] = field(default=(), compare=False)  # the rules that changed it


@dataclass(frozen=True, slots=True)
class Dropped:
    """The reason why a post is dropped, a column of the funnel."""

    reason: str
    like: str = ""  # the id of the post that it nearly repeats


Rule = Callable[[Post], KeptPost | Dropped]


def is_repost(post: Post) -> bool:
    """Return whether the source marks a repost, or the text does in the old way (an export's `retweeted` is false on every post)."""
    return post.kind is Kind.REPOST or post.text.startswith("RT @")


def remove_urls(text: str) -> str:
    """Remove URLs with the blank before or after each."""
    for pattern in URL_PATTERNS:
        text = pattern.sub("", text)
    return text


def is_short(text: str) -> bool:
    """Return whether fewer than 3 words remain without links, mentions and hashtags."""
    return sum(1 for _ in itertools.islice(_words(text), MIN_WORDS)) < MIN_WORDS


def is_too_short(text: str) -> bool:
    """Return whether fewer than 3 words remain without placeholders, links, mentions and hashtags.

    In scripts without spaces between words every two letters count as one.
    """
    words = 0
    for word in _words(text):
        if AT_SIGNS[1] in word or ("[" in word and (bare := MASK.sub("", word)) != word and not any(map(str.isalnum, bare))):
            continue
        words += 1 if word.isascii() else max(1, len(UNSPACED_LETTER.findall(word)) // LETTERS_PER_WORD)
        if words >= MIN_WORDS:
            return False
    return True


def _words(text: str) -> Iterator[str]:
    return (word for word in text.split() if not ("@" in word or "#" in word or "http" in word.lower()))


def huggingtweets(post: Post) -> KeptPost | Dropped:
    """Apply the original's rules: no reposts, three entities unescaped, URLs removed, one line, no short posts."""
    if is_repost(post):
        return Dropped("retweet")
    unescaped = post.text.replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">")
    text = one_line(remove_urls(unescaped))
    return Dropped("short") if is_short(text) else KeptPost(text)


@dataclass(slots=True)
class DefaultRules:
    """The default rules in a fixed order. An instance remembers the posts that it kept.

    Attributes:
        on: The rules in force, by default all of rule_selection.ON.
        languages: The main language of each author, for the rule language.
        seen: The kept texts, case-folded, for the rule duplicates.
        alike: The kept texts, for the rule near-duplicates.
        ids: The ids of the posts in `alike`.
    """

    on: Collection[str] = frozenset(ON)
    languages: Mapping[str, str] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    alike: NearDuplicateIndex = field(default_factory=NearDuplicateIndex)
    ids: list[str] = field(default_factory=list)  # of the posts in `alike`

    def __call__(self, post: Post, cleaned: CleanedPost | None = None) -> KeptPost | Dropped:
        """Clean a post, or drop it. Repetitions of earlier posts (ignoring case) are duplicates.

        Args:
            post: The post.
            cleaned: What `clean_post` returned for it, if that is known.

        Returns:
            The text, or the first reason why the post is dropped.
        """
        if "retweets" in self.on and is_repost(post):
            return Dropped("retweet")
        cleaned = cleaned or self.clean_post(post)
        text = cleaned.text
        if reason := self._unwanted(post, cleaned):
            return Dropped(reason)
        if "duplicates" in self.on:
            key = text.casefold()
            if key in self.seen:
                return Dropped("duplicate")
            self.seen.add(key)
        if "near-duplicates" in self.on:
            self.ids.append(post.id)
            if like := self.alike.add(text):
                return Dropped("near-duplicate", self.ids[like[0]])
        return KeptPost(text, cleaned.mended)

    def clean_post(self, post: Post) -> CleanedPost:
        """Return the cleaned text of a post, with its language if the rule is in force."""
        bare, marked = remove_marked(post, self.on)
        text, mended = clean(bare, self.on)
        return CleanedPost(text, mended | marked, language_of(post, text) if "language" in self.on else "")

    def _unwanted(self, post: Post, cleaned: CleanedPost) -> str:
        """Return why a post is not wanted whatever others there are, "" where it is."""
        text = cleaned.text
        if "retweets" in self.on and text.startswith("RT @"):  # behind an escape, or what is invisible
            return "retweet"
        if "manual-quotes" in self.on and is_manual_quote(text):
            return "manual-quote"
        # What cleaning left as it was need not be mended once more.
        as_read = "" if cleaned.mended or not MENDING.issubset(self.on) else text
        if "automated" in self.on and is_automated(post, as_read):
            return "automated"
        if not text or ("short" in self.on and is_too_short(text)):
            return "short"
        is_foreign = "language" in self.on and not are_kin(cleaned.language, self.languages.get(post.author, ""))
        return "language" if is_foreign else ""


def rule_for(rules: str | Rules, languages: Mapping[str, str] | None = None) -> Rule:
    """Return the rule that applies `rules`. Raises InputError for an unknown name."""
    rules = parse_rules(rules) if isinstance(rules, str) else rules
    return huggingtweets if rules.base == "huggingtweets" else DefaultRules(rules.on, languages or {})


def rule_of_languages(rules: Rules, posts: Iterable[Post]) -> Rule:
    """Return the default rules with `language`, which need to know each author's main language first: that of their cleaned posts.

    Args:
        rules: The rules, with `language`.
        posts: All posts, in the order in which the rule will be asked about them.

    Returns:
        The rule, which has cleaned the posts.
    """
    judge = DefaultRules(rules.on)
    cleaned: list[CleanedPost] = []
    counts: dict[str, Counter[str]] = {}
    for post in posts:
        cleaned.append(judge.clean_post(post))
        if not is_repost(post):
            counts.setdefault(post.author, Counter())[cleaned[-1].language] += 1
    judge.languages = {author: main_language(languages) for author, languages in counts.items()}
    remaining = iter(cleaned)
    return lambda post: judge(post, next(remaining))
