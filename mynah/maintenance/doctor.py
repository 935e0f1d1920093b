"""doctor: whether what the registry promises is there: files of every alias, endpoints, the lock, records and erasures left half-way."""

import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.artifacts import Place, direct_uri, place
from components.errors import InputError, MynahError
from components.locks import alias_lock
from components.manifest import faults, read_manifest
from components.promote.history import events
from components.registry import Bot, Registry
from components.store import BOT_TAG, Store, experiment, store_errors, unsent_folder

if TYPE_CHECKING:
    from components.cluster import Cluster

STALE = timedelta(days=1)  # a run that is RUNNING for longer was probably killed


@dataclass(frozen=True, slots=True)
class Finding:
    """What the doctor saw."""

    about: str
    problem: str  # "" when it is well
    fix: str = ""

    @property
    def is_well(self) -> bool:
        """Whether there is nothing to do."""
        return not self.problem


def examine(store: Store, cluster: "Cluster | None", *, deep: bool = False) -> Iterator[Finding]:
    """Look at everything, and yield what is well and what is not. `deep` reads every file of every alias and compares its digest.

    Raises PlatformError when the store itself does not answer.
    """
    registry = Registry(store)
    yield Finding(f"the store {store.shown}", "")
    yield _lock(store)
    bots = registry.bots()
    for bot in bots:
        yield from _aliases(registry, bot, deep)
        yield from _history(bot)
    yield from _endpoints(registry, bots, cluster)
    yield from _runs(registry)
    yield from _uploads(registry)
    yield from _left_over(store)


def _lock(store: Store) -> Finding:
    try:
        with alias_lock("mynah-doctor", store, patience=5):
            return Finding("the lock of promotions", "")
    except MynahError as error:
        return Finding("the lock of promotions", error.problem, error.fix)


def _aliases(registry: Registry, bot: Bot, deep: bool) -> Iterator[Finding]:
    for alias, number in sorted(bot.aliases.items()):
        about = f"{bot.name} {alias} (version {number})"
        version = bot.at(alias)
        fix = f"Promote another version (mynah promote {bot.name} --version N, or mynah rollback {bot.name}), or make it again."
        if not version:
            yield Finding(about, "the registry has no such version", fix)
            continue
        try:
            source = registry.files(version)
            found = faults(source) or (_changed(source) if deep else [])
        except MynahError as error:
            found = [error.problem]
        yield Finding(
            about, "; ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else ""), fix if found else ""
        )


def _changed(source: Place) -> list[str]:
    """The files whose bytes are not those that were registered."""
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "file"
        for name, entry in read_manifest(source).items():
            source.get(name, path)
            with path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != entry.sha256:
                    found.append(f"{name} is not what was registered: its digest differs")
    return found


def _history(bot: Bot) -> Iterator[Finding]:
    past = events(bot)
    if past and not past[-1].done:
        problem = f"its last {past[-1].action}, to version {past[-1].version}, was stopped in the middle"
        yield Finding(f"{bot.name} history", problem, f"The next `mynah promote {bot.name}` or rollback completes it first.")


def _endpoints(registry: Registry, bots: list[Bot], cluster: "Cluster | None") -> Iterator[Finding]:
    if not cluster:
        return
    known = set()
    for bot in bots:
        for version in bot.versions:
            try:
                uri = registry.uri(version)
            except InputError:  # told of the aliases above
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
        found: list[Any] = list(registry.client.search_runs([experiment(registry.store)], query, max_results=100))
    for run in found:
        about, fix = f"run {run.info.run_id} of {run.info.run_name}", "If nothing works on it any more, end it on MLflow's page."
        yield Finding(about, "it has been RUNNING for more than a day", fix)


def _uploads(registry: Registry) -> Iterator[Finding]:
    from components.artifact_s3 import S3Place

    with store_errors(registry.store.tracking_uri):
        root = registry.client.get_experiment(experiment(registry.store)).artifact_location
    try:
        source = place(direct_uri(root))
    except InputError:  # behind a server, which keeps its bucket to itself
        return
    if isinstance(source, S3Place):
        count = sum(1 for _ in source.uploads())
        yield Finding(
            source.uri,
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
