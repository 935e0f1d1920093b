"""Made-up words: those that stand in no post of the author and in no list of words of the author's languages.

The lists are wordfreq's (Speer 2022, https://github.com/rspeer/wordfreq: web pages, subtitles, Wikipedia, news, tweets), 10,000 to
700,000 words a language, names and slang included. Other packages miss more of what people write, or are pickles: docs/evaluation.md.
"""

import functools
import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import product

MIN_LETTERS = 4  # of a word; shorter non-words are often abbreviations
LIST_OF = {"bs": "sh", "hr": "sh", "no": "nb"}  # the lists of Bosnian and Croatian, and of Norwegian, go by other codes
NO_BLANKS = {"ja", "ko", "zh"}  # wordfreq's lists of these are of what a tokenizer finds, not of what stands between blanks
ENTITY = re.compile(r"&\w{1,30};")  # HTML's
# Marks that people leave out: Hebrew and Arabic vowels, the Arabic stroke that stretches a word.
OPTIONAL_MARKS = re.compile("[\u0591-\u05c7\u0640\u064b-\u065f\u0670]")
# Vowels of Hindi, Bengali and Tamil are marks, which Python's \w excludes.
MARKS = "".join(mark for mark in map(chr, range(0x300, 0xE00)) if unicodedata.category(mark).startswith("M"))
WORD = re.compile(rf"[\w{MARKS}]+(?:['\u2019\u02bc\u200c][\w{MARKS}]+)*")
JOINS = re.compile("['\u200c]")  # an apostrophe (l'homme, that's); a Persian word's zero-width non-joiner
LONG_RUN = re.compile(r"([^\W\d_])\1{2,}")  # soooo
MAX_RUNS = 4  # in one word, of each of which one letter or two may be meant


@dataclass(frozen=True, slots=True)
class MadeUpWords:
    """The shares of made-up words, 0 to 1, and the samples with such words, the worst first."""

    share: float  # of the samples' words
    author_share: float  # of the held-out posts' words: those in no training post and in no list
    samples: tuple[str, ...]

    @property
    def excess(self) -> float:
        """The samples' share less the author's, -1 to 1."""
        return self.share - self.author_share


def words(text: str) -> list[str]:
    """The words of `text` with four letters and more on one side of an apostrophe: NFC, case folded, without optional marks.

    URLs, e-mail addresses, @names, #hashtags and what has a digit or an underscore are no words. Letters repeated more than three times count
    thrice.
    """
    return [word for chunk in _chunks(text) for word in _words_of(chunk)]


def why_left_out(languages: Sequence[str]) -> str:
    """Why made-up words cannot be counted in texts of `languages` (codes of ISO 639); "" where they can."""
    if not languages:
        return "the language of the posts is not known"
    missing = [language for language in languages if not _has_list(language)]
    return f"there is no list of words for {' and '.join(missing)}" if missing else ""


def count_made_up(
    samples: Sequence[tuple[str, str]], train: Sequence[str], held_out: Sequence[str], languages: Sequence[str]
) -> MadeUpWords:
    """Count the made-up words of samples and of held-out posts.

    Args:
        samples: A prompt and the text that begins with it, each; the prompt's words do not count.
        train: The author's training posts.
        held_out: The author's held-out posts.
        languages: Codes of ISO 639, all of which have a list (`why_left_out`).
    """
    lists = [_list(language) for language in languages]
    train_words = {word for chunk in set(_chunks("\n".join(train))) for word in _words_of(chunk)}
    held_out_words = [word for post in held_out for word in words(post)]
    prompts = {prompt: words(prompt) for prompt, _ in samples}
    used = train_words.union(held_out_words, *prompts.values())
    counts = [(text, _made_up(words(text)[len(prompts[prompt]) :], used, lists)) for prompt, text in samples]
    made_up = sorted(((sum(verdicts), text) for text, verdicts in counts if any(verdicts)), key=lambda each: -each[0])
    return MadeUpWords(
        share=_share([verdict for _, verdicts in counts for verdict in verdicts]),
        author_share=_share(_made_up(held_out_words, train_words, lists)),
        samples=tuple(text for _, text in made_up),
    )


def _made_up(several: Sequence[str], used: Collection[str], lists: Sequence[Collection[str]]) -> list[bool]:
    """Of each word, whether it is neither used by the author nor in a list."""
    return [not (word in used or _is_known(word, (used, *lists))) for word in several]


def _is_known(word: str, several: Sequence[Collection[str]]) -> bool:
    """Whether a word, or each of its parts of four letters and more around apostrophes, is in one of `several`, as written or shorter."""
    if any(form in known for form in _forms(word) for known in several):
        return True
    parts = [part for part in JOINS.split(word) if len(part) >= MIN_LETTERS]
    return parts != [word] and all(_is_known(part, several) for part in parts)


def _forms(word: str) -> list[str]:
    """What a word may be where letters are repeated for effect: "coool" is "cool" or "col"."""
    texts, letters = LONG_RUN.split(word)[::2], LONG_RUN.split(word)[1::2]
    if len(letters) > MAX_RUNS:
        return [word]
    return [
        texts[0] + "".join(letter * times + text for letter, times, text in zip(letters, choice, texts[1:], strict=True))
        for choice in product((2, 1), repeat=len(letters))
    ]


def _chunks(text: str) -> list[str]:
    """What stands between blanks, in the form in which words are compared."""
    return OPTIONAL_MARKS.sub("", unicodedata.normalize("NFC", ENTITY.sub(" ", text))).casefold().split()


@functools.lru_cache(maxsize=1 << 16)
def _words_of(chunk: str) -> tuple[str, ...]:
    if not _is_prose(chunk):
        return ()
    found = (LONG_RUN.sub(r"\1\1\1", match).replace("\u2019", "'").replace("\u02bc", "'") for match in WORD.findall(chunk))
    return tuple(word for word in found if max(map(len, JOINS.split(word))) >= MIN_LETTERS and _is_of_letters(word))


def _is_prose(chunk: str) -> bool:
    """Whether what stands between two blanks is no URL, e-mail address, @name or #hashtag."""
    host, slash, _ = chunk.partition("/")
    return not ("@" in chunk or "#" in chunk or chunk.startswith("www.") or (slash and ("." in host or "://" in chunk)))


def _is_of_letters(word: str) -> bool:
    return not any(character.isdigit() or character == "_" for character in word)


def _share(verdicts: Sequence[bool]) -> float:
    return sum(verdicts) / len(verdicts) if verdicts else 0.0


def _has_list(language: str) -> bool:
    import wordfreq

    return language not in NO_BLANKS and LIST_OF.get(language, language) in wordfreq.available_languages("best")


@functools.cache
def _list(language: str) -> Collection[str]:
    import wordfreq

    return wordfreq.get_frequency_dict(LIST_OF.get(language, language), "best").keys()
