"""Check a receipt: whether something that was erased exists again."""

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

from components.forget.places import in_folder, recorded_folder
from components.forget.reach import Reach
from mynah.maintenance.erasers import ErasableItem, Eraser
from mynah.mlflow_client.store import Store
from mynah.tracking.database import Database


def check(
    record: dict[str, Any],
    items: Sequence[ErasableItem],
    store: Store,
    reach: Reach,
    report: Callable[[ErasableItem], None],
) -> int:
    """Check which of a receipt's items exist again.

    Args:
        record: The receipt.
        items: The items that it lists; its files are looked for in the work folder as it lies now.
        store: The tracking store.
        reach: The clusters to search.
        report: Called with each item that exists.

    Returns:
        The number of items that exist.

    Raises:
        PlatformError: A place cannot be searched.
    """
    present = 0
    with closing(Database(store)) as database:
        eraser = Eraser(store, database, reach.cluster, kubeflow=reach.kubeflow)
        for item in in_folder(items, recorded_folder(record), store):
            if not eraser.is_gone(item):
                report(item)
                present += 1
    return present
