"""Whose posts a pipeline run uses, by what right, and which texts came of them: on its run in MLflow, for whoever asks later."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from components.fetch.sources import SOURCES_FILE
from components.fields import Field
from components.files import read_lines
from components.names import author_name
from components.posts import read_posts
from components.tracking import LONGEST_TAG, StepRun

AUTHORS_TAG, CONSENT_TAG = "mynah.authors", "mynah.consent"
MANY = "*"  # more authors than a tag holds: raw/posts.jsonl names them


def record_sources(run: StepRun, raw: Path) -> None:
    """Record a folder of raw posts: authors and consent first, so that no post is ever stored whose author could not be found."""
    _tag(run, {post.author for post in read_posts(raw)}, raw)
    run.artifacts(raw, "raw")


def record_owners(run: StepRun, data: Path) -> None:
    """The same of a folder of kept texts, for what was filtered outside a pipeline."""
    parts = ("train.jsonl", "held_out.jsonl")
    _tag(run, {str(line["author"]) for part in parts for line in read_lines(data / part, "filter")}, data)


def _tag(run: StepRun, authors: set[str], folder: Path) -> None:
    sources = Field.read(folder / SOURCES_FILE, "fetch").list()
    bases = sorted({source["basis"].text() for source in sources})
    run.tags({AUTHORS_TAG: authors_tag(sorted(authors)), CONSENT_TAG: ", ".join(bases)})
    run.params({"sources": ", ".join(source["source"].text() for source in sources)})


def record_data(run: StepRun, data: Path) -> None:
    """Record a folder of kept texts: its files, and both parts as datasets of the pipeline run."""
    run.artifacts(data, "data")
    for part, context in (("train", "training"), ("held_out", "validation")):
        path = data / f"{part}.jsonl"
        with path.open("rb") as file:
            count = sum(1 for _ in file)
        run.dataset(path, f"{part}.jsonl", context, json.dumps({"posts": count, "bytes": path.stat().st_size}))


def authors_tag(authors: Iterable[str]) -> str:
    """Authors as a run's tag."""
    text = json.dumps(list(authors), ensure_ascii=False)
    return text if len(text) <= LONGEST_TAG else MANY


def authors_of(tags: Mapping[str, str]) -> list[str] | None:
    """The authors of a run by its tag; None where the tag cannot say."""
    text = tags.get(AUTHORS_TAG, "[]")
    if text == MANY:
        return None
    try:
        found = json.loads(text)
        return [str(each) for each in found] if isinstance(found, list) else None
    except (ValueError, RecursionError):
        return None


def same_author(one: str, other: str) -> bool:
    """Whether two handles name one person; platforms do not tell upper from lower case."""
    return author_key(one) == author_key(other)


def author_key(text: str) -> str:
    """A handle in the form by which authors are compared."""
    return author_name(text).casefold()
