"""Upgrade the servers of all deployed bots, one after the other: each keeps the version that it serves, and gets this version of Mynah.

A bot's former pods serve until its new ones are ready, and an upgrade ends with the first bot that does not become ready, which is then
restored. So at most one bot is unready, and what was done stays done: repeating it goes on.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from components.deploy.kserve_modes import canaries
from components.deploy.manifest import FORCED, SERVICES, Serving, has_storage_uris, version_of
from components.deploy.server_side_apply import MANAGER, require_kserve
from components.deploy.settings import DeploySettings
from components.deploy.step import Deployed, deploy
from mynah.core.errors import MynahError, PlatformError
from mynah.kubernetes.cluster import Cluster, Object
from mynah.kubernetes.endpoint import BOT_LABEL


@dataclass(frozen=True, slots=True)
class DeployedBot:
    """A bot with an InferenceService of its own, and the version that it serves."""

    name: str
    version: int
    is_ready: bool
    forced: str = ""  # the reason for which it was deployed against the gate
    is_merged: bool = False  # an adapter is served merged into its base model
    left: str = ""  # why an upgrade leaves it as it is; "" for none


def deployed_bots(cluster: Cluster, namespace: str) -> list[DeployedBot]:
    """Return the bots of a namespace, those first that are not ready.

    Args:
        cluster: The cluster.
        namespace: The namespace.

    Raises:
        InputError: KServe is not installed.
        PlatformError: The API fails or denies access.
    """
    listed = cluster.call("GET", SERVICES.path(namespace), query=(("labelSelector", BOT_LABEL),), rule=SERVICES.rule)
    if listed is None:
        require_kserve(cluster)
    bots = [_deployed_bot(live) for live in (listed or {}).get("items") or []]
    return sorted(bots, key=lambda bot: (bot.is_ready, bot.name))


def upgrade(
    servings: Sequence[Serving], cluster: Cluster, settings: DeploySettings, *, dry_run: bool = False
) -> Iterator[Deployed]:
    """Deploy bots one after the other, each as `deploy` does.

    Args:
        servings: What each bot serves, those first that are not ready.
        cluster: The cluster.
        settings: How to deploy them.
        dry_run: Only validate.

    Yields:
        The result for each.

    Raises:
        MynahError: A bot did not become ready, or another one is not any more; its fix says how to go on.
    """
    for number, serving in enumerate(servings):
        rest = (
            f"{number} of {len(servings)} bots are done, and the others are as they were; `mynah deploy --all` goes on with them"
        )
        try:
            if not dry_run:
                _require_ready(cluster, settings.namespace, {each.name for each in servings[:number]})
            done = deploy(serving, cluster, settings, dry_run=dry_run)
        except MynahError as error:
            raise type(error)(f"{serving.name}: {error.problem}\n{rest}", error.fix) from error
        yield done


def to_upgrade(bots: Sequence[DeployedBot], serving_of: Callable[[DeployedBot], Serving]) -> list[Serving]:
    """Return what each bot serves, before anything is changed.

    Args:
        bots: The bots; those to be left are left out.
        serving_of: Looks a bot's version up.

    Raises:
        MynahError: A version cannot be looked up, or must not be deployed.
    """
    servings = []
    for bot in bots:
        if not bot.left:
            try:
                servings.append(serving_of(bot))
            except MynahError as error:
                raise type(error)(f"{bot.name} serves version {bot.version}: {error.problem}", error.fix) from error
    return servings


def _require_ready(cluster: Cluster, namespace: str, names: set[str]) -> None:
    unready = [bot.name for bot in deployed_bots(cluster, namespace) if bot.name in names and not bot.is_ready]
    if unready:
        raise PlatformError(
            f"not begun, because {', '.join(unready)} is not ready any more",
            f"See why: kubectl describe isvc {unready[0]} -n {namespace}",
        )


def _deployed_bot(live: Object) -> DeployedBot:
    metadata, stable = live["metadata"], live["spec"]["predictor"]
    conditions = (live.get("status") or {}).get("conditions") or []
    return DeployedBot(
        metadata["name"],
        version_of(stable),
        any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions),
        str((metadata.get("annotations") or {}).get(FORCED, "")),
        not has_storage_uris(stable),
        _left(live),
    )


def _left(live: Object) -> str:
    """Return why an upgrade leaves an InferenceService as it is; "" for none."""
    stable = live["spec"]["predictor"]
    managers = {each.get("manager") for each in live["metadata"].get("managedFields") or [] if each.get("operation") == "Apply"}
    if MANAGER not in managers or not version_of(stable):
        return f"applied by {', '.join(sorted(map(str, managers))) or 'another tool'}, and not by `mynah deploy`"
    if canaries(live) or stable.get("canaryTrafficPercent") is not None:
        return "it has a canary: promote it, or take it back, first"
    return ""
