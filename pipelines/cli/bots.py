"""The commands that look at bots and take care of them: bots, show, diff, rollback, prune, doctor, forget, receipt, remember."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from components.errors import InputError, PlatformError
from components.events import visible, waiting
from components.files import there_is
from components.store import server_address
from pipelines.options import DEFAULT_WORKDIR, Json, Workdir, existing, print_json, result

if TYPE_CHECKING:
    from components.cluster import Cluster
    from components.forget.blends import Rest
    from components.registry import Registry

Bot = Annotated[str, typer.Argument(help="The bot.")]
Context = Annotated[
    str,
    typer.Option(envvar="MYNAH_KUBE_CONTEXT", help="The kubeconfig context of the cluster that serves bots; in a pod, its own."),
]
NoCluster = Annotated[bool, typer.Option("--no-cluster", help="No cluster serves from this store.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would go; change nothing.")]


def bots(workdir: Workdir = DEFAULT_WORKDIR, as_json: Json = False) -> None:
    """What bots there are: champion, verdict, date."""
    found = _registry(workdir).bots() if server_address() or there_is(workdir / "mlflow.db") else []
    from pipelines.show_bots import bot_record, show_bots

    if as_json:
        print_json([bot_record(bot) for bot in found])
    else:
        show_bots(found)


def show(name: Bot, workdir: Workdir = DEFAULT_WORKDIR, as_json: Json = False) -> None:
    """A bot's versions (verdict, data, consent, cost) and every decision about them."""
    from pipelines.history import bot_history
    from pipelines.show_bots import show_history

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
    """How two versions differ: metrics, funnel, data, recipe, lineage."""
    from pipelines.history import difference
    from pipelines.show_bots import show_difference

    record = difference(_registry(workdir), name, one, other)
    if as_json:
        print_json(record)
    else:
        show_difference(record)


def rollback(name: Bot, workdir: Workdir = DEFAULT_WORKDIR, as_json: Json = False) -> None:
    """Make the previous champion the champion again; the two swap places."""
    from dataclasses import asdict

    with waiting("Rolling back"):
        from components.promote import rollback as work
        from components.store import open_store

        decision = work(name, open_store(existing(workdir)))
    told = f"{name} version {decision.version} is the champion again, and version {decision.previous} the previous one"
    result(asdict(decision), told, as_json)


def prune(
    names: Annotated[list[str] | None, typer.Argument(help="The bots; all when none is named.")] = None,
    keep: Annotated[int, typer.Option(min=0, help="The newest versions and runs of each bot that stay.")] = 3,
    days: Annotated[float, typer.Option(min=0, help="What is younger than so many days stays.")] = 0,
    context: Context = "",
    no_cluster: NoCluster = False,
    dry_run: DryRun = False,
    workdir: Workdir = DEFAULT_WORKDIR,
    as_json: Json = False,
) -> None:
    """Remove old versions, their files and runs, and trainings ended a week ago; never what an alias or a service refers to."""
    from dataclasses import asdict

    from components.prune import Pruned, PruneSettings
    from components.prune import prune as work
    from components.store import open_store

    settings, gone = PruneSettings(keep, days), list[Pruned]()
    cluster = _known_cluster(context, no_cluster)

    def tell(each: Pruned) -> None:
        gone.append(each)
        if not as_json:
            print(
                f"{'would remove' if dry_run else 'removing'} {each.kind} {visible(each.name)}: {visible(each.why)}", flush=True
            )

    with waiting("Opening the registry"):
        store = open_store(existing(workdir))
    work(store, cluster, names or [], settings, tell, dry_run=dry_run)
    if as_json:
        print_json([asdict(each) for each in gone])
    elif not gone:
        print("Nothing to remove.")


def doctor(
    deep: Annotated[bool, typer.Option("--deep", help="Read every file of every alias and compare its digest.")] = False,
    context: Context = "",
    workdir: Workdir = DEFAULT_WORKDIR,
    as_json: Json = False,
) -> None:
    """Whether all that the registry promises is there. Exit code 3 when something is not."""
    from dataclasses import asdict

    with waiting("Examining"):
        from components.doctor import examine
        from components.store import open_store
        from pipelines.show_bots import show_findings

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
    blends: Annotated[str, typer.Option(help="What becomes of bots that used other authors too: retrain or remove.")] = "",
    receipt: Annotated[Path | None, typer.Option(help="Where to write the receipt; else in the work folder's receipts/.")] = None,
    context: Context = "",
    no_cluster: NoCluster = False,
    dry_run: DryRun = False,
    workdir: Workdir = DEFAULT_WORKDIR,
    as_json: Json = False,
) -> None:
    """Erase everything of an author or a bot from every store and endpoint, with a signed receipt. A dry run shows what."""
    from dataclasses import asdict
    from typing import cast

    from components import forget as work
    from components.forget.find import Subject
    from components.store import open_store
    from pipelines.show_bots import show_forgotten

    if blends not in ("", "remove", "retrain"):
        raise InputError(f"--blends is {blends!r}", "Use retrain or remove.")
    found, cluster = Subject.parse(subject), _known_cluster(context, no_cluster)
    with waiting("Opening the registry"):
        store = open_store(existing(workdir))
    if dry_run:
        with waiting("Looking everywhere"):
            done = work.look(found, store, cluster)
    else:
        done = work.forget(found, store, cluster, cast(work.Blends, blends), receipt)
    if as_json:
        where = str(done.receipt) if done.receipt else None
        print_json({"subject": subject, "items": [asdict(item) for item in done.items], "blends": done.blends, "receipt": where})
    else:
        show_forgotten(done)
    for rest in done.retrain:
        _make_again(rest, workdir, as_json)


def receipt(
    file: Annotated[Path, typer.Argument(help="A receipt that `mynah forget` wrote.")],
    context: Context = "",
    workdir: Workdir = DEFAULT_WORKDIR,
    as_json: Json = False,
) -> None:
    """Check a receipt: its signature, and that everything on it is still gone. Exit code 3 when something is back."""
    from components import forget as work
    from components.erase import Item
    from components.forget import receipt as receipts
    from components.store import open_store

    record = receipts.read(file)
    items, back = receipts.items(record), list[Item]()
    with waiting("Looking for each"):
        work.check(record, items, open_store(existing(workdir)), _cluster(context), back.append)
    told = {
        "subject": str(record["subject"]), "finished": str(record["finished"]), "key": receipts.fingerprint(record),
        "items": len(items), "back": [f"{item.kind} {item.address}" for item in back],
    }  # fmt: skip
    if as_json:
        print_json(told)
    elif not back:
        print(visible(f"Genuine, signed with key {told['key']}. All {len(items)} things of {told['subject']} are still gone."))
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
    """Let an author who was forgotten be fetched again, because they agree to it."""
    from components.forget.find import Subject
    from components.store import open_store
    from components.tombstones import lift

    subject = Subject.parse(author)
    if not subject.is_author:
        raise InputError(f"{author!r} is no author", f"Write mynah remember @{author}.")
    lifted = lift(open_store(existing(workdir)), subject.name)
    told = f"{subject} may be fetched again" if lifted else f"{subject} was not forgotten"
    result({"author": subject.name, "lifted": lifted}, told, as_json)


def _registry(workdir: Path) -> "Registry":
    with waiting("Opening the registry"):
        from components.registry import Registry
        from components.store import open_store

        return Registry(open_store(existing(workdir)))


def _cluster(context: str) -> "Cluster | None":
    from components.cluster import Cluster

    return Cluster.connect(context)


def _known_cluster(context: str, no_cluster: bool) -> "Cluster | None":
    """The cluster that serves from the store. Raises InputError for a shared store where nobody said which one, or that there is none."""
    cluster = _cluster(context)
    if not cluster and server_address() and not no_cluster:
        raise InputError(
            "nothing tells which versions inference services refer to",
            "Name their cluster with --context, or say --no-cluster when there is none.",
        )
    return cluster


def _make_again(rest: "Rest", workdir: Path, as_json: bool) -> None:
    """Run the pipeline of a blend again on what is left of its posts, by its own recipe."""
    from dataclasses import fields

    from components.finetune.recipe import Recipe, read
    from components.forget.blends import drop_rest
    from pipelines.launch import Order, launch
    from pipelines.show import show_outcome

    names = {field.name for field in fields(Recipe)}
    recipe = read(None, [f"{key}={value}" for key, value in rest.params.items() if key in names])
    params = {"base_model": "fledgling", "rules": "default", "limit": "0", **rest.params}
    order = Order(rest.bot, [str(rest.raw)], workdir, params["base_model"], params["rules"], recipe, int(params["limit"]))
    outcome = launch(order)
    drop_rest(rest)
    if not as_json:
        with suppress(BrokenPipeError):
            show_outcome(outcome, workdir)


COMMANDS: dict[str, Callable[..., None]] = {
    "bots": bots, "show": show, "diff": diff, "rollback": rollback, "prune": prune, "doctor": doctor, "forget": forget,
    "receipt": receipt, "remember": remember,
}  # fmt: skip
