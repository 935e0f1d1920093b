"""filter: posts in, kept texts (train and held-out) and the funnel out.

Writes into its output folder: train.jsonl and held_out.jsonl ({"id", "author", "text"} a line), dropped.jsonl ({"id", "author",
"reason", "text"}, and "like" with the id of the post that it nearly repeats), funnel.json, funnel.png, and sources.json with the
profile pictures that it names (copied from the raw posts). Posts are read one at a time, and written as they are judged.
"""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from components.avatars import copy_avatars
from components.errors import InputError
from components.events import say
from components.files import atomic_folder, read_json, read_lines, write_json
from components.filter.choice import parse_rules
from components.filter.funnel import AuthorFunnel, Funnel, rows
from components.filter.language import commonest, language_of, main_languages
from components.filter.rules import Dropped, judge_for
from components.filter.split import Sides
from components.filter.threads import Part, merged
from components.names import is_unicode
from components.posts import Post, newest, read_posts

FEWEST_CHARACTERS = 6_000  # huggingtweets refused a user with less, and warned below the second
ENOUGH_CHARACTERS = 40_000
ASKED_FOR_LANGUAGE = (
    300  # kept posts of an author that tell their language, for the card; to ask all would take as long as a rule
)

ENCODE = json.JSONEncoder(ensure_ascii=False).encode  # json.dumps makes a new one each time

Text = dict[str, Any]  # {"id", "author", "text"}, and "reason" when dropped


@dataclass(frozen=True, slots=True)
class FilterSettings:
    """What a person can choose about filtering."""

    rules: str = "default"  # see components/filter/choice.py
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
    from components.card.pictures.funnel import draw_funnel  # the card reads what this package writes

    rules = parse_rules(settings.rules)
    read = reader(raw, settings.limit)
    judge = judge_for(rules, main_languages(read()) if "language" in rules.on else {})
    sides = Sides(settings.seed, "near-duplicates" not in rules.on, "by-time" in rules.on)
    with atomic_folder(out) as folder:
        authors = _judge(merged(read) if "threads" in rules.on else read(), judge, sides, folder)
        train, held_out = _part(folder, sides.held_out())
        funnel = Funnel(settings.rules, authors, train, held_out, settings.seed)
        _require_enough(funnel)
        record = funnel.to_record()
        write_json(folder / "funnel.json", record)
        draw_funnel(rows(record), [author.author for author in authors], folder / "funnel.png")
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


def reader(raw: Path, limit: int) -> Callable[[], Iterator[Post]]:
    """What reads the posts in `raw`, from the first each time: with a limit only the newest ones of each author."""
    if not limit:
        return lambda: read_posts(raw)
    by_author: dict[str, list[Post]] = {}
    for place, post in enumerate(read_posts(raw)):
        light = replace(post, text=str(place), entities=())  # a place instead of a text: all of them may not fit into memory
        by_author.setdefault(post.author, []).append(light)
    places = {int(post.text) for posts in by_author.values() for post in newest(posts, limit)}
    return lambda: (post for place, post in enumerate(read_posts(raw)) if place in places)


def _judge(
    posts: Iterator[Post] | Iterator[Post | Part], judge: Callable[[Post], Any], sides: Sides, folder: Path
) -> list[AuthorFunnel]:
    """Write kept.jsonl and dropped.jsonl, tell `sides` of each text kept, and count."""
    funnels: dict[str, AuthorFunnel] = {}
    languages: dict[str, Counter[str]] = {}
    with _lines(folder / "kept.jsonl") as kept, _lines(folder / "dropped.jsonl") as dropped:
        for found in posts:
            post, verdict = (found.post, Dropped("merged")) if isinstance(found, Part) else (found, judge(found))
            funnel = funnels.get(post.author) or funnels.setdefault(post.author, AuthorFunnel(post.author))
            if isinstance(verdict, Dropped):
                funnel.dropped[verdict.reason] += 1
                like = {"like": verdict.like} if verdict.like else {}
                _write(dropped, {"id": post.id, "author": post.author, "reason": verdict.reason, "text": post.text, **like})
            else:
                funnel.kept += 1
                funnel.kept_characters += len(verdict.text)
                funnel.mended.update(verdict.mended)
                if funnel.kept <= ASKED_FOR_LANGUAGE:
                    languages.setdefault(post.author, Counter())[language_of(post)] += 1
                sides.add(verdict.text, post)
                _write(kept, {"id": post.id, "author": post.author, "text": verdict.text})
    for author, told in languages.items():
        funnels[author].language = commonest(told)
    return list(funnels.values())


def _lines(path: Path) -> TextIO:
    """A file to write JSON lines to. Half a surrogate pair, which JSON can hold and UTF-8 can't, becomes `?`."""
    return path.open("w", encoding="utf-8", errors="replace")


def _write(file: TextIO, record: Text) -> None:
    file.write(ENCODE(record) + "\n")


def _part(folder: Path, chosen: set[int]) -> tuple[int, int]:
    """Turn kept.jsonl into train.jsonl and held_out.jsonl; returns how many lines each has."""
    whole, count = folder / "kept.jsonl", 0
    with (
        whole.open("rb") as kept,
        (folder / "train.jsonl").open("wb") as train,
        (folder / "held_out.jsonl").open("wb") as held_out,
    ):
        for line in kept:
            (held_out if count in chosen else train).write(line)
            count += 1
    whole.unlink()
    return count - len(chosen), len(chosen)


def _require_enough(funnel: Funnel) -> None:
    characters = funnel.kept_characters
    if characters < FEWEST_CHARACTERS:
        raise InputError(
            f"only {characters:,} characters are left after filtering, and a bot needs {FEWEST_CHARACTERS:,} at the least",
            "Add another source with --from, or more posts.",
        )
    if not funnel.held_out:
        raise InputError(
            "all posts that are left after filtering are the same, or nearly, and none can be held out",
            "Add other posts with --from.",
        )
    if characters < ENOUGH_CHARACTERS:
        say(f"{characters:,} characters are few: the bot will be better with {ENOUGH_CHARACTERS:,} or more", "warning")
