"""Search a work folder's own files: what names an author, and the caches of Kubeflow's local runner."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

from mynah.data.authors import same_author
from mynah.mlflow_client.store import DATABASE

CACHE = ".kfp_cache"


def kfp_caches(folder: Path) -> Iterator[Path]:
    """Yield the caches of Kubeflow's local runner below a work folder, but not those of other work folders in it."""
    for path, names, files in os.walk(folder):
        if Path(path) != folder and DATABASE in files:
            names.clear()
        if CACHE in names:
            names.remove(CACHE)
            yield Path(path, CACHE)


def holds_author(folder: Path, author: str) -> bool:
    """Return whether a line of a JSONL file below `folder` names the author."""
    return any(_names(path, author) for path in folder.rglob("*.jsonl"))


def _names(path: Path, author: str) -> bool:
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):  # partially written
                continue
            if isinstance(record, dict) and same_author(str(record.get("author") or ""), author):
                return True
    return False
