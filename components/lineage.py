"""Whose posts a pipeline run uses, by what right, and which texts came of them: on its run in MLflow, for whoever asks later."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from components.errors import InputError
from components.fetch.sources import SOURCES_FILE
from components.fields import Field
from components.files import read_lines
from components.names import author_name
from components.posts import read_posts
from components.tracking import LONGEST_TAG, StepRun

AUTHORS_TAG, CONSENT_TAG = "mynah.authors", "mynah.consent"  # and mynah.authors.1, .2 … where they do not fit into one


def record_sources(run: StepRun, raw: Path) -> None:
    """Record a folder of raw posts: authors and consent first, so that no post is ever stored whose author could not be found."""
    _tag(run, {post.author for post in read_posts(raw)}, raw)
    run.artifacts(raw, "raw")


def record_owners(run: StepRun, data: Path) -> None:
    """The same of a folder of kept texts, for what was filtered outside a pipeline."""
    _tag(run, authors_in(data), data)


def authors_in(data: Path) -> set[str]:
    """The authors of a folder of kept texts. Raises InputError when it is none."""
    parts = ("train.jsonl", "held_out.jsonl")
    try:
        return {str(line["author"]) for part in parts for line in read_lines(data / part, "filter")}
    except (KeyError, TypeError) as error:
        raise InputError(f"{data} has texts without an author", "Run `mynah filter` again.") from error


def _tag(run: StepRun, authors: set[str], folder: Path) -> None:
    sources = Field.read(folder / SOURCES_FILE, "fetch").list()
    bases = sorted({source["basis"].text() for source in sources})
    run.tags_now({**authors_tags(sorted(authors)), CONSENT_TAG: ", ".join(bases)})
    run.params({"sources": ", ".join(source["source"].text() for source in sources)})


def record_data(run: StepRun, data: Path) -> None:
    """Record a folder of kept texts: its files, and both parts as datasets of the pipeline run."""
    run.artifacts(data, "data")
    for part, context in (("train", "training"), ("held_out", "validation")):
        path = data / f"{part}.jsonl"
        with path.open("rb") as file:
            count = sum(1 for _ in file)
        run.dataset(path, f"{part}.jsonl", context, json.dumps({"posts": count, "bytes": path.stat().st_size}))


def authors_tags(authors: Iterable[str]) -> dict[str, str]:
    """Authors as tags: JSON lists, as many as they need."""
    tags: list[list[str]] = [[]]
    for author in authors:
        if len(json.dumps([*tags[-1][-1:], author], ensure_ascii=False)) + sum(len(each) + 4 for each in tags[-1]) > LONGEST_TAG:
            tags.append([])
        tags[-1].append(author)
    return {
        f"{AUTHORS_TAG}.{number}" if number else AUTHORS_TAG: json.dumps(each, ensure_ascii=False)
        for number, each in enumerate(tags)
    }


def is_authors_tag(key: str) -> bool:
    """Whether a tag holds authors."""
    return key == AUTHORS_TAG or key.startswith(f"{AUTHORS_TAG}.")


def authors_of(tags: Mapping[str, str]) -> list[str]:
    """The authors that tags name; what is no list of names names nobody."""
    found: list[str] = []
    for key in sorted(filter(is_authors_tag, tags), key=lambda key: (len(key), key)):  # a database keeps no order
        try:
            names = json.loads(tags[key])
        except (ValueError, RecursionError):
            continue
        found += [str(each) for each in names] if isinstance(names, list) else []
    return found


def same_author(one: str, other: str) -> bool:
    """Whether two handles name one person; platforms do not tell upper from lower case."""
    return author_key(one) == author_key(other)


def author_key(text: str) -> str:
    """A handle in the form by which authors are compared."""
    return author_name(text).casefold()
