"""The commands about forgetting: forget, receipt, remember."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mynah.core.errors import InputError, PlatformError
from mynah.core.progress import strip_control_chars, waiting
from mynah.core.settings import KF_PIPELINES_ENDPOINT
from pipelines.cli.bots import Context, DryRun, NoCluster, known_cluster, named_cluster
from pipelines.cli.options import DEFAULT_WORKDIR, Json, Workdir, existing, print_json, result
from pipelines.flat_signature import flatten
from pipelines.kubeflow.cluster_spec import Connection
from pipelines.run_spec import RunSpec, read_recipe

if TYPE_CHECKING:
    from components.forget.shared_runs import RemainingPosts
    from components.forget.subject import Subject
    from components.forget.summary import Forgotten
    from mynah.kubernetes.cluster import Cluster
    from mynah.mlflow_client.store import Store
    from pipelines.kubeflow.kept_records import KeptRecords


def confirmed(workdir: Path | None, as_json: bool) -> "Callable[[Forgotten], None]":
    """Return a function that shows what would be erased, and raises InputError unless a person at the terminal agrees.

    Args:
        workdir: the work folder.
        as_json: whether stdout has the result as JSON, so that the question stands on stderr.
    """
    from pipelines.cli.render_bots import show_plan

    def confirm(plan: "Forgotten") -> None:
        if not (sys.stdin and sys.stdin.isatty()):
            raise InputError(
                f"nothing was erased of {plan.subject}: forget asks first, and there is no terminal to ask on",
                "Look with --dry-run, then erase with --yes.",
            )
        show_plan(
            plan,
            workdir,
            f"This erases of {'the author' if plan.subject.is_author else 'the bot'} {plan.subject}:",
            on_stderr=as_json,
        )
        if not typer.confirm("Erase all of it, for good?", err=as_json):
            raise InputError(f"nothing was erased of {plan.subject}: the answer was no", "Run it again to be asked again.")

    return confirm


def bar_author(subject: "Subject", workdir: Path, as_json: bool) -> None:
    """Bar an author from being fetched, and print since when.

    Args:
        subject: the author.
        workdir: the work folder.
        as_json: whether to print JSON.
    """
    from components.forget.step import bar

    day = bar(subject, workdir)
    text = f"{subject} is barred since {day}: no run fetches their posts until `mynah remember {subject}`. Nothing was erased."
    result({"subject": str(subject), "barred": day, "items": [], "receipt": None}, text, as_json)


def run_again(rest: "RemainingPosts", workdir: Path, as_json: bool) -> None:
    """Run the pipeline of a blend again on its remaining posts, with its own recipe.

    Args:
        rest: the remaining posts.
        workdir: the work folder.
        as_json: whether to omit the printed outcome.
    """
    from dataclasses import fields

    from components.forget.shared_runs import remove_saved
    from mynah.training.recipe import Recipe
    from pipelines.cli.render import show_outcome
    from pipelines.local.launcher import launch

    names = {field.name for field in fields(Recipe)}
    recipe = read_recipe(sets=[f"{key}={value}" for key, value in rest.params.items() if key in names])
    kinds = {"base_model": str, "rules": str, "limit": int}
    kept: dict[str, Any] = {key: kind(rest.params[key]) for key, kind in kinds.items() if key in rest.params}
    outcome = launch(RunSpec(rest.bot, [str(rest.raw)], recipe=recipe, **kept), workdir)
    remove_saved(rest)
    if not as_json:
        with suppress(BrokenPipeError):
            show_outcome(outcome, workdir)


@flatten
def forget(
    subject: Annotated[str, typer.Argument(metavar="@AUTHOR|BOT", help="An author with @ before the handle, or a bot's name.")],
    blends: Annotated[str, typer.Option(help="What to do with bots that used other authors too: retrain or remove.")] = "",
    receipt: Annotated[Path | None, typer.Option(help="The receipt's file; by default in receipts/ in the work folder.")] = None,
    context: Context = "",
    no_cluster: NoCluster = False,
    without_kubeflow: Annotated[
        bool,
        typer.Option("--without-kubeflow", help="Do not search Kubeflow, although runs were made there; the receipt says so."),
    ] = False,
    dry_run: DryRun = False,
    yes: Annotated[bool, typer.Option("--yes", help="Erase without a question: for scripts, which have no terminal.")] = False,
    tombstone_only: Annotated[
        bool, typer.Option("--tombstone-only", help="Bar an author in advance: no run fetches them, and nothing is erased.")
    ] = False,
    workdir: Workdir = DEFAULT_WORKDIR,
    *,
    connection: Connection,
    as_json: Json = False,
) -> None:
    """Erase all data of an author or a bot from all stores, endpoints and Kubeflow, and write a signed receipt.

    Shows what it erases and asks first. --dry-run only shows it.
    """
    from typing import cast

    from components.forget.reach import Reach
    from components.forget.receipt import require_place
    from components.forget.step import Blends, forget, preview
    from components.forget.subject import Subject
    from mynah.tracking.open import open_store

    if tombstone_only and (blends or receipt or dry_run):
        raise InputError("--tombstone-only erases nothing", "Leave out --blends, --receipt and --dry-run.")
    if tombstone_only:
        bar_author(Subject.parse(subject), workdir, as_json)
        return
    if blends not in ("", "remove", "retrain"):
        raise InputError(f"--blends is {blends!r}", "Use retrain or remove.")
    if receipt:
        require_place(receipt)
    parsed, cluster = Subject.parse(subject), known_cluster(context, no_cluster)
    reach = Reach(cluster, None if without_kubeflow else _kubeflow(connection), without_kubeflow)
    with waiting("Opening the registry"):
        store = open_store(existing(workdir))
    confirm = None if yes else confirmed(store.folder, as_json)
    with _with_backend(store, cluster) as store:
        done = preview(parsed, store, reach) if dry_run else forget(parsed, store, reach, cast(Blends, blends), receipt, confirm)
    _show(done, store.folder, as_json)
    for rest in done.retrain:
        run_again(rest, workdir, as_json)


@contextmanager
def _with_backend(store: "Store", cluster: "Cluster | None") -> "Iterator[Store]":
    """Yield a server's store with its database, which the cluster tells and reaches where MLFLOW_BACKEND_STORE_URI is not set."""
    if not store.is_server or store.database or not cluster:
        yield store
        return
    from mynah.kubernetes.backend_store import reached_backend

    with ExitStack() as stack:
        with waiting("Reaching the database of MLflow"):
            backend = stack.enter_context(reached_backend(cluster))
        yield replace(store, backend=backend)


def _kubeflow(connection: Connection) -> "KeptRecords | None":
    """Return the Kubeflow that a person named, or None. Raises InputError or PlatformError when it cannot be used."""
    if not connection.endpoint and not KF_PIPELINES_ENDPOINT.get():
        return None
    with waiting("Connecting to Kubeflow"):
        from pipelines.kubeflow.kept_records import KeptRecords

        try:
            return KeptRecords.connect(connection.endpoint, connection.namespace, connection.token_file)
        except PlatformError as error:
            raise type(error)(
                f"{error.problem}, so what it keeps is unknown",
                f"{error.fix} Or add --without-kubeflow to forget, which the receipt then says.",
            ) from error


def _show(done: "Forgotten", workdir: Path | None, as_json: bool) -> None:
    from dataclasses import asdict

    from pipelines.cli.render_bots import show_forgotten

    if not as_json:
        show_forgotten(done, workdir)
        return
    items = [asdict(item) for item in done.items]
    record = {
        "subject": str(done.subject),
        "items": items,
        "blends": done.blends,
        "receipt": str(done.receipt) if done.receipt else None,
    }
    print_json({**record, "not_searched": list(done.not_searched)})


@flatten
def receipt(
    file: Annotated[Path, typer.Argument(help="A receipt that `mynah forget` wrote.")],
    context: Context = "",
    workdir: Workdir = DEFAULT_WORKDIR,
    *,
    connection: Connection,
    as_json: Json = False,
) -> None:
    """Check a receipt's signature, and that the erased data does not exist again. Exit code 3 when some does."""
    from components.forget import receipt as receipts
    from components.forget.check_receipt import check
    from components.forget.reach import Reach
    from mynah.maintenance.erasers import ErasableItem
    from mynah.maintenance.kubeflow_records import RUN, SCHEDULE
    from mynah.tracking.open import open_store

    record = receipts.read(file)
    items, back = receipts.items(record), list[ErasableItem]()
    is_in_kubeflow = any(item.kind in (RUN, SCHEDULE) for item in items)
    cluster = named_cluster(context)
    reach = Reach(cluster, _kubeflow(connection) if is_in_kubeflow else None)
    with _with_backend(open_store(existing(workdir)), cluster) as store, waiting("Searching all stores"):
        check(record, items, store, reach, back.append)
    checked = {
        "subject": str(record["subject"]), "finished": str(record["finished"]), "key": receipts.fingerprint(record),
        "items": len(items), "back": [f"{item.kind} {item.address}" for item in back],
        "not_searched": [str(place) for place in record.get("not_searched", ())],
    }  # fmt: skip
    if as_json:
        print_json(checked)
    elif not back:
        print(strip_control_chars(_in_words(checked)))
    if back:
        raise PlatformError(
            f"{len(back)} of {len(items)} things are there again: {back[0].kind} {back[0].address} for one",
            "Run `mynah forget` again.",
        )


def _in_words(checked: Mapping[str, Any]) -> str:
    """Return what a genuine receipt says, with what it does not say: where nobody searched."""
    gone = f"Genuine, signed with key {checked['key']}. All {checked['items']} things of {checked['subject']} are still gone."
    return "\n".join([gone, *(f"Not searched, by this receipt: {place}" for place in checked["not_searched"])])


def remember(
    name: Annotated[
        str, typer.Argument(metavar="@AUTHOR|BOT", help="An author who agrees again, or a bot that may be made again.")
    ],
    workdir: Workdir = DEFAULT_WORKDIR,
    as_json: Json = False,
) -> None:
    """Allow fetching a forgotten author again, with their agreement, or training a forgotten bot again."""
    from components.forget.subject import Subject
    from mynah.registry.forgotten_authors import unmark_forgotten
    from mynah.registry.forgotten_bots import unmark_bot_forgotten
    from mynah.tracking.open import open_store

    subject, store = Subject.parse(name), open_store(existing(workdir))
    lifted = (unmark_forgotten if subject.is_author else unmark_bot_forgotten)(store, subject.name)
    may = "be fetched" if subject.is_author else "be trained"
    text = f"{subject} may {may} again" if lifted else f"{subject} was not forgotten"
    kind = "author" if subject.is_author else "bot"
    result({kind: subject.name, "lifted": lifted}, text, as_json)


COMMANDS: dict[str, Callable[..., None]] = {"forget": forget, "receipt": receipt, "remember": remember}
