"""The commands that show and maintain bots: bots, show, diff, rollback, prune, doctor."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mynah.core.errors import InputError, PlatformError
from mynah.core.files import path_exists
from mynah.core.progress import strip_control_chars, waiting
from mynah.core.settings import KF_PIPELINES_ENDPOINT, MYNAH_KUBE_CONTEXT, MYNAH_S3_BUCKET
from mynah.mlflow_client.store import public, server_address
from pipelines.cli.options import DEFAULT_WORKDIR, Json, Workdir, existing, print_json, result
from pipelines.flat_signature import flatten
from pipelines.kubeflow.cluster_spec import Connection

if TYPE_CHECKING:
    from mynah.kubernetes.cluster import Cluster
    from mynah.registry.registry import Registry
    from pipelines.kubeflow.kept_records import KeptRecords

Bot = Annotated[str, typer.Argument(help="The bot.")]
Context = Annotated[
    str,
    typer.Option(
        envvar=MYNAH_KUBE_CONTEXT.name, help="The kubeconfig context of the cluster that serves bots; in a pod, its own."
    ),
]
NoCluster = Annotated[bool, typer.Option("--no-cluster", help="No cluster serves from this store.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be removed; change nothing.")]


def bots(workdir: Workdir = DEFAULT_WORKDIR, as_json: Json = False) -> None:
    """List the bots: champion, verdict, date."""
    listed = _registry(workdir).bots() if server_address() or path_exists(workdir / "mlflow.db") else []
    from pipelines.cli.render_bots import bot_record, show_bots

    if as_json:
        print_json([bot_record(bot) for bot in listed])
    else:
        show_bots(listed, public(server_address()) or str(workdir))


def show(name: Bot, workdir: Workdir = DEFAULT_WORKDIR, as_json: Json = False) -> None:
    """Show a bot's versions (verdict, data, consent, cost) and all decisions about them."""
    from pipelines.cli.bot_history import bot_history
    from pipelines.cli.render_bots import show_history

    record = bot_history(_registry(workdir), name)
    if as_json:
        print_json(record)
    else:
        show_history(record)


def diff(
    name: Bot,
    one: Annotated[str, typer.Argument(metavar="V1", help="A version's number, or an alias: champion, challenger, previous.")],
    other: Annotated[str, typer.Argument(metavar="V2", help="The other one.")],
    workdir: Workdir = DEFAULT_WORKDIR,
    as_json: Json = False,
) -> None:
    """Compare two versions: metrics, funnel, data, recipe, lineage."""
    from mynah.registry.versions import parse_version
    from pipelines.cli.bot_history import difference
    from pipelines.cli.render_bots import show_difference

    record = difference(_registry(workdir), name, parse_version(one), parse_version(other))
    if as_json:
        print_json(record)
    else:
        show_difference(record)


def rollback(name: Bot, workdir: Workdir = DEFAULT_WORKDIR, as_json: Json = False) -> None:
    """Make the previous champion the champion again; the current champion becomes the previous one."""
    from dataclasses import asdict

    with waiting("Rolling back"):
        from components.promote.step import rollback
        from mynah.tracking.open import open_store

        decision = rollback(name, open_store(existing(workdir)))
    text = f"{name} version {decision.version} is the champion again, and version {decision.previous} the previous one"
    result(asdict(decision), text, as_json)


@flatten
def prune(
    names: Annotated[list[str] | None, typer.Argument(help="The bots; all by default.")] = None,
    keep: Annotated[int, typer.Option(min=0, help="The number of newest versions and runs to keep per bot.")] = 3,
    days: Annotated[float, typer.Option(min=0, help="Keep everything younger than this many days.")] = 0,
    context: Context = "",
    no_cluster: NoCluster = False,
    dry_run: DryRun = False,
    workdir: Workdir = DEFAULT_WORKDIR,
    *,
    connection: Connection,
    as_json: Json = False,
) -> None:
    """Remove old versions with their files and runs, and what runs that ended a week ago left; never what an alias, a service or a schedule uses."""
    from dataclasses import asdict

    from mynah.maintenance.prune import Pruned, PruneSettings, prune
    from mynah.tracking.open import open_store

    settings, removed = PruneSettings(keep, days), list[Pruned]()
    cluster = known_cluster(context, no_cluster)

    def report(item: Pruned) -> None:
        removed.append(item)
        if not as_json:
            name, why = strip_control_chars(item.name), strip_control_chars(item.why)
            print(f"{'would remove' if dry_run else 'removing'} {item.kind} {name}: {why}", flush=True)

    with waiting("Opening the registry"):
        store = open_store(existing(workdir))
    prune(store, cluster, names or [], settings, report, kubeflow=_kubeflow_of_runs(connection), dry_run=dry_run)
    if as_json:
        print_json([asdict(item) for item in removed])
    elif not removed:
        print("Nothing to remove.")


def _kubeflow_of_runs(connection: Connection) -> "KeptRecords | None":
    """Return the Kubeflow whose runs have files in the bucket, or None where none is named. Raises as `Kubeflow.connect`."""
    if not MYNAH_S3_BUCKET.get() or not (connection.endpoint or KF_PIPELINES_ENDPOINT.get()):
        return None
    with waiting("Connecting to Kubeflow"):
        from pipelines.kubeflow.kept_records import KeptRecords

        return KeptRecords.connect(connection.endpoint, connection.namespace, connection.token_file)


def doctor(
    deep: Annotated[bool, typer.Option("--deep", help="Also read all files of all aliases and compare their digests.")] = False,
    context: Context = "",
    workdir: Workdir = DEFAULT_WORKDIR,
    as_json: Json = False,
) -> None:
    """Check that everything the registry refers to exists. Exit code 3 when something is missing."""
    from dataclasses import asdict

    with waiting("Examining"):
        from mynah.maintenance.doctor import examine
        from mynah.tracking.open import open_store
        from pipelines.cli.render_bots import show_findings

        findings = list(examine(open_store(existing(workdir)), named_cluster(context), deep=deep))
    if as_json:
        print_json([{**asdict(finding), "is_well": finding.is_well} for finding in findings])
    else:
        show_findings(findings)
    ill = [finding for finding in findings if not finding.is_well]
    if ill:
        raise PlatformError(f"{len(ill)} of {len(findings)} are not well: {ill[0].about} for one", "Each has its fix beside it.")


def _registry(workdir: Path) -> "Registry":
    with waiting("Opening the registry"):
        from mynah.registry.registry import Registry
        from mynah.tracking.open import open_store

        return Registry(open_store(existing(workdir)))


def named_cluster(context: str) -> "Cluster | None":
    """Return the cluster of a kubeconfig context, or None without one."""
    from mynah.kubernetes.cluster import Cluster

    return Cluster.connect(context)


def known_cluster(context: str, no_cluster: bool) -> "Cluster | None":
    """Return the cluster that serves from the store, or None.

    Args:
        context: the kubeconfig context.
        no_cluster: whether the user stated that no cluster serves from the store.

    Raises:
        InputError: the store is shared, and neither was given.
    """
    cluster = named_cluster(context)
    if not cluster and server_address() and not no_cluster:
        raise InputError(
            "the cluster is unknown, so it is unknown which versions inference services use",
            "Name the cluster with --context, or add --no-cluster when there is none.",
        )
    return cluster


COMMANDS: dict[str, Callable[..., None]] = {
    "bots": bots, "show": show, "diff": diff, "rollback": rollback, "prune": prune, "doctor": doctor,
}  # fmt: skip
