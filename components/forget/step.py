"""forget: erase everything of an author or a bot from every store and endpoint, with a verifiable receipt.

The order survives a kill at any point: first a journal with the digests, then the mark of the author, then everything that `find` lists,
with the rows that lead to the rest last. Running it again continues; the journal is removed once the receipt is written.
"""

import contextlib
import itertools
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from filelock import FileLock, Timeout

from components.forget.bases import locked_bases, without_used_bases
from components.forget.inventory import Inventory, find
from components.forget.journal import default_receipt, journal_file, journals_folder, now, read_journal, union
from components.forget.known import require_known
from components.forget.places import erasable_places
from components.forget.reach import Reach, require_kubeflow
from components.forget.receipt import Erased, require_place, signed, signing_key
from components.forget.run_folders import WORKERS
from components.forget.shared_runs import remove_saved, save_remaining, saved_remaining
from components.forget.stop_runs import require_no_fleet_runs, stop
from components.forget.subject import Subject
from components.forget.summary import Forgotten, planned
from components.forget.unsearched import report_unsearched, searched
from components.forget.uploads import bucket_of_uploads
from mynah.core.erasing import erase
from mynah.core.errors import InputError, PlatformError
from mynah.core.files import make_folder, set_mode, storage_errors, write_json
from mynah.core.names import BOT_NAME
from mynah.core.progress import progress, waiting
from mynah.maintenance.erasers import STORED, ErasableItem, Eraser, require_erasable
from mynah.mlflow_client.client import client, experiment, store_errors
from mynah.mlflow_client.store import Store
from mynah.registry.forgotten_authors import mark_forgotten
from mynah.registry.forgotten_bots import mark_bot_forgotten, mark_runs_forgotten
from mynah.registry.locks import alias_lock
from mynah.storage.run_files import SPEC_FILE
from mynah.storage.work_folder import require_own_parts
from mynah.tracking.database import Database
from mynah.tracking.open import open_store

Blends = Literal["", "remove", "retrain"]
T = TypeVar("T")


def preview(subject: Subject, store: Store, reach: Reach) -> Forgotten:
    """Return what `forget` would erase; changes nothing.

    Args:
        subject: The author or bot.
        store: The tracking store.
        reach: The clusters to search.

    Returns:
        What would be erased.

    Raises:
        PlatformError: A place cannot be searched.
    """
    journal = read_journal(subject, store)
    with waiting("Searching all stores"), closing(Database(store)) as database:
        inventory = _find(subject, store, database, reach)
        require_known(subject, bool(inventory.items or journal["items"]), store, database)
        not_searched = report_unsearched(subject, store, database, inventory, reach, journal["items"])
    return planned(subject, _to_erase(journal, inventory, reach), _blends(subject, inventory), inventory, not_searched)


def bar(subject: Subject, workdir: Path) -> str:
    """Mark an author as forgotten without erasing anything, so that no run fetches them; return the day since when.

    Works before the first run: a work folder without a store gets one.

    Raises:
        InputError: `subject` is a bot; no store was made.
    """
    if not subject.is_author:
        raise InputError(
            f"{subject} is a bot, and only an author can be barred", f"Write mynah forget @{subject} --tombstone-only."
        )
    return mark_forgotten(open_store(workdir), subject.name)


def _find(subject: Subject, store: Store, database: Database, reach: Reach) -> Inventory:
    """Find everything of a subject. Raises InputError when some of it lies outside the work folder, before anything is erased."""
    require_own_parts(store)
    inventory = find(subject, store, database, reach)
    require_kubeflow(reach, inventory.is_on_kubeflow, inventory.kubeflow.buckets, bucket_of_uploads())
    require_erasable(inventory.items, erasable_places(store))
    return inventory


def forget(
    subject: Subject,
    store: Store,
    reach: Reach,
    blends: Blends,
    receipt: Path | None = None,
    confirm: Callable[[Forgotten], None] | None = None,
) -> Forgotten:
    """Erase everything of a subject, check that it is gone, and write a signed receipt.

    Args:
        subject: The author or bot.
        store: The tracking store.
        reach: The clusters to search.
        blends: For bots that also used other authors, whose versions and runs are erased in any case: "retrain" saves the other authors'
            posts to train them again, "remove" does not.
        receipt: The file to write; by default in the work folder.
        confirm: Called with what would be erased before anything is; it raises to prevent that. None erases without a question.

    Returns:
        What was erased.

    Raises:
        InputError: There are blends and `blends` is "", nothing knows the subject, some of it lies outside the work folder, or `receipt`
            would replace something else or would be erased itself.
        PlatformError: Something cannot be erased; fix that and run it again.
    """
    require_own_parts(store)
    folder = journals_folder(store)
    make_folder(folder)
    with storage_errors(folder):
        set_mode(folder, 0o700)  # journals contain file names
    try:
        with FileLock(folder / ".lock", timeout=1), closing(Database(store)) as database:
            return _forget(subject, store, database, reach, _Choices(blends, receipt, confirm))
    except Timeout as error:
        raise PlatformError("another `mynah forget` is running in this work folder", "Wait for it, and run again.") from error


@dataclass(frozen=True, slots=True)
class _Choices:
    blends: Blends
    receipt: Path | None
    confirm: Callable[[Forgotten], None] | None


def _forget(subject: Subject, store: Store, database: Database, reach: Reach, choices: _Choices) -> Forgotten:
    journal = read_journal(subject, store)
    _require_same_database(store, database)
    inventory = _find(subject, store, database, reach)
    require_known(subject, bool(inventory.items or journal["items"]), store, database)
    key = signing_key(journals_folder(store).parent)  # fails before anything is erased
    blended = _blends(subject, inventory)
    _require_choice(subject, blended, choices.blends)
    require_no_fleet_runs(subject, inventory.kubeflow)
    not_searched = report_unsearched(subject, store, database, inventory, reach, journal["items"])
    to_erase = _to_erase(journal, inventory, reach)
    path = choices.receipt or default_receipt(subject, store)
    require_place(path, to_erase)
    if choices.confirm:
        choices.confirm(planned(subject, to_erase, blended, inventory, not_searched))
    _prepare_blends(subject, inventory, store, choices.blends)
    blended = sorted({*journal["blends"], *blended})
    record = {**journal, "folder": str(store.folder), "blends": blended, "items": [asdict(item) for item in to_erase]}
    write_json(journal_file(subject, store), record)
    day = (mark_forgotten if subject.is_author else mark_bot_forgotten)(store, subject.name)
    mark_runs_forgotten(store, inventory.run_ids)
    _end_runs(subject, store, database, reach)
    to_erase, erased = _erase(subject, store, database, reach, inventory, to_erase)
    make_folder(path.parent)
    facts = {
        "subject": str(subject), "store": store.shown, "folder": str(store.folder), "begun": journal["begun"], "finished": now(), "tombstone": day,
        "blends": blended, "searched": searched(store, database, reach),
        "not_searched": not_searched, "checked": "every item was looked for again, and every place searched again",
    }  # fmt: skip
    write_json(path, signed(key, facts, erased))
    journal_file(subject, store).unlink(missing_ok=True)
    runs = [run.bot for run in inventory.runs]
    return Forgotten(subject, to_erase, blended, path, saved_remaining(subject, journals_folder(store)), runs, not_searched)


def _to_erase(journal: Mapping[str, Any], inventory: Inventory, reach: Reach) -> list[ErasableItem]:
    """Return what an interrupted attempt found and what was found now, without what is in a Kubeflow that is not to be searched."""
    return [item for item in union(journal["items"], inventory.items) if not reach.leaves(item)]


def _end_runs(subject: Subject, store: Store, database: Database, reach: Reach) -> None:
    """End what runs in Kubeflow, also what began since the search: a person was asked meanwhile, and a schedule goes on until it is disabled."""
    while reach.kubeflow:
        found = find(subject, store, database, reach).kubeflow
        require_no_fleet_runs(subject, found)
        if not stop(found.records, reach.kubeflow):
            return


def _require_choice(subject: Subject, blended: Sequence[str], blends: Blends) -> None:
    """Raise InputError where bots also used other authors, and nobody has said what becomes of them."""
    if blended and not blends:
        raise InputError(
            f"{', '.join(blended)} {'was' if len(blended) == 1 else 'were'} made from posts of @{subject.name} and of others",
            "State what becomes of the blends: --blends retrain trains them again without these posts, --blends remove does not.",
        )


def _erase(
    subject: Subject,
    store: Store,
    database: Database,
    reach: Reach,
    inventory: Inventory,
    to_erase: Sequence[ErasableItem],
) -> tuple[list[ErasableItem], list[Erased]]:
    """Erase what was found and what has appeared since; return both, and each with the time when it was confirmed to be gone."""
    with contextlib.ExitStack() as locks:
        for bot in sorted(filter(BOT_NAME.fullmatch, {*inventory.bots, *(run.bot for run in inventory.runs)})):
            locks.enter_context(alias_lock(bot, store))  # no promotion chooses what is about to be erased
        bases = locks.enter_context(locked_bases(to_erase, store))
        found = find(subject, store, database, reach)
        models = [model for run in found.runs for model in run.models]
        items = without_used_bases(union(to_erase, found.items), bases, models, database)
        erased = _erase_all(Eraser(store, database, reach.cluster, erasable_places(store), reach.kubeflow), items)
    _remove_locks([*inventory.bots, *([] if subject.is_author else [subject.name])], store)
    database.vacuum()
    _require_nothing_left(find(subject, store, database, reach))
    return items, erased


def _prepare_blends(subject: Subject, inventory: Inventory, store: Store, blends: Blends) -> None:
    """Save the other authors' posts to train the blends again, or remove what an earlier attempt saved."""
    if blends == "retrain":
        save_remaining(subject, inventory, store, journals_folder(store))
    elif blends == "remove":
        for saved in saved_remaining(subject, journals_folder(store)):
            remove_saved(saved)


def _require_same_database(store: Store, database: Database) -> None:
    """Raise InputError when the database is not the server's own: nothing would be found there, and all reported as gone."""
    if not store.is_server:
        return
    api, experiment_id, key, value = client(store.tracking_uri), experiment(store), "mynah.nonce", secrets.token_hex(16)
    with store_errors(store.tracking_uri):
        api.set_experiment_tag(experiment_id, key, value)
        is_same = value in [row["value"] for row in database.rows("experiment_tags", "key", [key])]
        api.delete_experiment_tag(experiment_id, key)
    if not is_same:
        raise InputError(
            f"{database.shown} is not the database of {store.shown}", "Set MLFLOW_BACKEND_STORE_URI as that server has it."
        )


def _remove_locks(bots: Sequence[str], store: Store) -> None:
    """Remove the lock files of bots, which contain only their names; they are created again when needed."""
    for bot in bots:
        erase(journals_folder(store).parent / f".mynah-promote-{bot}.lock", [journals_folder(store).parent])


def _erase_all(eraser: Eraser, to_erase: Sequence[ErasableItem]) -> list[Erased]:
    erased: list[Erased] = []
    with progress("Forgetting", 2 * len(to_erase) or 1, "items") as advance, ThreadPoolExecutor(WORKERS) as pool:

        def each(function: Callable[[ErasableItem], T]) -> Iterator[tuple[ErasableItem, T]]:
            for (is_stored, _), same in itertools.groupby(to_erase, _together):
                items = list(same)
                yield from zip(items, (pool.map if is_stored else map)(function, items), strict=True)

        for item, _ in each(eraser.erase):
            advance(1, item.kind)
        for item, is_gone in each(eraser.is_gone):
            if not is_gone:
                raise PlatformError(f"{item.kind} {item.address} still exists", "Stop what writes it again, and run again.")
            erased.append(Erased(item, now()))
            advance(1, "checking")
    return erased


def _together(item: ErasableItem) -> tuple[bool, bool]:
    """Group items in order: those in S3 are erased many at once, but a run's specification after the files that it leads to."""
    return item.kind in STORED, item.address.endswith(f"/{SPEC_FILE}")


def _require_nothing_left(inventory: Inventory) -> None:
    if inventory.items:
        first = inventory.items[0]
        raise PlatformError(
            f"{len(inventory.items)} new items of it appeared meanwhile, such as {first.kind} {first.address}",
            "Stop what still creates them (a run, a server), and run again.",
        )


def _blends(subject: Subject, inventory: Inventory) -> list[str]:
    return sorted({run.bot for run in inventory.blends}) if subject.is_author else []
