"""Remove old versions and runs, but never what an alias or an endpoint refers to, or what was published.

A version is removed before its files, and its files before the rows that lead to them, so that an interruption leaves no version without
files; files that no version needs are found by the next prune. A base model goes when no adapter of it is left. Importing mlflow takes
seconds, so only functions import it.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from mynah.core.erasing import erase
from mynah.core.errors import InputError
from mynah.maintenance.bases import unused_bases
from mynah.maintenance.handed_on import HandedOn, find_handed_on
from mynah.maintenance.kubeflow_records import KubeflowRecords
from mynah.maintenance.submissions import unused_submissions
from mynah.maintenance.training_states import KeptStates, find_states
from mynah.mlflow_client.client import all_pages, client, experiment, store_errors
from mynah.mlflow_client.store import BOT_TAG, Store
from mynah.registry.base_store import remove_unused
from mynah.registry.locks import alias_lock
from mynah.registry.published_copies import PUBLISHED
from mynah.registry.registry import Registry
from mynah.registry.versions import Bot, BotVersion
from mynah.storage.local import FolderArtifactStore
from mynah.storage.open import direct_uri, open_artifact_store
from mynah.storage.work_folder import current_uri, require_own_parts
from mynah.tracking.kfp_runs import running_kfp_runs
from mynah.tracking.runs import steps_of
from mynah.tracking.tags import FOLDER_TAG, PARENT_TAG

if TYPE_CHECKING:
    from mynah.kubernetes.cluster import Cluster
    from mynah.kubernetes.endpoint import Endpoint

GRACE_PERIOD = timedelta(hours=24)  # a model without a version, or a run, may still be in progress
STATES_KEPT = timedelta(days=7)  # of a run that was stopped and not resumed since: training states, and files in the bucket


@dataclass(frozen=True, slots=True)
class PruneSettings:
    """The settings of pruning that a person can choose."""

    keep: int = 3  # keep the newest versions of each bot
    days: float = 0  # and everything younger

    def __post_init__(self) -> None:
        if self.keep < 0 or not 0 <= self.days < 1e6:
            raise InputError(f"keep is {self.keep} and days {self.days}", "Give numbers from 0 up.")


@dataclass(frozen=True, slots=True)
class Pruned:
    """An item that was removed, or would be."""

    kind: str  # version, model, base, run, files, states or submission
    name: str
    why: str


Report = Callable[[Pruned], None]


def prune(
    store: Store,
    cluster: "Cluster | None",
    names: Sequence[str],
    settings: PruneSettings,
    report: Report,
    *,
    kubeflow: KubeflowRecords | None = None,
    dry_run: bool = False,
) -> None:
    """Remove old versions that nothing refers to, with their files and runs.

    Args:
        store: The tracking store.
        cluster: The cluster whose endpoints are in use, or None.
        names: The bots; all when empty.
        settings: What to keep.
        report: Called for each item right before its removal.
        kubeflow: The Kubeflow whose runs and schedules may need specifications and posts in the bucket; without it, those all stay.
        dry_run: Only report.

    Raises:
        InputError: Something to remove lies outside the work folder of a store that lies in one.
        PlatformError: A store, the cluster or Kubeflow fails: what cannot be seen is not considered unused.
    """
    require_own_parts(store)
    registry = Registry(store)
    removals = _removals(registry, cluster.endpoints() if cluster else [], names, settings)
    for item, remove in itertools.chain(removals, _submission_removals(store, kubeflow, settings, names)):
        report(item)
        if not dry_run:
            remove()


def _removals(
    registry: Registry, endpoints: "Sequence[Endpoint]", names: Sequence[str], settings: PruneSettings
) -> Iterator[tuple[Pruned, Callable[[], None]]]:
    """Yield each item with what removes it. An item is looked for when those before it are removed."""
    store = registry.store
    for name in names or registry.names():
        for version in _old_versions(registry, registry.bot(name), endpoints, settings):
            item = Pruned("version", f"{name} {version.version}", f"of {version.created_at:%Y-%m-%d}, and nothing refers to it")
            yield item, partial(_remove_version, registry, name, version.version, endpoints)
    for model in _orphans(registry, endpoints):
        yield Pruned("model", model.model_id, "its files belong to no version"), partial(_remove_model, store, model)
    for base_digest in unused_bases(registry, endpoints):
        yield Pruned("base", base_digest, "no adapter refers to it"), partial(remove_unused, store, base_digest)
    for run in _old_runs(registry, settings, names):
        item = Pruned("run", run.info.run_id, f"{run.info.run_name}: none of its versions is left")
        yield item, partial(_remove_run, store, run)
    for files, bot in _old_handed_on(store, settings, names):
        about = f"of a run of {bot or 'an unknown bot'} that has been over since {files.changed:%Y-%m-%d}"
        yield Pruned("files", files.address, about), files.remove
    for states in _old_states(store, names):
        about = f"a training run of {states.bot} that was stopped on {states.changed:%Y-%m-%d}"
        yield Pruned("states", states.address, about), states.remove


def _old_versions(registry: Registry, bot: Bot, endpoints: "Sequence[Endpoint]", settings: PruneSettings) -> Iterator[BotVersion]:
    before = datetime.now(UTC) - timedelta(days=settings.days)
    for version in bot.versions[settings.keep :]:
        if version.created_at < before and not _in_use(registry, bot, version, endpoints):
            yield version


def _in_use(registry: Registry, bot: Bot, version: BotVersion, endpoints: "Sequence[Endpoint]") -> bool:
    if version.version in bot.aliases.values() or version.tags.get(PUBLISHED):  # `mynah forget` finds the copy by the tag
        return True
    if not endpoints:
        return False
    try:
        uri = registry.uri(version)
    except InputError:  # the location of its files is unknown, so an endpoint may serve them
        return True
    return any(endpoint.refers_to(direct_uri(uri)) for endpoint in endpoints)


def _remove_version(registry: Registry, name: str, number: int, endpoints: "Sequence[Endpoint]") -> None:
    """Remove a version and its files under the lock of the aliases, unless a promotion has chosen it since.

    Args:
        registry: The registry.
        name: The bot.
        number: The version.
        endpoints: The endpoints in use.
    """
    with alias_lock(name, registry.store) as still_held, store_errors(registry.store.tracking_uri):
        bot = registry.head(name, number)
        version = next((candidate for candidate in bot.versions if candidate.version == number), None)
        if not version or _in_use(registry, bot, version, endpoints):
            return
        _require_removable(registry, version)
        still_held()
        registry.client.delete_model_version(name, str(number))
    used = _models_in_use(registry)
    if version.model_id and version.model_id not in used:
        with store_errors(registry.store.tracking_uri):
            model = registry.client.get_logged_model(version.model_id)
        if _address(registry, model.artifact_location) not in used:
            _remove_model(registry.store, model)


def _require_removable(registry: Registry, version: BotVersion) -> None:
    """Raise InputError when a version's files cannot be removed, so that it is not removed without them."""
    if version.model_id:
        files = registry.files(version)
        if isinstance(files, FolderArtifactStore):
            files.require_removable()


def _remove_model(store: Store, model: Any) -> None:  # noqa: ANN401 - MLflow's entity
    open_artifact_store(model.artifact_location, store.tracking_uri).remove()
    with store_errors(store.tracking_uri):
        client(store.tracking_uri).delete_logged_model(model.model_id)


def _orphans(registry: Registry, endpoints: "Sequence[Endpoint]") -> Iterator[Any]:
    """Yield logged models of Mynah's experiment without a version in any registered model, unless they may be being registered."""
    api, used = registry.client, _models_in_use(registry)
    with store_errors(registry.store.tracking_uri):
        before = (datetime.now(UTC) - GRACE_PERIOD).timestamp() * 1000
        for model in all_pages(lambda token: api.search_logged_models([experiment(registry.store)], page_token=token)):
            address = _address(registry, model.artifact_location)
            free = not {model.model_id, address} & used
            served = any(endpoint.refers_to(direct_uri(address)) for endpoint in endpoints)
            if free and not served and model.last_updated_timestamp < before:
                yield model


def _models_in_use(registry: Registry) -> set[str]:
    """Return the logged models of all versions of all registered models, by id and by the address of their files.

    Versions may share one: MLflow's page copies them, and a version may name another one (models:/NAME/N) or an address.
    """
    from mlflow.exceptions import MlflowException

    api, used = registry.client, set[str]()
    with store_errors(registry.store.tracking_uri):
        for version in all_pages(lambda token: api.search_model_versions(max_results=1000, page_token=token)):
            source = str(version.source)
            used |= {source.removeprefix("models:/"), _address(registry, source), str(version.model_id or "")}
            if not source.startswith("models:/m-"):
                with contextlib.suppress(MlflowException):
                    used.add(_address(registry, api.get_model_version_download_uri(version.name, version.version)))
    return used


def _address(registry: Registry, uri: str) -> str:
    """Return an address as it is compared with others: where its files lie now; the recorded one where they lie outside the work folder."""
    try:
        return current_uri(uri, registry.store.tracking_uri).rstrip("/")
    except InputError:
        return uri.rstrip("/")


def _old_runs(registry: Registry, settings: PruneSettings, names: Sequence[str]) -> Iterator[Any]:
    """Yield ended pipeline runs beyond the newest ones, without remaining versions."""
    api, store = registry.client, registry.store
    with store_errors(store.tracking_uri):
        bots = {bot.name: {version.run_id for version in bot.versions} for bot in registry.bots()}
        runs = list(all_pages(lambda token: api.search_runs([experiment(store)], max_results=500, page_token=token)))
    children: dict[str, set[str]] = {}
    for run in runs:
        children.setdefault(run.data.tags.get(PARENT_TAG, run.info.run_id), set()).add(run.info.run_id)
    before = (datetime.now(UTC) - max(GRACE_PERIOD, timedelta(days=settings.days))).timestamp() * 1000
    seen: dict[str, int] = {}
    for run in runs:  # MLflow returns the newest first
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


def _old_handed_on(store: Store, settings: PruneSettings, names: Sequence[str]) -> Iterator[tuple[HandedOn, str]]:
    """Yield the files in the bucket of old runs on a cluster that are over, each with its bot."""
    before = datetime.now(UTC) - max(STATES_KEPT, timedelta(days=settings.days))
    old = [each for each in find_handed_on() if each.changed < before]
    running = running_kfp_runs(store) if old else set()
    for each in old:
        bot = each.bot()
        if each.kfp_run not in running and (not names or bot in names):
            yield each, bot


def _submission_removals(
    store: Store, kubeflow: KubeflowRecords | None, settings: PruneSettings, names: Sequence[str]
) -> Iterator[tuple[Pruned, Callable[[], None]]]:
    """Yield the specification and posts of each old submission that nothing on the cluster reads again, with what removes them."""
    for each in unused_submissions(store, kubeflow, datetime.now(UTC) - max(STATES_KEPT, timedelta(days=settings.days))):
        bot = each.bot()
        if not names or bot in names:
            about = f"the specification and posts of a run of {bot or 'an unknown bot'} that is over, or was never made"
            yield Pruned("submission", each.address, about), each.remove


def _old_states(store: Store, names: Sequence[str]) -> Iterator[KeptStates]:
    before = datetime.now(UTC) - STATES_KEPT
    for states in find_states(store.folder):
        if states.changed < before and not states.is_gone and (not names or states.bot in names):
            yield states


def _remove_run(store: Store, run: Any) -> None:  # noqa: ANN401 - MLflow's entity
    api = client(store.tracking_uri)
    for member in (*steps_of(store, run.info.run_id).values(), run):
        open_artifact_store(member.info.artifact_uri, store.tracking_uri).remove()
        with store_errors(store.tracking_uri):
            api.delete_run(member.info.run_id)
    # The tag is untrusted, never a path: it only selects among existing folders.
    for folder in (store.folder / "runs").glob("*") if store.folder else ():
        if folder.name == run.data.tags.get(FOLDER_TAG) and folder.is_dir() and (folder / "order.json").is_file():
            erase(folder, [store.folder] if store.folder else [])
