"""The journal of an erasure: what was found, with digests, so that an interrupted one is continued, wherever the work folder lies then."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.forget.places import erasable_places, in_folder, recorded_folder
from components.forget.subject import Subject
from mynah.core.erasing import is_below
from mynah.core.errors import InputError
from mynah.maintenance.erasers import ErasableItem
from mynah.mlflow_client.store import Store


def journals_folder(store: Store) -> Path:
    """Return the folder of journals. Raises InputError without a work folder."""
    if not store.folder:
        raise InputError("there is no work folder for the journal", "Run `mynah forget` with --workdir.")
    return store.folder / ".forgetting"


def journal_file(subject: Subject, store: Store) -> Path:
    """Return the file of a subject's journal, which exists while its erasure is not complete."""
    return journals_folder(store) / f"{subject.key}.json"


def read_journal(subject: Subject, store: Store) -> dict[str, Any]:
    """Return what an interrupted attempt recorded: when it started, and what it found, as it lies in the work folder now."""
    fresh: dict[str, Any] = {"begun": now(), "items": [], "blends": []}
    path = journal_file(subject, store)
    if not path.exists():
        return fresh
    try:
        record = json.loads(path.read_text("utf-8"))
        items = in_folder([ErasableItem(**fields) for fields in record["items"]], recorded_folder(record), store)
        places = erasable_places(store)
        kept = [item for item in items if item.kind != "file" or is_below(Path(item.address), places)]
        return {**fresh, **record, "items": kept}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"the journal {path} is damaged ({error})", "Remove it; its digests are lost.") from error


def union(earlier: Sequence[ErasableItem], found: Sequence[ErasableItem]) -> list[ErasableItem]:
    """Return the items that an interrupted attempt found, whose digests may be recorded nowhere else, and the new ones."""
    known = {(item.kind, item.address, item.version) for item in earlier}
    return [*earlier, *(item for item in found if (item.kind, item.address, item.version) not in known)]


def default_receipt(subject: Subject, store: Store) -> Path:
    """Return the file of a receipt that is written now, in the work folder."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    return journals_folder(store).parent / "receipts" / f"{stamp}-{subject.key[:8]}.json"


def now() -> str:
    """Return the time in UTC, to the second, by ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
