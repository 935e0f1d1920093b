"""filter: select and clean posts, split the kept texts, and count in a funnel what was dropped.

Writes into its output folder: train.jsonl and held_out.jsonl ({"id", "author", "text"} a line), dropped.jsonl ({"id", "author",
"reason", "text"}, and "like" with the id of the post that it nearly repeats), funnel.json, funnel.png, and sources.json with the
profile pictures that it names (copied from the raw posts). Posts are read one at a time, and written as soon as they are filtered.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from json.encoder import encode_basestring
from pathlib import Path
from typing import TextIO

from components.filter.author_counts import AuthorCounts
from components.filter.language import language_of, main_language
from components.filter.post_copies import PostCopies, PostCopy, find_copies
from components.filter.rule_selection import Rules, parse_rules
from components.filter.rules import Dropped, KeptPost, Rule, rule_for, rule_of_languages
from components.filter.thread_merging import MergedPost, merge_threads
from components.filter.train_test_split import TrainTestSplitter
from mynah.core.errors import InputError
from mynah.core.files import atomic_folder, refuse_foreign_folder
from mynah.core.progress import notify
from mynah.data.avatars import copy_avatars
from mynah.data.datasets import DROPPED_FILE, HELD_OUT_FILE, TRAIN_FILE
from mynah.data.funnel import FUNNEL_PICTURE, AuthorFunnel, Funnel
from mynah.data.posts import Post, newest, read_posts
from mynah.data.source_records import SOURCES_FILE, avatar_names, read_sources, write_sources
from mynah.drawing.funnel_chart import draw_funnel  # the card reads what this package writes

MIN_CHARACTERS = 6_000  # huggingtweets refuses a user with fewer
RECOMMENDED_CHARACTERS = 40_000  # huggingtweets warns below
LANGUAGE_SAMPLES = 300  # kept posts per author whose language is detected, for the card; all would take as long as a rule

Text = dict[str, str]  # {"id", "author", "text"}, and "reason" when dropped


@dataclass(frozen=True, slots=True)
class FilterSettings:
    """The settings of the filter that a person can choose."""

    rules: str = "default"  # see components/filter/rule_selection.py
    limit: int = 0  # the newest N posts of each author; 0: all
    seed: int = 42

    def __post_init__(self) -> None:
        if self.limit < 0:
            raise InputError(f"the limit of posts is {self.limit}", "Give a number of posts, or 0 for all.")


def filter_posts(raw: Path, out: Path, settings: FilterSettings) -> Funnel:
    """Filter the posts in `raw`, split the kept texts 90/10, and write both with the funnel to `out`.

    Args:
        raw: A folder that `mynah fetch` wrote.
        out: The folder to write.
        settings: Rules, limit and seed.

    Returns:
        The funnel.

    Raises:
        InputError: The rules are unknown, `raw` holds no posts, fewer than 6,000 characters are kept, or all kept texts are the same, so
            that none can be held out; or `out` overlaps `raw` or must not be replaced.
    """
    rules = parse_rules(settings.rules)
    refuse_foreign_folder(out, [raw])
    copies = find_copies(raw)
    indices = newest_indices(raw, settings.limit, copies)
    read = post_reader(raw, indices, copies)
    splitter = TrainTestSplitter(settings.seed, "near-duplicates" not in rules.on, "by-time" in rules.on)
    with atomic_folder(out, [raw]) as folder:
        rule = rule_for(rules)
        if "language" in rules.on:
            rule = rule_of_languages(rules, (item for item in _items(read, rules) if isinstance(item, Post)))
        dropped = copies.dropped(read_posts(raw), lambda index: indices is None or index in indices)
        authors = _apply_rule(itertools.chain(_items(read, rules), dropped), rule, splitter, folder)
        train, held_out = _write_split(folder, splitter.held_out())
        funnel = Funnel(settings.rules, authors, train, held_out, settings.seed)
        _require_enough(funnel)
        funnel.write(folder)
        draw_funnel(funnel.rows(), [author.author for author in authors], folder / FUNNEL_PICTURE)
        if (raw / SOURCES_FILE).is_file():
            sources = read_sources(raw)
            write_sources(folder, sources)
            copy_avatars(avatar_names(sources), raw, folder)
    return funnel


def newest_indices(raw: Path, limit: int, copies: PostCopies) -> Collection[int] | None:
    """Return the indices of the newest posts of each author in `raw`, copies left out; None where `limit` is 0, for all."""
    if not limit:
        return None
    by_author: dict[str, list[Post]] = {}
    for index, post in copies.without(read_posts(raw)):
        light = replace(post, text=str(index), entities=())  # the index instead of the text: all texts may not fit into memory
        by_author.setdefault(post.author, []).append(light)
    return {int(post.text) for posts in by_author.values() for post in newest(posts, limit)}


def post_reader(raw: Path, indices: Collection[int] | None, copies: PostCopies) -> Callable[[], Iterator[Post]]:
    """Return a function that reads posts from the start.

    Args:
        raw: A folder that `mynah fetch` wrote.
        indices: The posts to read; None for all.
        copies: The copies in the folder, which are not read.

    Returns:
        The function; each call returns a new iterator.
    """
    return lambda: (post for index, post in copies.without(read_posts(raw)) if indices is None or index in indices)


def _items(read: Callable[[], Iterator[Post]], rules: Rules) -> Iterator[Post] | Iterator[Post | MergedPost]:
    return merge_threads(read) if "threads" in rules.on else read()


def _apply_rule(
    posts: Iterator[Post | MergedPost | PostCopy], rule: Rule, splitter: TrainTestSplitter, folder: Path
) -> list[AuthorFunnel]:
    """Filter posts, and write kept.jsonl and dropped.jsonl.

    Args:
        posts: The posts.
        rule: The rule that keeps or drops a post.
        splitter: Receives the kept texts.
        folder: The folder to write into.

    Returns:
        The counts by author.
    """
    counts_by_author: dict[str, AuthorCounts] = {}
    languages: dict[str, Counter[str]] = {}
    with _lines(folder / "kept.jsonl") as kept, _lines(folder / DROPPED_FILE) as dropped:
        for item in posts:
            post, verdict = _judged(item, rule)
            counts = counts_by_author.get(post.author) or counts_by_author.setdefault(post.author, AuthorCounts(post.author))
            if isinstance(verdict, Dropped):
                counts.dropped[verdict.reason] += 1
                like = {"like": verdict.like} if verdict.like else {}
                _write(dropped, {"id": post.id, "author": post.author, "reason": verdict.reason, "text": post.text, **like})
            else:
                counts.kept += 1
                counts.kept_characters += len(verdict.text)
                counts.mended.update(verdict.mended)
                if counts.kept <= LANGUAGE_SAMPLES:
                    languages.setdefault(post.author, Counter())[language_of(post, verdict.text)] += 1
                splitter.add(verdict.text, post)
                _write(kept, {"id": post.id, "author": post.author, "text": verdict.text})
    for author, votes in languages.items():
        counts_by_author[author].language = main_language(votes)
    return [counts.funnel() for counts in counts_by_author.values()]


def _judged(item: Post | MergedPost | PostCopy, rule: Rule) -> tuple[Post, KeptPost | Dropped]:
    """Return the post with the rule's verdict, or why it is dropped without one."""
    if isinstance(item, MergedPost):
        return item.post, Dropped("merged")
    if isinstance(item, PostCopy):
        return item.post, Dropped("copy", item.like)
    return item, rule(item)


def _lines(path: Path) -> TextIO:
    """Open a file for JSON lines. Half a surrogate pair, which JSON can hold and UTF-8 cannot, becomes `?`."""
    return path.open("w", encoding="utf-8", errors="replace")


def _write(file: TextIO, record: Text) -> None:
    """Write a line of JSON; all values are texts, so that no encoder must look for what else they may be."""
    file.write("{" + ", ".join([f'"{name}": {encode_basestring(value)}' for name, value in record.items()]) + "}\n")


def _write_split(folder: Path, chosen: set[int]) -> tuple[int, int]:
    """Split kept.jsonl into train.jsonl and held_out.jsonl; return the number of lines of each."""
    path, count = folder / "kept.jsonl", 0
    with (
        path.open("rb") as kept,
        (folder / TRAIN_FILE).open("wb") as train,
        (folder / HELD_OUT_FILE).open("wb") as held_out,
    ):
        for line in kept:
            (held_out if count in chosen else train).write(line)
            count += 1
    path.unlink()
    return count - len(chosen), len(chosen)


def _require_enough(funnel: Funnel) -> None:
    characters = funnel.kept_characters
    if characters < MIN_CHARACTERS:
        raise InputError(
            f"only {characters:,} characters are left after filtering, and a bot needs {MIN_CHARACTERS:,} at the least",
            "Add another source with --from, or more posts.",
        )
    if not funnel.held_out:
        raise InputError(
            "all posts that are left after filtering are the same, or nearly, and none can be held out",
            "Add other posts with --from.",
        )
    if characters < RECOMMENDED_CHARACTERS:
        notify(f"{characters:,} characters are few: the bot will be better with {RECOMMENDED_CHARACTERS:,} or more", "warning")
