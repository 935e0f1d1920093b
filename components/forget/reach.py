"""What an erasure reaches beside the store and this machine: the cluster that serves bots, and the Kubeflow that trains them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.forget.run_folders import RunFolder
from mynah.core.errors import InputError
from mynah.maintenance.erasers import ErasableItem
from mynah.maintenance.kubeflow_records import RUN, SCHEDULE, KubeflowRecords
from mynah.tracking.database import Database
from mynah.tracking.kfp_runs import KFP_RUN_TAG, is_kfp_run

if TYPE_CHECKING:
    from mynah.kubernetes.cluster import Cluster


@dataclass(frozen=True, slots=True)
class Reach:
    """The clusters that an erasure searches; by default none."""

    cluster: "Cluster | None" = None  # whose inference services are searched
    kubeflow: KubeflowRecords | None = None
    without_kubeflow: bool = False  # a person said that Kubeflow is not to be searched

    def leaves(self, item: ErasableItem) -> bool:
        """Return whether an item, which an earlier attempt found, stays: a run or a schedule in a Kubeflow that is not to be searched."""
        return self.without_kubeflow and item.kind in (RUN, SCHEDULE)


def uses_kubeflow(database: Database, folders: Sequence[RunFolder]) -> bool:
    """Return whether any run was made in Kubeflow: by the store, or by the bucket."""
    return bool(folders) or any(is_kfp_run(str(row["value"])) for row in database.rows("tags", "key", [KFP_RUN_TAG]))


def require_kubeflow(reach: Reach, is_used: bool, buckets: Collection[str], bucket: str) -> None:
    """Raise InputError where runs were made in Kubeflow, and nobody named it: it would keep, and start again, what is forgotten.

    Args:
        reach: What is searched.
        is_used: Whether runs were made in Kubeflow.
        buckets: Those that runs in Kubeflow name.
        bucket: The one that is searched, or "".
    """
    if buckets and not bucket:
        named = sorted(buckets)[0]
        raise InputError(
            f"the bucket {named} was not searched, in which runs in Kubeflow have their files", f"Set MYNAH_S3_BUCKET={named}."
        )
    if is_used and not reach.kubeflow and not reach.without_kubeflow:
        raise InputError(
            "Kubeflow was not searched, and runs of this store were made there: it may keep their names, and start them again",
            "Set KF_PIPELINES_ENDPOINT or --endpoint, or add --without-kubeflow, which the receipt then says.",
        )
