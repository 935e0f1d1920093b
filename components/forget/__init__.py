"""forget: everything of an author or a bot gone, from every store and endpoint, with a receipt that can be checked.

The order survives a kill at any point: a journal with the digests first, the tombstone, then everything that `find` lists, with the
rows that lead to the rest last. Run again, it goes on where it stopped; the journal goes when the receipt is written.
"""

import hashlib
import json
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
from components.files import make_folder, storage_errors, write_json
from components.forget.find import Found, Subject, find
from components.forget.receipt import Erased, signed, signing_key
from components.store import Store
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
    from components.forget.blends import keep_rest, kept_rests

    key = signing_key(_work_folder(store).parent)  # before anything is erased
    journal = _journal(subject, store)
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
    todo = _union(journal["items"], found.items)
    mixed = sorted({*journal["blends"], *mixed})
    write_json(_journal_file(subject, store), {**journal, "blends": mixed, "items": [asdict(item) for item in todo]})
    day = bury(store, subject.name) if subject.is_author else ""
    erased = _erase_all(Eraser(store, database, cluster), todo)
    if database.url.startswith("sqlite") or todo:
        database.vacuum()
    _require_nothing_left(find(subject, store, database, cluster))
    facts = {
        "subject": str(subject), "store": store.shown, "begun": journal["begun"], "finished": _now(), "tombstone": day,
        "blends": mixed, "checked": "every item looked for again after it was erased, and everything searched anew",
    }  # fmt: skip
    path = receipt or _default_receipt(subject, store)
    make_folder(path.parent)
    write_json(path, signed(key, facts, erased))
    _journal_file(subject, store).unlink(missing_ok=True)
    return Forgotten(subject, todo, mixed, path, kept_rests(_work_folder(store)))


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
    return _work_folder(store) / f"{hashlib.sha256(str(subject).encode()).hexdigest()[:16]}.json"


def _journal(subject: Subject, store: Store) -> dict[str, Any]:
    """What an attempt that was stopped left: when it began, and what it had found."""
    fresh: dict[str, Any] = {"begun": _now(), "items": [], "blends": []}
    path = _journal_file(subject, store)
    if not path.exists():
        return fresh
    record = json.loads(path.read_text("utf-8"))
    return {**fresh, **record, "items": [Item(**each) for each in record["items"]]}


def _default_receipt(subject: Subject, store: Store) -> Path:
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    return _work_folder(store).parent / "receipts" / f"{stamp}-{hashlib.sha256(str(subject).encode()).hexdigest()[:8]}.json"


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
