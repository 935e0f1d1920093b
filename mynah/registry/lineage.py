"""Record on a pipeline run in MLflow whose posts it uses, on what basis, and which texts resulted.

Importing mlflow takes seconds, so only functions import it.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mynah.core.errors import InputError, PlatformError
from mynah.core.files import read_lines
from mynah.data import text_digests
from mynah.data.authors import ANCESTORS, CONSENT_TAG, author_key, authors_tags
from mynah.data.datasets import PARTS
from mynah.data.posts import read_posts
from mynah.data.source_records import read_sources
from mynah.mlflow_client.client import store_errors
from mynah.registry.registry import Registry
from mynah.registry.versions import BotVersion
from mynah.storage.base import fetch_text
from mynah.storage.open import open_artifact_store
from mynah.tracking.runs import steps_of
from mynah.tracking.step_run import StepRun
from mynah.tracking.tags import PARENT_TAG

CONTINUED_TAG = "mynah.continued_from"  # on a version continued from another: the other's number, or the digest of its weights
UNCHANGED_TAG = (
    "mynah.unchanged"  # on a pipeline run that continued from a version and brought nothing better: the version's number
)


def record_sources(run: StepRun, raw: Path) -> None:
    """Record a folder of raw posts: authors and consent first, so that no post is ever stored whose author could not be found."""
    _tag(run, {post.author for post in read_posts(raw)}, raw)
    run.artifacts(raw, "raw")


def record_owners(run: StepRun, data: Path) -> None:
    """Record the authors of a folder of kept texts that was filtered outside a pipeline."""
    _tag(run, authors_in(data), data)


def authors_in(data: Path) -> set[str]:
    """Return the authors of a folder of kept texts. Raises InputError for another folder."""
    try:
        return {str(line["author"]) for name in PARTS.values() for line in read_lines(data / name, "filter")}
    except (KeyError, TypeError) as error:
        raise InputError(f"{data} has texts without authors", "Run `mynah filter` again.") from error


def _tag(run: StepRun, authors: set[str], folder: Path) -> None:
    sources = read_sources(folder)
    bases = sorted({source.basis for source in sources})
    run.tags_now({**authors_tags(sorted(authors)), CONSENT_TAG: ", ".join(bases)})
    run.params({"sources": ", ".join(source.source for source in sources)})


def record_data(run: StepRun, data: Path) -> None:
    """Record a folder of kept texts: its files, and both parts as datasets of the pipeline run."""
    run.artifacts(data, "data")
    for part, context in (("train", "training"), ("held_out", "validation")):
        path = data / PARTS[part]
        with path.open("rb") as file:
            count = sum(1 for _ in file)
        run.dataset(path, path.name, context, json.dumps({"posts": count, "bytes": path.stat().st_size}))


def recorded_texts(registry: Registry, version: BotVersion, part: str) -> list[str]:
    """Read the texts that a version was trained or evaluated on from the data that its pipeline run recorded.

    Args:
        registry: The registry.
        version: The version.
        part: train or held_out.

    Returns:
        The texts.

    Raises:
        InputError: They are not recorded; the error has no fix.
    """
    from mlflow.exceptions import MlflowException

    problem = f"the posts of version {version.version} are not recorded"
    if not version.run_id:
        raise InputError(problem, "")
    try:
        run = registry.client.get_run(version.run_id)
        filter_run = steps_of(registry.store, run.data.tags.get(PARENT_TAG, version.run_id)).get("filter")
    except (MlflowException, PlatformError) as error:
        if "RESOURCE_DOES_NOT_EXIST" not in (getattr(error, "error_code", ""), getattr(error.__cause__, "error_code", "")):
            raise
        raise InputError(problem, "") from error
    if not filter_run:
        raise InputError(problem, "")
    source = open_artifact_store(f"{filter_run.info.artifact_uri}/data", registry.store.tracking_uri)
    try:
        return [str(json.loads(line)["text"]) for line in fetch_text(source, PARTS[part]).split("\n") if line]
    except (InputError, ValueError, KeyError, TypeError) as error:
        raise InputError(problem, "") from error


def known_posts(registry: Registry, version: BotVersion) -> frozenset[str]:
    """Return the digests (mynah.data.text_digests.key) of the posts that a version was trained on, also through its ancestors.

    Raises InputError when its posts are not recorded, or its files are gone.
    """
    return frozenset(map(text_digests.key, recorded_texts(registry, version, "train"))) | inherited_digests(registry, version)


def inherited_digests(registry: Registry, version: BotVersion) -> frozenset[str]:
    """Return the digests of the posts that only a version's ancestors were trained on."""
    return text_digests.read_seen(registry.checkpoint(version)) if CONTINUED_TAG in version.tags else frozenset()


def authors_without_posts(authors: Iterable[str], data: Path) -> set[str]:
    """Return those of `authors` who have no post in a folder of kept texts."""
    present = {author_key(author) for author in authors_in(data)}
    return {author for author in authors if author_key(author) not in present}


def record_ancestors(run: StepRun, authors: Iterable[str]) -> None:
    """Tag a run with the authors of the model that it continues, so that a search for them finds the run.

    Call it before training: a model of their posts must never exist without the tag.
    """
    run.tags_now(authors_tags(sorted(authors), ANCESTORS))


def unmark_ancestors(run: StepRun, authors: Iterable[str]) -> None:
    """Undo `record_ancestors`, when training started from another model after all.

    Others may have read the tags, so they are emptied, not removed.
    """
    run.tags_now(dict.fromkeys(authors_tags(sorted(authors), ANCESTORS), "[]"))


def steps_of_version(registry: Registry, version: BotVersion) -> dict[str, Any]:
    """Return the step runs of the pipeline run that produced a version, by step name; {} where the run is gone."""
    from mlflow.exceptions import MlflowException

    if not version.run_id:
        return {}
    with store_errors(registry.store.tracking_uri):
        try:
            run = registry.client.get_run(version.run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return {}
    return steps_of(registry.store, run.data.tags.get(PARENT_TAG, version.run_id))
