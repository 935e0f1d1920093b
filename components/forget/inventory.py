"""What there is of an author or a bot, in every place: MLflow's database, artifact stores, this machine's folders, a cluster.

Found anew on every call, from the database's own rows: also what MLflow only marks as deleted, and what an earlier attempt that was
killed left behind. Rows of runs are erased last, since they lead to all else.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from components.checkpoint_cache import cache_folder
from components.copies import PUBLISHED, copies
from components.database import Database
from components.erase import Item, file_items, row_item, stored_items
from components.errors import InputError
from components.fetch.s3 import UPLOADS_TAG, uploads_of
from components.forget.states import states_of_subject
from components.forget.uploads import uploads_of_author, uploads_of_bot
from components.lineage import AUTHORS_TAG, author_key, authors_of, same_author
from components.names import author_name, bot_name
from components.store import BOT_TAG, Store, cards_folder, unsent_folder
from components.tracking import FOLDER_TAG, PARENT_TAG, STEP_TAG

if TYPE_CHECKING:
    from components.cluster import Cluster


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom or what to forget: an author ("@ann") or a bot ("wren")."""

    name: str
    is_author: bool

    @classmethod
    def parse(cls, text: str) -> "Subject":
        """Read `@author` or a bot's name. Raises InputError for what is neither."""
        if text.startswith("@"):
            if author_key(text) == "unknown":
                raise InputError(f"{text!r} names no author", "Write mynah forget @HANDLE for an author, or a bot's name.")
            return cls(author_name(text), True)
        return cls(bot_name(text), False)

    @property
    def key(self) -> str:
        """A digest of it, for names of files."""
        return hashlib.sha256(f"{self.is_author} {author_key(self.name)}".encode()).hexdigest()[:16]

    def __str__(self) -> str:
        return f"@{self.name}" if self.is_author else self.name


@dataclass(slots=True)
class PipelineRun:
    """A pipeline run of the store that is to be forgotten, with what belongs to it."""

    run_id: str
    bot: str
    authors: list[str]
    folder: str
    steps: dict[str, str] = field(default_factory=dict)  # run id to the step's name
    places: list[str] = field(default_factory=list)  # artifact URIs
    models: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Found:
    """All there is of a subject, in the order to erase it."""

    items: list[Item]
    runs: list[PipelineRun]
    bots: list[str]  # of which nothing stays

    @property
    def blends(self) -> list[PipelineRun]:
        """The runs that used other authors too."""
        return [run for run in self.runs if len(run.authors) > 1]


def find(subject: Subject, store: Store, database: Database, cluster: "Cluster | None") -> Found:
    """Find everything of `subject`. Raises PlatformError when a place cannot be looked into: then nothing is known to be all."""
    runs = list(_runs(subject, database))
    versions = _versions(subject, runs, database)
    bots = _whole_bots(subject, runs, versions, database)
    models = sorted({model for run in runs for model in run.models})
    places = list(dict.fromkeys(uri for run in runs for uri in run.places))
    uploaded = list(uploads_of_author(subject.name) if subject.is_author else uploads_of_bot(subject.name))
    items = [
        *_published(versions, database),
        *_endpoints(cluster, bots, places),
        *(row_item("version", version, database) for version in versions),
        *(row_item("bot", bot, database) for bot in bots),
        *(item for uri in (*places, *uploaded) for item in stored_items(uri)),
        *states_of_subject(store.folder, "" if subject.is_author else subject.name, subject.name),
        *_local(subject, store, runs, models, versions),
        *(row_item("model", model, database) for model in models),
        *(row_item("run", run_id, database) for run in runs for run_id in (*run.steps, run.run_id)),
    ]
    return Found(list(dict.fromkeys(items)), runs, bots)


def _runs(subject: Subject, database: Database) -> Iterator[PipelineRun]:
    tags = database.rows("tags", "key", [BOT_TAG, FOLDER_TAG, PARENT_TAG, STEP_TAG, UPLOADS_TAG])
    tags += database.rows_from("tags", "key", AUTHORS_TAG)
    by_run: dict[str, dict[str, str]] = {}
    for row in tags:
        by_run.setdefault(str(row["run_uuid"]), {})[str(row["key"])] = str(row["value"])
    children: dict[str, dict[str, str]] = {}
    for run_id, found in by_run.items():
        if parent := found.get(PARENT_TAG):
            children.setdefault(parent, {})[run_id] = found.get(STEP_TAG, "")
    for run_id, found in by_run.items():
        steps = children.get(run_id, {})
        # A step names its authors too: it may have been killed before it told the pipeline's run.
        authors = list(dict.fromkeys(name for each in (run_id, *steps) for name in authors_of(by_run[each])))
        ours = (
            any(same_author(each, subject.name) for each in authors) if subject.is_author else found.get(BOT_TAG) == subject.name
        )
        if BOT_TAG in found and ours:
            run = PipelineRun(run_id, found[BOT_TAG], authors, found.get(FOLDER_TAG, ""), steps)
            _add_places(run, database)
            run.places += dict.fromkeys(uri for each in (run_id, *steps) for uri in uploads_of(by_run[each].get(UPLOADS_TAG, "")))
            yield run


def _add_places(run: PipelineRun, database: Database) -> None:
    run_ids = [run.run_id, *run.steps]
    models = database.rows("logged_models", "source_run_id", run_ids)
    run.models = [str(row["model_id"]) for row in models]
    run.places = [str(row["artifact_uri"]) for row in database.rows("runs", "run_uuid", run_ids)]
    run.places += [str(row["artifact_location"]) for row in models]


def _versions(subject: Subject, runs: Iterable[PipelineRun], database: Database) -> list[str]:
    """The versions to erase as BOT/NUMBER: all of a bot; those that a run made; those whose own tags name the author.

    Also versions under another name that have the same files: MLflow's page copies versions so.
    """
    run_ids = [run_id for run in runs for run_id in (run.run_id, *run.steps)]
    rows = database.rows("model_versions", "run_id", run_ids)
    rows += database.rows("model_versions", "source", [f"models:/{model}" for run in runs for model in run.models])
    if subject.is_author:
        tags: dict[str, dict[str, str]] = {}
        for row in database.rows_from("model_version_tags", "key", AUTHORS_TAG):
            tags.setdefault(f"{row['name']}/{row['version']}", {})[str(row["key"])] = str(row["value"])
        named = {key for key, found in tags.items() if any(same_author(each, subject.name) for each in authors_of(found))}
    else:
        rows += database.rows("model_versions", "name", [subject.name])
        named = set()
    return sorted(named | {f"{row['name']}/{row['version']}" for row in rows})


def _whole_bots(subject: Subject, runs: Iterable[PipelineRun], versions: list[str], database: Database) -> list[str]:
    """The registered models of which no version stays."""
    touched = {subject.name} if not subject.is_author else {run.bot for run in runs} | {each.split("/")[0] for each in versions}
    there = [str(row["name"]) for row in database.rows("registered_models", "name", sorted(touched))]
    rows = database.rows("model_versions", "name", there)
    staying = {
        str(row["name"]) for row in rows if f"{row['name']}/{row['version']}" not in versions and _is_active(row["current_stage"])
    }
    return sorted(set(there) - staying)


def _is_active(stage: object) -> bool:
    return stage != "Deleted_Internal"  # MLflow's mark of a deleted version, whose row stays


def _published(versions: list[str], database: Database) -> Iterator[Item]:
    """The repositories of a hub that hold one of the versions: first to go, since others take copies from there."""
    for row in database.rows("model_version_tags", "key", [PUBLISHED]):
        if f"{row['name']}/{row['version']}" in versions:
            for copy in copies(str(row["value"])):
                yield Item("published", copy.url, "", copy.commit)


def _endpoints(cluster: "Cluster | None", bots: list[str], places: list[str]) -> Iterator[Item]:
    for endpoint in cluster.endpoints() if cluster else ():
        if endpoint.bot in bots or any(endpoint.refers_to(uri) for uri in _addresses(places)):
            yield Item("endpoint", f"{endpoint.namespace}/{endpoint.name}", "", endpoint.uid)


def _addresses(places: Iterable[str]) -> Iterator[str]:
    from components.artifacts import direct_uri

    for uri in places:
        try:
            yield direct_uri(uri)
        except InputError:
            yield uri


def _local(subject: Subject, store: Store, runs: list[PipelineRun], models: list[str], versions: list[str]) -> Iterator[Item]:
    """This machine's files: run folders, cards, fetched checkpoints, records that wait, what was put aside, Kubeflow's local cache."""
    if subject.is_author:
        from components.fetch.x_pages import copied_pages, kept_pages

        yield from file_items(kept_pages(subject.name))  # of a timeline that was paid for, and cut off
        if copy := copied_pages(subject.name):
            yield from stored_items(copy)
    if not store.folder:
        return
    names = {run.folder for run in runs if run.folder}
    for folder in sorted((store.folder / "runs").glob("*")):
        if folder.name in names or _is_about(folder, subject):
            yield from file_items(folder)
    for bot in sorted({run.bot for run in runs} | ({subject.name} if not subject.is_author else set())):
        yield from file_items(cards_folder(store.folder) / bot)  # it shows all of a blend's authors
    cached = [*models, *(version.replace("/", "-") for version in versions)]
    for path in sorted(cache_folder(store).glob("*")) + sorted(cache_folder(store).glob(".*")):
        if path.name.lstrip(".").split(".")[0] in cached:  # also a lock, and what a fetch that was killed left
            yield from file_items(path)
    run_ids = {run_id for run in runs for run_id in (run.run_id, *run.steps)}
    for kept in sorted(unsent_folder(store.folder).glob("*-*")):
        if kept.name.rpartition("-")[0] in run_ids or (subject.is_author and _holds_author(kept, subject.name)):
            yield from file_items(kept)
    for rest in sorted((store.folder / ".forgetting").glob("rest-*")):  # of a blend that another author left
        if (subject.is_author and _holds_author(rest, subject.name)) or (
            not subject.is_author and rest.name.split("-", 2)[-1] == subject.name
        ):
            yield from file_items(rest)
    if runs:  # a cache cannot tell whose results it holds
        for cache in sorted(store.folder.rglob(".kfp_cache")):
            yield from file_items(cache)


def _is_about(folder: Path, subject: Subject) -> bool:
    """Whether a run's folder is of the subject, by what lies in it: a run that was killed early may not be in MLflow."""
    if subject.is_author:
        return _holds_author(folder, subject.name)
    try:
        return bool(json.loads((folder / "order.json").read_text("utf-8"))["arguments"]["name"] == subject.name)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _holds_author(folder: Path, author: str) -> bool:
    """Whether a line of a JSONL file below `folder` names the author."""
    return any(_names(path, author) for path in folder.rglob("*.jsonl"))


def _names(path: Path, author: str) -> bool:
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):  # half-written
                continue
            if isinstance(record, dict) and same_author(str(record.get("author") or ""), author):
                return True
    return False
