"""Whose posts a pipeline run uses, by what right, and which texts came of them: on its run in MLflow, for whoever asks later."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from components import seen
from components.artifacts import fetch_text, place
from components.errors import InputError, PlatformError
from components.fetch.sources import SOURCES_FILE
from components.fields import Field
from components.files import read_lines
from components.names import author_name
from components.posts import read_posts
from components.tracking import LONGEST_TAG, PARENT_TAG, StepRun, steps_of

if TYPE_CHECKING:
    from components.registry import BotVersion, Registry

CONTINUED_TAG = "mynah.continued_from"  # of a version that was trained on from another: its number, or the digest of its weights
AUTHORS_TAG, CONSENT_TAG = "mynah.authors", "mynah.consent"  # and mynah.authors.1, .2 … where they do not fit into one
ANCESTORS = "ancestors"  # mynah.authors.ancestors: of the model that this one goes on from


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


def recorded_texts(registry: "Registry", version: "BotVersion", part: str) -> list[str]:
    """The texts that a version was trained or measured on (`part`: train or held_out), from the data that its pipeline run recorded.

    Raises InputError, without a fix, when they are not recorded.
    """
    from mlflow.exceptions import MlflowException

    whose = f"the posts of version {version.version} are not recorded"
    if not version.run_id:
        raise InputError(whose, "")
    try:
        run = registry.client.get_run(version.run_id)
        filtered = steps_of(registry.store, run.data.tags.get(PARENT_TAG, version.run_id)).get("filter")
    except (MlflowException, PlatformError) as error:
        if "RESOURCE_DOES_NOT_EXIST" not in (getattr(error, "error_code", ""), getattr(error.__cause__, "error_code", "")):
            raise
        raise InputError(whose, "") from error
    if not filtered:
        raise InputError(whose, "")
    source = place(f"{filtered.info.artifact_uri}/data", registry.store.tracking_uri)
    try:
        return [str(json.loads(line)["text"]) for line in fetch_text(source, f"{part}.jsonl").split("\n") if line]
    except (InputError, ValueError, KeyError, TypeError) as error:
        raise InputError(whose, "") from error


def known_posts(registry: "Registry", version: "BotVersion") -> frozenset[str]:
    """The digests (components.seen.key) of the posts that a version knows: of its training, and of those it was continued from.

    Raises InputError when its posts are not recorded, or its files are gone.
    """
    return frozenset(map(seen.key, recorded_texts(registry, version, "train"))) | seen_before(registry, version)


def seen_before(registry: "Registry", version: "BotVersion") -> frozenset[str]:
    """What a version knows from those it was continued from alone."""
    return seen.read_seen(registry.checkpoint(version)) if CONTINUED_TAG in version.tags else frozenset()


def beyond(authors: Iterable[str], data: Path) -> set[str]:
    """Those of `authors` who have no post in a folder of kept texts."""
    there = {author_key(author) for author in authors_in(data)}
    return {author for author in authors if author_key(author) not in there}


def record_ancestors(run: StepRun, authors: Iterable[str]) -> None:
    """Tag a run with authors whose posts its model knows from the one that it goes on from: they are found as its own are.

    Before the work: what is made of their posts must not be without.
    """
    run.tags_now(authors_tags(sorted(authors), ANCESTORS))


def forget_ancestors(run: StepRun, authors: Iterable[str]) -> None:
    """Take that back, when the model became another after all. A tag that others may have read is emptied, not removed."""
    run.tags_now(dict.fromkeys(authors_tags(sorted(authors), ANCESTORS), "[]"))


def authors_tags(authors: Iterable[str], part: str = "") -> dict[str, str]:
    """Authors as tags: JSON lists, as many as they need; `part` goes into their names."""
    first = f"{AUTHORS_TAG}.{part}" if part else AUTHORS_TAG
    tags: list[list[str]] = [[]]
    for author in authors:
        if len(json.dumps([*tags[-1][-1:], author], ensure_ascii=False)) + sum(len(each) + 4 for each in tags[-1]) > LONGEST_TAG:
            tags.append([])
        tags[-1].append(author)
    return {f"{first}.{number}" if number else first: json.dumps(each, ensure_ascii=False) for number, each in enumerate(tags)}


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
