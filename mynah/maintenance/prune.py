"""Removing old versions and runs, but never what an alias or an endpoint refers to, or what was published.

A version goes before its files and its files before the rows that lead to them, so that whatever stops in the middle leaves no
version without files; what it does leave, files that no version needs, the next prune finds.
"""

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from components.artifacts import direct_uri, place
from components.copies import PUBLISHED
from components.errors import InputError
from components.forget.states import Kept, kept_states
from components.locks import alias_lock
from components.registry import Bot, BotVersion, Registry
from components.store import BOT_TAG, Store, client, experiment, store_errors
from components.tracking import FOLDER_TAG, PARENT_TAG

if TYPE_CHECKING:
    from components.cluster import Cluster, Endpoint

GRACE = timedelta(hours=24)  # a model without a version, or a run, may still be at work
STATES_KEPT = timedelta(days=7)  # a training that was ended and that nobody took up again since


@dataclass(frozen=True, slots=True)
class PruneSettings:
    """What a person can choose about pruning."""

    keep: int = 3  # the newest versions of each bot stay
    days: float = 0  # and what is younger

    def __post_init__(self) -> None:
        if self.keep < 0 or not 0 <= self.days < 1e6:
            raise InputError(f"keep is {self.keep} and days {self.days}", "Give numbers from 0 up.")


@dataclass(frozen=True, slots=True)
class Pruned:
    """Something that was removed, or would be."""

    kind: str  # version, model, run or states
    name: str
    why: str


Tell = Callable[[Pruned], None]


def prune(
    store: Store, cluster: "Cluster | None", names: Sequence[str], settings: PruneSettings, tell: Tell, *, dry_run: bool = False
) -> None:
    """Remove the versions of the bots `names` (all: none named) that are old and that nothing refers to, with their files and runs.

    `tell` gets each thing right before it goes. Raises PlatformError when a store or the cluster fails: what cannot be seen is not
    taken for unused.
    """
    registry = Registry(store)
    endpoints = cluster.endpoints() if cluster else []
    for name in names or registry.names():
        for version in _old_versions(registry, registry.bot(name), endpoints, settings):
            tell(Pruned("version", f"{name} {version.version}", f"of {version.created_at:%Y-%m-%d}, and nothing refers to it"))
            if not dry_run:
                _remove_version(registry, name, version.version, endpoints)
    for model in _orphans(registry, endpoints):
        tell(Pruned("model", model.model_id, "its files belong to no version"))
        if not dry_run:
            _remove_model(store, model)
    for run in _old_runs(registry, settings, names):
        tell(Pruned("run", run.info.run_id, f"{run.info.run_name}: none of its versions is left"))
        if not dry_run:
            _remove_run(store, run)
    for kept in _old_states(store, names):
        tell(Pruned("states", kept.address, f"a training of {kept.bot} that was ended on {kept.changed:%Y-%m-%d}"))
        if not dry_run:
            kept.remove()


def _old_versions(registry: Registry, bot: Bot, endpoints: "Sequence[Endpoint]", settings: PruneSettings) -> Iterator[BotVersion]:
    before = datetime.now(UTC) - timedelta(days=settings.days)
    for version in bot.versions[settings.keep :]:
        if version.created_at < before and not _in_use(registry, bot, version, endpoints):
            yield version


def _in_use(registry: Registry, bot: Bot, version: BotVersion, endpoints: "Sequence[Endpoint]") -> bool:
    if version.version in bot.aliases.values() or version.tags.get(PUBLISHED):  # its tag leads `mynah forget` to the copy
        return True
    if not endpoints:
        return False
    try:
        uri = registry.uri(version)
    except InputError:  # nobody knows where its files are, so nobody can say that none of these serves them
        return True
    return any(endpoint.refers_to(direct_uri(uri)) for endpoint in endpoints)


def _remove_version(registry: Registry, name: str, number: int, endpoints: "Sequence[Endpoint]") -> None:
    """Under the lock of the aliases, which are read again: a promotion may have chosen this version meanwhile."""
    with alias_lock(name, registry.store) as still_held, store_errors(registry.store.tracking_uri):
        bot = registry.head(name, number)
        version = next((each for each in bot.versions if each.version == number), None)
        if not version or _in_use(registry, bot, version, endpoints):
            return
        still_held()
        registry.client.delete_model_version(name, str(number))
    used = _models_in_use(registry)
    if version.model_id and version.model_id not in used:
        with store_errors(registry.store.tracking_uri):
            model = registry.client.get_logged_model(version.model_id)
        if model.artifact_location not in used:
            _remove_model(registry.store, model)


def _remove_model(store: Store, model: Any) -> None:  # noqa: ANN401 - MLflow's entity
    place(model.artifact_location, store.tracking_uri).remove()
    with store_errors(store.tracking_uri):
        client(store.tracking_uri).delete_logged_model(model.model_id)


def _orphans(registry: Registry, endpoints: "Sequence[Endpoint]") -> Iterator[Any]:
    """Logged models of Mynah's experiment that no version of any registered model has, and that are not just being registered."""
    api, used = registry.client, _models_in_use(registry)
    with store_errors(registry.store.tracking_uri):
        before = (datetime.now(UTC) - GRACE).timestamp() * 1000
        for model in _all(lambda token: api.search_logged_models([experiment(registry.store)], page_token=token)):
            free = not {model.model_id, model.artifact_location} & used
            served = any(endpoint.refers_to(direct_uri(model.artifact_location)) for endpoint in endpoints)
            if free and not served and model.last_updated_timestamp < before:
                yield model


def _models_in_use(registry: Registry) -> set[str]:
    """The logged models that a version of any registered model has, by id and by the address of its files.

    Versions may share one: MLflow's page copies them, and a version may name another (models:/NAME/N) or an address.
    """
    from mlflow.exceptions import MlflowException

    api, used = registry.client, set[str]()
    with store_errors(registry.store.tracking_uri):
        for version in _all(lambda token: api.search_model_versions(max_results=1000, page_token=token)):
            used |= {str(version.source).removeprefix("models:/"), str(version.source).rstrip("/"), str(version.model_id or "")}
            if not str(version.source).startswith("models:/m-"):
                with contextlib.suppress(MlflowException):
                    used.add(api.get_model_version_download_uri(version.name, version.version).rstrip("/"))
    return used


def _old_runs(registry: Registry, settings: PruneSettings, names: Sequence[str]) -> Iterator[Any]:
    """Ended pipeline runs beyond the newest ones, of which no version is left."""
    api, store = registry.client, registry.store
    with store_errors(store.tracking_uri):
        bots = {bot.name: {version.run_id for version in bot.versions} for bot in registry.bots()}
        runs = list(_all(lambda token: api.search_runs([experiment(store)], max_results=500, page_token=token)))
    children: dict[str, set[str]] = {}
    for run in runs:
        children.setdefault(run.data.tags.get(PARENT_TAG, run.info.run_id), set()).add(run.info.run_id)
    before = (datetime.now(UTC) - max(GRACE, timedelta(days=settings.days))).timestamp() * 1000
    seen: dict[str, int] = {}
    for run in runs:  # MLflow gives the newest first
        bot = run.data.tags.get(BOT_TAG, "")
        if not bot or PARENT_TAG in run.data.tags or (names and bot not in names):
            continue
        seen[bot] = seen.get(bot, 0) + 1
        has_version = bots.get(bot, set()) & {run.info.run_id, *children[run.info.run_id]}
        if (
            seen[bot] > settings.keep
            and not has_version
            and run.info.status != "RUNNING"
            and (run.info.end_time or before) < before
        ):
            yield run


def _old_states(store: Store, names: Sequence[str]) -> Iterator[Kept]:
    before = datetime.now(UTC) - STATES_KEPT
    for kept in kept_states(store.folder):
        if kept.changed < before and not kept.is_gone and (not names or kept.bot in names):
            yield kept


def _remove_run(store: Store, run: Any) -> None:  # noqa: ANN401 - MLflow's entity
    from components.tracking import steps_of

    api = client(store.tracking_uri)
    for each in (*steps_of(store, run.info.run_id).values(), run):
        place(each.info.artifact_uri, store.tracking_uri).remove()
        with store_errors(store.tracking_uri):
            api.delete_run(each.info.run_id)
    # The tag is foreign text, never a path: it only chooses among the folders that there are.
    for folder in (store.folder / "runs").glob("*") if store.folder else ():
        if folder.name == run.data.tags.get(FOLDER_TAG) and folder.is_dir() and (folder / "order.json").is_file():
            shutil.rmtree(folder, ignore_errors=True)


def _all(fetch: Callable[[str | None], Any]) -> Iterator[Any]:
    """Every page of one of MLflow's searches."""
    token = None
    while True:
        page = fetch(token)
        yield from page
        token = page.token
        if not token:
            return
