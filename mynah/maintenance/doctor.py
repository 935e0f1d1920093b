"""doctor: check that what the registry refers to exists: files of every alias, base models, endpoints, the lock, unfinished work."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from mynah.core.errors import InputError, MynahError
from mynah.core.file_system import require_file_system
from mynah.maintenance.bases import changed_files, examine_bases
from mynah.mlflow_client.client import experiment, store_errors
from mynah.mlflow_client.store import BOT_TAG, Store, unsent_folder
from mynah.registry.history import events
from mynah.registry.locks import alias_lock
from mynah.registry.registry import Registry
from mynah.registry.versions import Bot
from mynah.storage.open import direct_uri, open_artifact_store
from mynah.storage.s3 import S3ArtifactStore
from mynah.tracking.moved_folder import left_behind

if TYPE_CHECKING:
    from mynah.kubernetes.cluster import Cluster

STALE = timedelta(days=1)  # a run that is RUNNING for longer was probably killed


@dataclass(frozen=True, slots=True)
class Finding:
    """A result of a check."""

    about: str
    problem: str  # "" for none
    fix: str = ""

    @property
    def is_well(self) -> bool:
        """Whether there is no problem."""
        return not self.problem


def examine(store: Store, cluster: "Cluster | None", *, deep: bool = False) -> Iterator[Finding]:
    """Check everything, and yield a finding for each part.

    Args:
        store: The tracking store.
        cluster: The cluster whose endpoints to check, or None.
        deep: Read every file of every alias and compare its digest.

    Yields:
        A finding for each part, with or without a problem.

    Raises:
        PlatformError: The store itself does not respond.
    """
    registry = Registry(store)
    yield Finding(f"the store {store.shown}", "")
    yield _kernels()
    yield _lock(store)
    yield from _disk(store)
    bots = registry.bots()
    for bot in bots:
        yield from _aliases(registry, bot, deep)
        yield from _history(bot)
    for base in examine_bases(store, deep=deep):
        yield Finding(base.about, base.problem, base.fix)
    yield from _endpoints(registry, bots, cluster)
    yield from _runs(registry)
    yield from _uploads(registry)
    yield from _left_over(store)


def _kernels() -> Finding:
    """Report the decoder kernels of this machine."""
    about = "the decoder's kernels"
    try:
        from mynah.decoding.kernels import chosen, describe  # importing torch takes seconds, and the data image lacks it

        return Finding(f"{about}: {describe(chosen())}", "")
    except ImportError:
        return Finding(f"{about}: none, because torch is not installed here", "")
    except MynahError as error:
        return Finding(about, error.problem, error.fix)


def _lock(store: Store) -> Finding:
    if _is_read_only(store):
        return Finding("the lock of promotions: none is needed in a folder that is read-only", "")
    try:
        with alias_lock("mynah-doctor", store, timeout=5):
            return Finding("the lock of promotions", "")
    except MynahError as error:
        return Finding("the lock of promotions", error.problem, error.fix)


def _disk(store: Store) -> Iterator[Finding]:
    if not store.folder or not store.folder.is_dir():
        return
    if _is_read_only(store):
        yield Finding(f"the disk of {store.folder}: read-only, so that bots can be shown, asked and served, and not be made", "")
        return
    try:
        require_file_system(store.folder)
        yield Finding(f"the disk of {store.folder}", "")
    except MynahError as error:
        yield Finding(f"the disk of {store.folder}", error.problem, error.fix)


def _is_read_only(store: Store) -> bool:
    return not store.is_server and store.folder is not None and store.folder.is_dir() and not os.access(store.folder, os.W_OK)


def _aliases(registry: Registry, bot: Bot, deep: bool) -> Iterator[Finding]:
    for alias, number in sorted(bot.aliases.items()):
        about = f"{bot.name} {alias} (version {number})"
        version = bot.at(alias)
        fix = f"Promote another version (mynah promote {bot.name} --version N, or mynah rollback {bot.name}), or train it again."
        if not version:
            yield Finding(about, "the registry has no such version", fix)
            continue
        try:
            source = registry.files(version)
            problems = registry.faults(version) or (changed_files(source) if deep else [])
            if problems and (elsewhere := left_behind(registry.store, [source.uri])):
                fix = f"Its files are still where the work folder was: cp -r {elsewhere[0]}/. {source.uri}/"
        except MynahError as error:
            problems = [error.problem]
        yield Finding(
            about,
            "; ".join(problems[:3]) + (f" and {len(problems) - 3} more" if len(problems) > 3 else ""),
            fix if problems else "",
        )


def _history(bot: Bot) -> Iterator[Finding]:
    history = events(bot)
    if history and not history[-1].done:
        problem = f"its last {history[-1].action}, to version {history[-1].version}, was interrupted"
        yield Finding(f"{bot.name} history", problem, f"The next `mynah promote {bot.name}` or rollback completes it first.")


def _endpoints(registry: Registry, bots: list[Bot], cluster: "Cluster | None") -> Iterator[Finding]:
    if not cluster:
        return
    known = set()
    for bot in bots:
        for version in bot.versions:
            try:
                uri = registry.uri(version)
            except InputError:  # reported for the aliases above
                continue
            try:
                known.add(direct_uri(uri))
            except InputError as error:
                yield Finding("inference services", error.problem, error.fix)
                return
    for endpoint in cluster.endpoints():
        about = f"inference service {endpoint.namespace}/{endpoint.name}"
        if endpoint.bot and not any(endpoint.refers_to(uri) for uri in known):
            yield Finding(
                about, f"it serves {', '.join(endpoint.storage_uris) or 'nothing'}, which no version has", "Deploy a version."
            )
        elif endpoint.bot:
            yield Finding(about, "")


def _runs(registry: Registry) -> Iterator[Finding]:
    before = int((datetime.now(UTC) - STALE).timestamp() * 1000)
    query = f"attributes.status = 'RUNNING' and attributes.start_time < {before} and tags.`{BOT_TAG}` LIKE '%'"
    with store_errors(registry.store.tracking_uri):
        runs: list[Any] = list(registry.client.search_runs([experiment(registry.store)], query, max_results=100))
    for run in runs:
        about, fix = f"run {run.info.run_id} of {run.info.run_name}", "If nothing works on it any more, end it on MLflow's page."
        yield Finding(about, "it has been RUNNING for more than a day", fix)


def _uploads(registry: Registry) -> Iterator[Finding]:
    with store_errors(registry.store.tracking_uri):
        root = registry.client.get_experiment(experiment(registry.store)).artifact_location
    try:
        store = open_artifact_store(direct_uri(root), registry.store.tracking_uri)
    except InputError:  # behind a server, in an unknown bucket
        return
    if isinstance(store, S3ArtifactStore):
        count = sum(1 for _ in store.uploads())
        yield Finding(
            store.uri,
            f"{count} uploads never ended; their parts take space" if count else "",
            "Abort them, or set a lifecycle rule.",
        )


def _left_over(store: Store) -> Iterator[Finding]:
    if not store.folder:
        return
    waiting = len(list(unsent_folder(store.folder).glob("*/operations.jsonl")))
    if waiting:
        yield Finding(
            "records of runs", f"those of {waiting} steps wait to be sent", "They are sent by the next mynah run or mynah bots."
        )
    for journal in (store.folder / ".forgetting").glob("*.json"):
        yield Finding(
            "forgetting", f"an erasure was stopped in the middle ({journal.name})", "Run the same `mynah forget` again."
        )
