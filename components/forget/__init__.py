"""forget: everything of an author or a bot gone, from every store and endpoint, with a receipt that can be checked.

The order survives a kill at any point: a journal with the digests first, the tombstone, then everything that `find` lists, with the
rows that lead to the rest last. Run again, it goes on where it stopped; the journal goes when the receipt is written.
"""

import contextlib
import json
import secrets
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from filelock import FileLock, Timeout

from components.database import Database
from components.erase import Eraser, Item
from components.errors import InputError, PlatformError
from components.events import progress
from components.fetch.x_pages import pages_folder
from components.files import make_folder, storage_errors, write_json
from components.finetune.states import places
from components.forget.find import Found, Subject, find
from components.forget.receipt import Erased, signed, signing_key
from components.forget.uploads import bucket_of_uploads
from components.locks import alias_lock
from components.store import Store, client, experiment, public, store_errors
from components.tombstones import bury

if TYPE_CHECKING:
    from components.cluster import Cluster
    from components.forget.blends import Rest

Blends = Literal["", "remove", "retrain"]


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What `forget` did, or would do."""

    subject: Subject
    items: list[Item]
    blends: list[str]  # bots that also used other authors
    receipt: Path | None  # None when nothing was erased: a dry run
    retrain: "list[Rest]"  # blends to make again from the other authors' posts


def look(subject: Subject, store: Store, cluster: "Cluster | None") -> Forgotten:
    """What `forget` would erase; changes nothing."""
    with closing(Database(store)) as database:
        found = find(subject, store, database, cluster)
    return Forgotten(subject, _union(_journal(subject, store)["items"], found.items), _blends(subject, found), None, [])


def forget(subject: Subject, store: Store, cluster: "Cluster | None", blends: Blends, receipt: Path | None = None) -> Forgotten:
    """Erase everything of `subject`, check that it is gone, and write a signed receipt.

    `blends` says what becomes of bots that used other authors too: their versions and runs go in any case; with "retrain" the other
    authors' posts are kept aside to make them again. Raises InputError when there are blends and nobody said what to do with them, or
    when there is nothing of the subject; PlatformError when something cannot be erased: run again once that is mended.
    """
    folder = _work_folder(store)
    make_folder(folder)
    with storage_errors(folder):
        folder.chmod(0o700)  # a journal names files
    try:
        with FileLock(folder / ".lock", timeout=1), closing(Database(store)) as database:
            return _forget(subject, store, database, cluster, blends, receipt)
    except Timeout as error:
        raise PlatformError("another `mynah forget` is at work here", "Wait for it, and run again.") from error


def _forget(
    subject: Subject, store: Store, database: Database, cluster: "Cluster | None", blends: Blends, receipt: Path | None
) -> Forgotten:
    from components.forget.blends import drop_rest, keep_rest, kept_rests

    key = signing_key(_work_folder(store).parent)  # before anything is erased
    journal = _journal(subject, store)
    _require_same_database(store, database)
    found = find(subject, store, database, cluster)
    mixed = _blends(subject, found)
    if mixed and not blends:
        raise InputError(
            f"{', '.join(mixed)} {'was' if len(mixed) == 1 else 'were'} made from posts of @{subject.name} and of others",
            "Say what becomes of the blends: --blends retrain makes them again without these posts, --blends remove does not.",
        )
    if not found.items and not journal["items"] and not subject.is_author:
        raise InputError(f"there is nothing of {subject}", "See `mynah bots`.")
    if blends == "retrain":
        keep_rest(subject, found, store, _work_folder(store))
    elif blends == "remove":
        for rest in kept_rests(subject, _work_folder(store)):
            drop_rest(rest)
    todo = _union(journal["items"], found.items)
    mixed = sorted({*journal["blends"], *mixed})
    write_json(_journal_file(subject, store), {**journal, "blends": mixed, "items": [asdict(item) for item in todo]})
    day = bury(store, subject.name) if subject.is_author else ""
    with contextlib.ExitStack() as locks:
        for bot in sorted({*found.bots, *(run.bot for run in found.runs)}):
            locks.enter_context(alias_lock(bot, store))  # no promotion chooses what is about to go
        todo = _union(todo, find(subject, store, database, cluster).items)
        erased = _erase_all(Eraser(store, database, cluster), todo)
    _remove_locks([*found.bots, *([] if subject.is_author else [subject.name])], store)
    database.vacuum()
    _require_nothing_left(find(subject, store, database, cluster))
    facts = {
        "subject": str(subject), "store": store.shown, "begun": journal["begun"], "finished": _now(), "tombstone": day,
        "blends": mixed, "searched": _searched(store, database, cluster), "checked": "every item was looked for again, and every place searched anew",
    }  # fmt: skip
    path = receipt or _default_receipt(subject, store)
    make_folder(path.parent)
    write_json(path, signed(key, facts, erased))
    _journal_file(subject, store).unlink(missing_ok=True)
    return Forgotten(subject, todo, mixed, path, kept_rests(subject, _work_folder(store)))


def _require_same_database(store: Store, database: Database) -> None:
    """Raise InputError when the database is not the server's own: then nothing would be found there, and all taken for gone."""
    if not store.is_server:
        return
    api, identity, key, value = client(store.tracking_uri), experiment(store), "mynah.nonce", secrets.token_hex(16)
    with store_errors(store.tracking_uri):
        api.set_experiment_tag(identity, key, value)
        found = value in [row["value"] for row in database.rows("experiment_tags", "key", [key])]
        api.delete_experiment_tag(identity, key)
    if not found:
        raise InputError(
            f"{public(database.url)} is not the database of {store.shown}", "Set MLFLOW_BACKEND_STORE_URI as that server has it."
        )


def _searched(store: Store, database: Database, cluster: "Cluster | None") -> list[str]:
    """The places that were looked into, for the receipt: what is not among them was not searched."""
    return [
        store.shown, public(database.url), "the artifact store of each run and model", f"the work folder {store.folder}",
        f"the cluster {cluster.host}" if cluster else "no cluster",
        f"training states in {', '.join(places(store.folder))}",
        "the hubs that versions were published to",
        f"timelines of X that were cut off, in {pages_folder()}"
        + (f" and the bucket {bucket_of_uploads()}" if bucket_of_uploads() else ""),
        f"what was uploaded into the bucket {bucket_of_uploads()}" if bucket_of_uploads() else "no bucket of uploads (MYNAH_S3_BUCKET)",
    ]  # fmt: skip


def _remove_locks(bots: Sequence[str], store: Store) -> None:
    """The file of a bot's lock holds nothing but its name; whoever makes such a bot again makes it again."""
    for bot in bots:
        (_work_folder(store).parent / f".mynah-promote-{bot}.lock").unlink(missing_ok=True)


def _erase_all(eraser: Eraser, todo: Sequence[Item]) -> list[Erased]:
    with progress("Forgetting", 2 * len(todo) or 1, "items") as advance:
        for item in todo:
            eraser.erase(item)
            advance(1, item.kind)
        erased = []
        for item in todo:
            if not eraser.is_gone(item):
                raise PlatformError(f"{item.kind} {item.address} is still there", "Does something write it again? Run again.")
            erased.append(Erased(item, _now()))
            advance(1, "checking")
    return erased


def _require_nothing_left(found: Found) -> None:
    if found.items:
        first = found.items[0]
        raise PlatformError(
            f"{len(found.items)} new things of it appeared meanwhile, {first.kind} {first.address} for one",
            "Stop what still makes them (a run, a server), and run again.",
        )


def _blends(subject: Subject, found: Found) -> list[str]:
    return sorted({run.bot for run in found.blends}) if subject.is_author else []


def _union(earlier: Sequence[Item], now: Sequence[Item]) -> list[Item]:
    """What an attempt that was stopped had found, whose digests may be known nowhere else, and what is there now."""
    known = {(item.kind, item.address, item.version) for item in earlier}
    return [*earlier, *(item for item in now if (item.kind, item.address, item.version) not in known)]


def _work_folder(store: Store) -> Path:
    if not store.folder:
        raise InputError("there is no work folder for the journal", "Run `mynah forget` with --workdir.")
    return store.folder / ".forgetting"


def _journal_file(subject: Subject, store: Store) -> Path:
    return _work_folder(store) / f"{subject.key}.json"


def _journal(subject: Subject, store: Store) -> dict[str, Any]:
    """What an attempt that was stopped left: when it began, and what it had found."""
    fresh: dict[str, Any] = {"begun": _now(), "items": [], "blends": []}
    path = _journal_file(subject, store)
    if not path.exists():
        return fresh
    try:
        record = json.loads(path.read_text("utf-8"))
        return {**fresh, **record, "items": [Item(**each) for each in record["items"]]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"the journal {path} is damaged ({error})", "Remove it; what it knew of digests is lost.") from error


def _default_receipt(subject: Subject, store: Store) -> Path:
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    return _work_folder(store).parent / "receipts" / f"{stamp}-{subject.key[:8]}.json"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def check(
    record: dict[str, Any], items: Sequence[Item], store: Store, cluster: "Cluster | None", tell: Callable[[Item], None]
) -> int:
    """How many of a receipt's items are there again; each is told. Raises PlatformError when a place cannot be looked into."""
    back = 0
    with closing(Database(store)) as database:
        eraser = Eraser(store, database, cluster)
        for item in items:
            if not eraser.is_gone(item):
                tell(item)
                back += 1
    return back
