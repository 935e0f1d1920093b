"""`mynah deploy --all`: upgrades the servers of all deployed bots, one after the other."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from mynah.core.errors import InputError
from mynah.core.progress import notify, strip_control_chars, waiting
from pipelines.cli.options import result

if TYPE_CHECKING:
    from components.deploy.settings import DeploySettings
    from components.deploy.step import Deployed, Serving
    from components.deploy.upgrade import DeployedBot
    from mynah.kubernetes.cluster import Cluster
    from mynah.mlflow_client.store import Store


def deploy_all(store: "Store", cluster: "Cluster", settings: "DeploySettings", *, dry_run: bool, as_json: bool) -> None:
    """Deploy each bot again with the version that it serves, and print the results.

    Args:
        store: The tracking store.
        cluster: The cluster.
        settings: How to deploy them.
        dry_run: Only validate, and print what would change.
        as_json: Print JSON.

    Raises:
        InputError: No bot is deployed there.
        MynahError: A bot did not become ready; the others are not begun.
    """
    from components.deploy.step import record, serving_of
    from components.deploy.upgrade import deployed_bots, to_upgrade, upgrade

    def look_up(bot: "DeployedBot") -> "Serving":
        return serving_of(bot.name, store, bot.version, bot.forced, merged=bot.is_merged)

    with waiting("Looking for deployed bots"):
        bots = deployed_bots(cluster, settings.namespace)
        servings = to_upgrade(bots, look_up)
    if not bots:
        raise InputError(
            f"no bot is deployed in the namespace {settings.namespace!r}", "Deploy one, or name another --namespace."
        )
    done = []
    with waiting(f"Upgrading {len(servings)} bots"):
        for each in upgrade(servings, cluster, settings, dry_run=dry_run):
            done.append(each)
            if not dry_run and each.action != "unchanged":
                record(each, store)
                notify(f"{each.name} is upgraded: {len(done)} of {len(servings)}")
    _show(done, [bot for bot in bots if bot.left], as_json)


def _show(done: "list[Deployed]", left: "list[DeployedBot]", as_json: bool) -> None:
    from components.deploy.diff_text import describe_upgrade

    upgraded = [{"name": each.name, "version": each.version, "action": each.action} for each in done]
    left_out = [{key: value for key, value in asdict(bot).items() if key in ("name", "version", "left")} for bot in left]
    text = [describe_upgrade(each) for each in done] + [f"{bot.name} is left as it is: {bot.left}" for bot in left]
    result({"bots": upgraded, "left": left_out}, strip_control_chars("\n".join(text)), as_json)
