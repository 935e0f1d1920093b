"""Find everything of an author or a bot: in MLflow's database, artifact stores, this machine's folders and a cluster.

Every call searches again, in the database's own rows, which include what MLflow only marks as deleted and what an interrupted attempt
left. Rows of runs come last, since they lead to everything else.
"""

import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from components.fetch.s3_sources import UPLOADS_TAG, uploads_of
from components.fetch.x.api_pages import pages_copy_uri, pages_file
from components.forget.bases import addresses_of_bases, bases_of_models, cached_bases
from components.forget.in_kubeflow import InKubeflow, Traces, find_in_kubeflow
from components.forget.known import tombstones_beside
from components.forget.local_files import holds_author, kfp_caches, saved_posts
from components.forget.reach import Reach, uses_kubeflow
from components.forget.run_folders import WORKERS, folders_of_subject, read_run_folders
from components.forget.subject import Subject
from components.forget.uploads import bucket_of_uploads, uploads_of_author, uploads_of_bot
from mynah.core.errors import InputError
from mynah.core.names import BOT_NAME
from mynah.core.walking import listed, searching
from mynah.data.authors import AUTHORS_TAG, authors_of, same_author
from mynah.maintenance.erasers import ErasableItem, file_items, row_item, stored_items
from mynah.maintenance.training_states import states_of_subject
from mynah.mlflow_client.store import BOT_TAG, Store, cards_folder, unsent_folder
from mynah.registry.checkpoint_cache import cache_folder
from mynah.registry.published_copies import PUBLISHED, parse_copies
from mynah.storage.open import direct_uri
from mynah.tracking.database import Database
from mynah.tracking.kfp_runs import KFP_RUN_TAG, is_kfp_run
from mynah.tracking.tags import FOLDER_TAG, PARENT_TAG, STEP_TAG

DELETED = "Deleted_Internal"  # MLflow's mark of a deleted version, whose row stays


@dataclass(slots=True)
class PipelineRun:
    """A pipeline run to forget, with what belongs to it."""

    run_id: str
    bot: str
    authors: list[str]
    folder: str
    kfp_run: str = ""  # the id of the run in Kubeflow; "" for one on a laptop
    steps: dict[str, str] = field(default_factory=dict)  # run id to step name
    artifact_uris: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Inventory:
    """Everything of a subject, in the order in which to erase it."""

    items: list[ErasableItem]
    runs: list[PipelineRun]
    bots: list[str]  # of which nothing remains
    kubeflow: InKubeflow
    is_on_kubeflow: bool  # whether runs of this store, of any bot, were made in Kubeflow
    run_ids: list[str]  # of its runs in the bucket
    unread: list[str]  # addresses of runs in the bucket whose specification cannot be read

    @property
    def blends(self) -> list[PipelineRun]:
        """The runs that also used other authors."""
        return [run for run in self.runs if len(run.authors) > 1]


def find(subject: Subject, store: Store, database: Database, reach: Reach) -> Inventory:
    """Find everything of a subject.

    Args:
        subject: The author or bot.
        store: The tracking store.
        database: MLflow's database.
        reach: The clusters to search.

    Returns:
        Everything, in the order in which to erase it.

    Raises:
        PlatformError: A place cannot be searched, so the result would be incomplete.
    """
    runs = list(_runs(subject, database))
    versions = _versions(subject, runs, database)
    bots = _whole_bots(subject, runs, versions, database)
    models = sorted({model for run in runs for model in run.models})
    bases = bases_of_models(models, database)
    artifact_uris = [*dict.fromkeys(uri for run in runs for uri in run.artifact_uris), *addresses_of_bases(bases, store)]
    uploads = list(uploads_of_author(subject.name) if subject.is_author else uploads_of_bot(subject.name))
    folders = read_run_folders(bucket_of_uploads())
    bots_of_runs: dict[str, set[str]] = {}
    for run in runs:
        bots_of_runs.setdefault(run.kfp_run, set()).add(run.bot)
    theirs = folders_of_subject(subject, folders, bots_of_runs)
    marks = tombstones_beside(subject, store) if reach.kubeflow else ()
    traces = Traces({folder.files.id for folder in theirs}, marks, bots_of_runs.keys() - {""}, {*uploads, *artifact_uris})
    in_kubeflow = find_in_kubeflow(subject, reach.kubeflow, traces)
    items = [
        *in_kubeflow.items(),
        *_published(versions, database),
        *_endpoints(reach, bots, artifact_uris),
        *(row_item("version", version, database) for version in versions),
        *(row_item("bot", bot, database) for bot in bots),
        *_stored([*artifact_uris, *uploads], store),
        *(item for folder in theirs for item in folder.items()),
        *states_of_subject(store.folder, "" if subject.is_author else subject.name, subject.name),
        *_local(subject, store, runs, models, versions),
        *cached_bases(bases, store),
        *(row_item("model", model, database) for model in models),
        *(row_item("run", run_id, database) for run in runs for run_id in (*run.steps, run.run_id)),
    ]
    unread = [folder.files.uri for folder in folders if not folder.bot and folder not in theirs]
    return Inventory(
        list(dict.fromkeys(items)), runs, bots, in_kubeflow, uses_kubeflow(database, folders), list(traces.ids), unread
    )


def _stored(uris: Iterable[str], store: Store) -> Iterator[ErasableItem]:
    """Yield every file at some addresses; many are listed at once, for each is a request."""
    with ThreadPoolExecutor(WORKERS) as pool:
        for items in pool.map(lambda uri: list(stored_items(uri, store.tracking_uri)), uris):
            yield from items


def _runs(subject: Subject, database: Database) -> Iterator[PipelineRun]:
    tags = database.rows("tags", "key", [BOT_TAG, FOLDER_TAG, PARENT_TAG, STEP_TAG, UPLOADS_TAG, KFP_RUN_TAG])
    tags += database.rows_from("tags", "key", AUTHORS_TAG)
    by_run: dict[str, dict[str, str]] = {}
    for row in tags:
        by_run.setdefault(str(row["run_uuid"]), {})[str(row["key"])] = str(row["value"])
    children: dict[str, dict[str, str]] = {}
    for run_id, tags_of_run in by_run.items():
        if parent := tags_of_run.get(PARENT_TAG):
            children.setdefault(parent, {})[run_id] = tags_of_run.get(STEP_TAG, "")
    for run_id, tags_of_run in by_run.items():
        steps = children.get(run_id, {})
        # A step names its authors too: it may have been killed before it tagged the pipeline run.
        authors = list(dict.fromkeys(name for member in (run_id, *steps) for name in authors_of(by_run[member])))
        is_ours = (
            any(same_author(author, subject.name) for author in authors)
            if subject.is_author
            else tags_of_run.get(BOT_TAG) == subject.name
        )
        if BOT_TAG in tags_of_run and is_ours:
            kfp_run = tags_of_run.get(KFP_RUN_TAG, "")
            run = PipelineRun(
                run_id,
                tags_of_run[BOT_TAG],
                authors,
                tags_of_run.get(FOLDER_TAG, ""),
                kfp_run if is_kfp_run(kfp_run) else "",
                steps,
            )
            _add_artifacts(run, database)
            run.artifact_uris += dict.fromkeys(
                uri for member in (run_id, *steps) for uri in uploads_of(by_run[member].get(UPLOADS_TAG, ""))
            )
            yield run


def _add_artifacts(run: PipelineRun, database: Database) -> None:
    run_ids = [run.run_id, *run.steps]
    models = database.rows("logged_models", "source_run_id", run_ids)
    run.models = [str(row["model_id"]) for row in models]
    run.artifact_uris = [str(row["artifact_uri"]) for row in database.rows("runs", "run_uuid", run_ids)]
    run.artifact_uris += [str(row["artifact_location"]) for row in models]


def _versions(subject: Subject, runs: Iterable[PipelineRun], database: Database) -> list[str]:
    """Return the versions to erase as BOT/NUMBER: all of a bot, those that a run created, and those whose own tags name the author.

    Includes versions under other names with the same files: MLflow's page copies versions that way.
    """
    run_ids = [run_id for run in runs for run_id in (run.run_id, *run.steps)]
    rows = database.rows("model_versions", "run_id", run_ids)
    rows += database.rows("model_versions", "source", [f"models:/{model}" for run in runs for model in run.models])
    if subject.is_author:
        tags: dict[str, dict[str, str]] = {}
        for row in database.rows_from("model_version_tags", "key", AUTHORS_TAG):
            tags.setdefault(f"{row['name']}/{row['version']}", {})[str(row["key"])] = str(row["value"])
        named = {
            key
            for key, version_tags in tags.items()
            if any(same_author(author, subject.name) for author in authors_of(version_tags))
        }
    else:
        rows += database.rows("model_versions", "name", [subject.name])
        named = set()
    return sorted(named | {f"{row['name']}/{row['version']}" for row in rows})


def _whole_bots(subject: Subject, runs: Iterable[PipelineRun], versions: list[str], database: Database) -> list[str]:
    """Return the registered models of which no version remains.

    Args:
        subject: The author or bot.
        runs: The runs to erase.
        versions: The versions to erase, as BOT/NUMBER.
        database: MLflow's database.

    Returns:
        Their names, sorted.
    """
    touched = (
        {subject.name} if not subject.is_author else {run.bot for run in runs} | {version.split("/")[0] for version in versions}
    )
    registered = [str(row["name"]) for row in database.rows("registered_models", "name", sorted(touched))]
    rows = database.rows("model_versions", "name", registered)
    left = [row for row in rows if f"{row['name']}/{row['version']}" not in versions and row["current_stage"] != DELETED]
    return sorted(set(registered) - {str(row["name"]) for row in left})


def _published(versions: list[str], database: Database) -> Iterator[ErasableItem]:
    """Yield the hub repositories that hold one of the versions: they are erased first, since others download copies from there."""
    for row in database.rows("model_version_tags", "key", [PUBLISHED]):
        if f"{row['name']}/{row['version']}" in versions:
            for copy in parse_copies(str(row["value"])):
                yield ErasableItem("published", copy.url, "", copy.commit)


def _endpoints(reach: Reach, bots: list[str], artifact_uris: list[str]) -> Iterator[ErasableItem]:
    for endpoint in reach.cluster.endpoints() if reach.cluster else ():
        if endpoint.bot in bots or any(endpoint.refers_to(uri) for uri in _addresses(artifact_uris)):
            yield ErasableItem("endpoint", f"{endpoint.namespace}/{endpoint.name}", "", endpoint.uid)


def _addresses(artifact_uris: Iterable[str]) -> Iterator[str]:
    for uri in artifact_uris:
        try:
            yield direct_uri(uri)
        except InputError:
            yield uri


def _local(
    subject: Subject, store: Store, runs: list[PipelineRun], models: list[str], versions: list[str]
) -> Iterator[ErasableItem]:
    """Yield this machine's files: run folders, cards, cached checkpoints, unsent records, saved posts, Kubeflow's local cache.

    Args:
        subject: The author or bot.
        store: The tracking store, with the work folder.
        runs: The runs to erase.
        models: The ids of the logged models to erase.
        versions: The versions to erase, as BOT/NUMBER.

    Yields:
        The files and folders.
    """
    if subject.is_author:
        yield from file_items(pages_file(subject.name))  # of an interrupted timeline that was paid for
        if copy := pages_copy_uri(subject.name):
            yield from stored_items(copy, store.tracking_uri)
    if not store.folder:
        return
    names = {run.folder for run in runs if run.folder}
    for folder in listed(store.folder / "runs"):
        if folder.name in names or _is_about(folder, subject):
            yield from file_items(folder)
    bots = {run.bot for run in runs} | ({subject.name} if not subject.is_author else set())
    for bot in sorted(filter(BOT_NAME.fullmatch, bots)):  # anybody can write a tag such as ../../other
        yield from file_items(cards_folder(store.folder) / bot)  # a card shows all authors of a blend
    cached = [*models, *(version.replace("/", "-") for version in versions)]
    for path in listed(cache_folder(store)):
        if path.name.lstrip(".").split(".")[0] in cached:  # also a lock, and leftovers of an interrupted download
            yield from file_items(path)
    run_ids = {run_id for run in runs for run_id in (run.run_id, *run.steps)}
    for unsent in listed(unsent_folder(store.folder)):
        if unsent.name.rpartition("-")[0] in run_ids or (subject.is_author and holds_author(unsent, subject.name)):
            yield from file_items(unsent)
    yield from saved_posts(subject, store.folder / ".forgetting")
    if runs:  # a cache does not show whose results it holds
        for cache in kfp_caches(store.folder):
            yield from file_items(cache)


def _is_about(folder: Path, subject: Subject) -> bool:
    """Return whether a run's folder belongs to the subject, by its files: a run that was killed early may not be in MLflow."""
    if subject.is_author:
        return holds_author(folder, subject.name)
    try:
        with searching(folder):
            specification = next((path for name in ("run.json", "order.json") if (path := folder / name).exists()), None)
            record = json.loads(specification.read_text("utf-8") if specification else "")
        return bool(record.get("arguments", record)["name"] == subject.name)
    except (ValueError, KeyError, TypeError):
        return False
