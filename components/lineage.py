"""Whose posts a pipeline run uses, by what right, and which texts came of them: on its run in MLflow, for whoever asks later."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from components.files import read_json
from components.names import author_name
from components.posts import read_posts
from components.tracking import LONGEST_TAG, StepRun

AUTHORS_TAG, CONSENT_TAG = "mynah.authors", "mynah.consent"
MANY = "*"  # more authors than a tag holds: raw/posts.jsonl names them


def record_sources(run: StepRun, raw: Path) -> None:
    """Record a folder of raw posts: authors and consent first, so that no post is ever stored whose author could not be found."""
    sources = read_json(raw / "sources.json", "fetch")
    authors = sorted({post.author for post in read_posts(raw)})
    run.tags({AUTHORS_TAG: authors_tag(authors), CONSENT_TAG: ", ".join(sorted({str(each["basis"]) for each in sources}))})
    run.params({"sources": ", ".join(str(each["source"]) for each in sources)})
    run.artifacts(raw, "raw")


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
