"""filter: posts in, kept texts (train and held-out) and the funnel out.

Writes into its output folder: train.jsonl and held_out.jsonl ({"id", "author", "text"} a line), dropped.jsonl ({"id", "author",
"reason", "text"}), funnel.json, and sources.json with the profile pictures that it names (copied from the raw posts).
"""

import hashlib
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.avatars import copy_avatars
from components.errors import InputError
from components.events import say
from components.files import atomic_folder, read_json, read_lines, write_json, write_lines
from components.filter.funnel import AuthorFunnel, Funnel
from components.filter.rules import Dropped, judge_for
from components.names import is_unicode
from components.posts import Post, newest, read_posts

HELD_OUT_SHARE = 0.1
FEWEST_CHARACTERS = 6_000  # huggingtweets refused a user with less, and warned below the second
ENOUGH_CHARACTERS = 40_000

Text = dict[str, Any]  # {"id", "author", "text"}, and "reason" when dropped


@dataclass(frozen=True, slots=True)
class FilterSettings:
    """What a person can choose about filtering."""

    rules: str = "default"
    limit: int = 0  # the newest N posts of each author; 0: all
    seed: int = 42

    def __post_init__(self) -> None:
        if self.limit < 0:
            raise InputError(f"the limit of posts is {self.limit}", "Give a number of posts, or 0 for all.")


def filter_posts(raw: Path, out: Path, settings: FilterSettings) -> Funnel:
    """Filter the posts in `raw` by `settings.rules`, split what is kept 90/10, and write both with the funnel to `out`.

    Raises InputError for unknown rules, for a folder that is not raw posts, for fewer than 6,000 kept characters, and when
    all that is kept is one and the same text, which cannot be split.
    """
    posts = list(_newest_of_each(read_posts(raw), settings.limit))
    kept, dropped, authors = _judge(posts, settings.rules)
    train, held_out = split(kept, settings.seed)
    funnel = Funnel(settings.rules, authors, len(train), len(held_out), settings.seed)
    _require_enough(funnel)
    with atomic_folder(out) as folder:
        write_lines(folder / "train.jsonl", train)
        write_lines(folder / "held_out.jsonl", held_out)
        write_lines(folder / "dropped.jsonl", dropped)
        write_json(folder / "funnel.json", funnel.to_record())
        if (raw / "sources.json").is_file():
            shutil.copyfile(raw / "sources.json", folder / "sources.json")
            copy_avatars(read_json(raw / "sources.json", "fetch"), raw, folder)
    return funnel


def read_texts(data: Path, part: str) -> list[str]:
    """The texts of `part` ("train" or "held_out") of a folder that `filter_posts` wrote. Raises InputError when it is none."""
    return [text for _, text in _read_kept(data, part)]


def read_by_author(data: Path, part: str) -> dict[str, list[str]]:
    """The same by author; a text that names none is of the author ""."""
    found: dict[str, list[str]] = {}
    for author, text in _read_kept(data, part):
        found.setdefault(author, []).append(text)
    return found


def _read_kept(data: Path, part: str) -> list[tuple[str, str]]:
    path = data / f"{part}.jsonl"
    records = [record if isinstance(record, dict) else {} for record in read_lines(path, "filter")]
    texts = [record.get("text") for record in records]
    if not texts or not all(isinstance(text, str) and text and is_unicode(text) for text in texts):
        raise InputError(f"{path} has no texts, or a line without one", "Run `mynah filter` again.")
    return [(str(record.get("author") or ""), record["text"]) for record in records]


def split(kept: list[Text], seed: int) -> tuple[list[Text], list[Text]]:
    """Split 90/10 at random by `seed`, keeping equal texts on one side so that nothing held out was trained on.

    Ordered by a digest of each text and the seed, not by drawing: when posts come or go, all others but a few at the border stay on
    their side, so that a bot that is made anew can be compared with its champion on posts that neither was trained on.
    """
    texts = sorted({record["text"].casefold() for record in kept}, key=lambda text: _lot(text, seed))
    chosen = set(texts[: max(1, round(len(texts) * HELD_OUT_SHARE))] if len(texts) > 1 else [])
    train = [record for record in kept if record["text"].casefold() not in chosen]
    held_out = [record for record in kept if record["text"].casefold() in chosen]
    return train, held_out


def _lot(text: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}\0{text}".encode("utf-8", "surrogatepass")).digest()


def _newest_of_each(posts: Iterable[Post], limit: int) -> Iterable[Post]:
    by_author: dict[str, list[Post]] = {}
    for post in posts:
        by_author.setdefault(post.author, []).append(post)
    for theirs in by_author.values():
        yield from newest(theirs, limit)


def _judge(posts: list[Post], rules: str) -> tuple[list[Text], list[Text], list[AuthorFunnel]]:
    judge = judge_for(rules)
    kept: list[Text] = []
    dropped: list[Text] = []
    funnels: dict[str, AuthorFunnel] = {}
    for post in posts:
        funnel = funnels.setdefault(post.author, AuthorFunnel(post.author))
        verdict = judge(post)
        if isinstance(verdict, Dropped):
            funnel.dropped[verdict.reason] += 1
            dropped.append({"id": post.id, "author": post.author, "reason": verdict.reason, "text": post.text})
        else:
            funnel.kept += 1
            funnel.kept_characters += len(verdict.text)
            kept.append({"id": post.id, "author": post.author, "text": verdict.text})
    return kept, dropped, list(funnels.values())


def _require_enough(funnel: Funnel) -> None:
    characters = funnel.kept_characters
    if characters < FEWEST_CHARACTERS:
        raise InputError(
            f"only {characters:,} characters are left after filtering, and a bot needs {FEWEST_CHARACTERS:,} at the least",
            "Add another source with --from, or more posts.",
        )
    if not funnel.held_out:
        raise InputError(
            "all posts that are left after filtering are the same, and none can be held out", "Add other posts with --from."
        )
    if characters < ENOUGH_CHARACTERS:
        say(f"{characters:,} characters are few: the bot will be better with {ENOUGH_CHARACTERS:,} or more", "warning")
