"""The commands that show and maintain bots: bots, show, diff, rollback, prune, doctor, forget, receipt, remember."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mynah.core.errors import InputError, PlatformError
from mynah.core.files import path_exists
from mynah.core.progress import strip_control_chars, waiting
from mynah.core.settings import MYNAH_KUBE_CONTEXT
from mynah.mlflow_client.store import public, server_address
from pipelines.cli.options import DEFAULT_WORKDIR, Json, Workdir, existing, print_json, result

if TYPE_CHECKING:
    from mynah.kubernetes.cluster import Cluster
    from mynah.registry.registry import Registry

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


def prune(
    names: Annotated[list[str] | None, typer.Argument(help="The bots; all by default.")] = None,
    keep: Annotated[int, typer.Option(min=0, help="The number of newest versions and runs to keep per bot.")] = 3,
    days: Annotated[float, typer.Option(min=0, help="Keep everything younger than this many days.")] = 0,
    context: Context = "",
    no_cluster: NoCluster = False,
    dry_run: DryRun = False,
    workdir: Workdir = DEFAULT_WORKDIR,
    as_json: Json = False,
) -> None:
    """Remove old versions with their files and runs, and the training states of runs that ended a week ago; never what an alias or a service uses."""
    from dataclasses import asdict

    from mynah.maintenance.prune import Pruned, PruneSettings, prune
    from mynah.tracking.open import open_store

    settings, removed = PruneSettings(keep, days), list[Pruned]()
    cluster = _known_cluster(context, no_cluster)

    def report(item: Pruned) -> None:
        removed.append(item)
        if not as_json:
            name, why = strip_control_chars(item.name), strip_control_chars(item.why)
            print(f"{'would remove' if dry_run else 'removing'} {item.kind} {name}: {why}", flush=True)

    with waiting("Opening the registry"):
        store = open_store(existing(workdir))
    prune(store, cluster, names or [], settings, report, dry_run=dry_run)
    if as_json:
        print_json([asdict(item) for item in removed])
    elif not removed:
        print("Nothing to remove.")


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

        findings = list(examine(open_store(existing(workdir)), _cluster(context), deep=deep))
    if as_json:
        print_json([{**asdict(finding), "is_well": finding.is_well} for finding in findings])
    else:
        show_findings(findings)
    ill = [finding for finding in findings if not finding.is_well]
    if ill:
        raise PlatformError(f"{len(ill)} of {len(findings)} are not well: {ill[0].about} for one", "Each has its fix beside it.")


def forget(
    subject: Annotated[str, typer.Argument(metavar="@AUTHOR|BOT", help="An author with @ before the handle, or a bot's name.")],
    blends: Annotated[str, typer.Option(help="What to do with bots that used other authors too: retrain or remove.")] = "",
    receipt: Annotated[Path | None, typer.Option(help="The receipt's file; by default in receipts/ in the work folder.")] = None,
    context: Context = "",
    no_cluster: NoCluster = False,
    dry_run: DryRun = False,
    yes: Annotated[bool, typer.Option("--yes", help="Erase without a question: for scripts, which have no terminal.")] = False,
    tombstone_only: Annotated[
        bool, typer.Option("--tombstone-only", help="Bar an author in advance: no run fetches them, and nothing is erased.")
    ] = False,
    workdir: Workdir = DEFAULT_WORKDIR,
    as_json: Json = False,
) -> None:
    """Erase all data of an author or a bot from all stores and endpoints, and write a signed receipt.

    Shows what it erases and asks first. --dry-run only shows it.
    """
    from dataclasses import asdict
    from typing import cast

    from components.forget.inventory import Subject
    from components.forget.receipt import require_place
    from components.forget.step import Blends, forget, preview
    from mynah.tracking.open import open_store
    from pipelines.cli.forget import bar_author, confirmed, run_again
    from pipelines.cli.render_bots import show_forgotten

    if tombstone_only:
        if blends or receipt or dry_run:
            raise InputError("--tombstone-only erases nothing", "Leave out --blends, --receipt and --dry-run.")
        bar_author(Subject.parse(subject), workdir, as_json)
        return
    if blends not in ("", "remove", "retrain"):
        raise InputError(f"--blends is {blends!r}", "Use retrain or remove.")
    if receipt:
        require_place(receipt)
    parsed, cluster = Subject.parse(subject), _known_cluster(context, no_cluster)
    with waiting("Opening the registry"):
        store = open_store(existing(workdir))
    if dry_run:
        with waiting("Searching all stores"):
            done = preview(parsed, store, cluster)
    else:
        done = forget(parsed, store, cluster, cast(Blends, blends), receipt, None if yes else confirmed(store.folder, as_json))
    if as_json:
        where = str(done.receipt) if done.receipt else None
        items = [asdict(item) for item in done.items]
        record = {"subject": subject, "items": items, "blends": done.blends, "receipt": where}
        print_json({**record, "not_searched": list(done.not_searched)})
    else:
        show_forgotten(done, store.folder)
    for rest in done.retrain:
        run_again(rest, workdir, as_json)


def receipt(
    file: Annotated[Path, typer.Argument(help="A receipt that `mynah forget` wrote.")],
    context: Context = "",
    workdir: Workdir = DEFAULT_WORKDIR,
    as_json: Json = False,
) -> None:
    """Check a receipt's signature, and that the erased data does not exist again. Exit code 3 when some does."""
    from components.forget import receipt as receipts
    from components.forget.check_receipt import check
    from mynah.maintenance.erasers import ErasableItem
    from mynah.tracking.open import open_store

    record = receipts.read(file)
    items, back = receipts.items(record), list[ErasableItem]()
    with waiting("Searching all stores"):
        check(record, items, open_store(existing(workdir)), _cluster(context), back.append)
    checked = {
        "subject": str(record["subject"]), "finished": str(record["finished"]), "key": receipts.fingerprint(record),
        "items": len(items), "back": [f"{item.kind} {item.address}" for item in back],
    }  # fmt: skip
    if as_json:
        print_json(checked)
    elif not back:
        print(
            strip_control_chars(
                f"Genuine, signed with key {checked['key']}. All {len(items)} things of {checked['subject']} are still gone."
            )
        )
    if back:
        raise PlatformError(
            f"{len(back)} of {len(items)} things are there again: {back[0].kind} {back[0].address} for one",
            "Run `mynah forget` again.",
        )


def remember(
    author: Annotated[str, typer.Argument(metavar="@AUTHOR", help="An author who agrees again.")],
    workdir: Workdir = DEFAULT_WORKDIR,
    as_json: Json = False,
) -> None:
    """Allow fetching a forgotten author again, with their agreement."""
    from components.forget.inventory import Subject
    from mynah.registry.forgotten_authors import unmark_forgotten
    from mynah.tracking.open import open_store

    subject = Subject.parse(author)
    if not subject.is_author:
        raise InputError(f"{author!r} is no author", f"Write mynah remember @{author}.")
    lifted = unmark_forgotten(open_store(existing(workdir)), subject.name)
    text = f"{subject} may be fetched again" if lifted else f"{subject} was not forgotten"
    result({"author": subject.name, "lifted": lifted}, text, as_json)


def _registry(workdir: Path) -> "Registry":
    with waiting("Opening the registry"):
        from mynah.registry.registry import Registry
        from mynah.tracking.open import open_store

        return Registry(open_store(existing(workdir)))


def _cluster(context: str) -> "Cluster | None":
    from mynah.kubernetes.cluster import Cluster

    return Cluster.connect(context)


def _known_cluster(context: str, no_cluster: bool) -> "Cluster | None":
    """Return the cluster that serves from the store, or None.

    Args:
        context: the kubeconfig context.
        no_cluster: whether the user stated that no cluster serves from the store.

    Raises:
        InputError: the store is shared, and neither was given.
    """
    cluster = _cluster(context)
    if not cluster and server_address() and not no_cluster:
        raise InputError(
            "the cluster is unknown, so it is unknown which versions inference services use",
            "Name the cluster with --context, or add --no-cluster when there is none.",
        )
    return cluster


COMMANDS: dict[str, Callable[..., None]] = {
    "bots": bots, "show": show, "diff": diff, "rollback": rollback, "prune": prune, "doctor": doctor, "forget": forget,
    "receipt": receipt, "remember": remember,
}  # fmt: skip
