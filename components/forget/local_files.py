"""Search a work folder's own files: what names an author, and the caches of Kubeflow's local runner."""

import json
from collections.abc import Iterator
from pathlib import Path

from components.forget.subject import Subject
from mynah.core.files import path_exists
from mynah.core.walking import listed, searching, walk
from mynah.data.authors import same_author
from mynah.maintenance.erasers import ErasableItem, file_items
from mynah.mlflow_client.store import DATABASE
from mynah.storage.work_folder import PARTS, is_own

CACHE = ".kfp_cache"


def kfp_caches(folder: Path) -> Iterator[Path]:
    """Yield the caches of Kubeflow's local runner below a work folder, but not those in what is no part of it."""
    for path in walk(folder, lambda path: path.name != CACHE and not is_foreign(path, folder)):
        if path.name == CACHE:
            yield path


def is_foreign(path: Path, folder: Path) -> bool:
    """Return whether something in a work folder is no part of it: another work folder, or what Mynah did not put there.

    The latter may be a volume's lost+found, which only root may list.
    """
    if is_work_folder(path):
        return True
    if path.parent != folder or is_own(path.name):
        return False
    return not any((folder / part).is_symlink() and (folder / part).resolve() == path for part in PARTS)


def is_work_folder(path: Path) -> bool:
    """Return whether a path, such as one below a work folder, is a work folder itself."""
    return path.is_dir() and path_exists(path / DATABASE)


def holds_author(folder: Path, author: str) -> bool:
    """Return whether a line of a JSONL file below `folder` names the author. Raises PlatformError when something cannot be read."""
    return any(_names(path, author) for path in walk(folder) if path.suffix == ".jsonl" and path.is_file())


def saved_posts(subject: Subject, folder: Path) -> Iterator[ErasableItem]:
    """Yield the saved posts of blends that lost an author, in the folder of `forget`'s journals."""
    for saved in (each for each in listed(folder) if each.name.startswith("rest-")):
        if (subject.is_author and holds_author(saved, subject.name)) or (
            not subject.is_author and saved.name.split("-", 2)[-1] == subject.name
        ):
            yield from file_items(saved)


def _names(path: Path, author: str) -> bool:
    with searching(path), path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):  # partially written
                continue
            if isinstance(record, dict) and same_author(str(record.get("author") or ""), author):
                return True
    return False
