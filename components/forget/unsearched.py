"""Where is searched when something is forgotten, and where it may remain: the receipt names both."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from components.fetch.x.api_pages import pages_folder
from components.forget.inventory import Inventory
from components.forget.local_files import is_foreign, is_work_folder
from components.forget.places import SEARCHED
from components.forget.reach import Reach
from components.forget.subject import Subject
from components.forget.uploads import bucket_of_uploads
from mynah.core.progress import notify
from mynah.core.settings import KF_PIPELINES_ARTIFACTS
from mynah.core.walking import leads_out, listed, walk
from mynah.maintenance.erasers import ErasableItem
from mynah.mlflow_client.store import ARTIFACTS, Store
from mynah.registry.base_names import BASES_FOLDER
from mynah.storage.work_folder import file_path, path_in
from mynah.tracking.database import Database
from mynah.tracking.moved_folder import left_behind
from mynah.training.state_store import state_locations

KEPT_BY_KUBEFLOW = (  # what no API deletes, each with how its owner does
    "Kubeflow's ML Metadata, which has rows of the runs' steps: delete those of the runs in its database (metadb), or the database",
    "backups of Kubeflow's database and object store: let them expire, or delete them",
    "logs of pods on the nodes (/var/log/pods) and with what collects them: they rotate; delete them where they are collected",
    "Argo's archive of Workflows, where it is switched on: argo archive delete UID",
)
MODELS = "models"  # in the folder of artifacts, where MLflow has the files of logged models


def unsearched(store: Store, database: Database) -> Iterator[str]:
    """Yield the places that `find` leaves out, each with the reason.

    They are links that lead out, other work folders, and what no part of Mynah put into the folder or leads to: files of a run that the
    database of a backup does not know.

    Raises PlatformError when a folder cannot be listed.
    """
    folder = store.folder
    if not folder:
        return
    for path in walk(folder, lambda each: not is_foreign(each, folder)):
        if path.is_symlink():
            if leads_out(path, folder):
                yield f"{path}, a link that leads out of the work folder"
        elif is_work_folder(path):
            yield f"{path}, another work folder: name it with --workdir"
        elif is_foreign(path, folder):
            yield f"{path}, which is no part of the work folder"
    if not store.is_server:
        yield from (f"{path}, which no run and no model of the store names" for path in _unnamed(folder, database))


def _unnamed(folder: Path, database: Database) -> Iterator[Path]:
    """Yield what lies among the artifacts and belongs to no row of the database."""
    rows = [
        *(row["artifact_uri"] for row in database.rows_from("runs", "run_uuid", "")),
        *(row["artifact_location"] for row in database.rows_from("logged_models", "model_id", "")),
    ]
    paths = [path_in(folder, str(uri)) for uri in rows if uri and file_path(str(uri)) is not None]
    named = {place for path in paths for place in (path, *path.parents)}
    artifacts = folder / ARTIFACTS
    known = (MODELS, BASES_FOLDER)
    yield from (
        path for path in (*listed(artifacts), *listed(artifacts / MODELS)) if path not in named and path.name not in known
    )


def kubeflow_unsearched(inventory: Inventory, reach: Reach) -> Iterator[str]:
    """Yield what Kubeflow may keep of a subject, where runs were made in it."""
    found, bucket = inventory.kubeflow, bucket_of_uploads()
    if not inventory.is_on_kubeflow and not found.records:
        return
    if not reach.kubeflow:
        yield "Kubeflow Pipelines (--without-kubeflow), with its runs, schedules, Workflows and pods: delete them on its page"
    elif not reach.kubeflow.lists_everything:
        yield f"other namespaces of Kubeflow Pipelines than that of {reach.kubeflow.address}: run again with --namespace"
    if found.unknown:
        yield (
            f"{found.unknown:,} {'run' if found.unknown == 1 else 'runs'} that MLflow records and this Kubeflow does not know: deleted there, "
            "or in another Kubeflow or namespace (--endpoint, --namespace)"
        )
    for schedule in found.shared:
        yield f"the schedule {schedule.id} in Kubeflow, which goes on for other bots and holds only ids: submit their fleet again to leave it out"
    if not KF_PIPELINES_ARTIFACTS.get():
        yield "Kubeflow's object store, where runs of earlier versions left posts and models: set KF_PIPELINES_ARTIFACTS"
    elif found.without_logs:
        yield f"Argo's logs of {found.without_logs:,} runs whose Workflow Kubeflow no longer knows: delete what is old in its log store"
    for other in sorted(found.buckets - {bucket}):
        yield f"the bucket {other}, which runs in Kubeflow name: set MYNAH_S3_BUCKET={other}, and run again"
    for uri in inventory.unread:
        yield f"{uri}, of which no specification can be read: look what it is, and delete it"
    yield from KEPT_BY_KUBEFLOW


def report_unsearched(
    subject: Subject, store: Store, database: Database, inventory: Inventory, reach: Reach, earlier: Sequence[ErasableItem]
) -> list[str]:
    """Return, and warn of, the places where something of the subject may remain. Call it before erasing: links are erased too.

    Args:
        subject: The author or bot.
        store: The tracking store.
        database: MLflow's database.
        inventory: What was found.
        reach: The clusters that are searched.
        earlier: What an interrupted attempt found.
    """
    outside = left_behind(store, [uri for run in inventory.runs for uri in run.artifact_uris])
    for path in outside:
        notify(f"{path} is of {subject} too, but lies outside the work folder: it is not erased", "warning")
    left = [
        f"the {item.kind.replace('-', ' ')} {item.address}, found by an earlier attempt" for item in earlier if reach.leaves(item)
    ]
    places = [*unsearched(store, database), *kubeflow_unsearched(inventory, reach), *left]
    for place in places:
        notify(f"not searched, and not erased: {place}", "warning")
    return [*map(str, outside), *places]


def searched(store: Store, database: Database, reach: Reach) -> list[str]:
    """Return the places that were searched, for the receipt."""
    return [
        store.shown, database.shown, "the artifact store of each run and model", f"{SEARCHED}{store.folder}",
        f"the cluster {reach.cluster.host}" if reach.cluster else "no cluster",
        f"the runs and schedules of Kubeflow Pipelines at {reach.kubeflow.address}" if reach.kubeflow else "no Kubeflow Pipelines",
        f"Kubeflow's object store {KF_PIPELINES_ARTIFACTS.get()}" if KF_PIPELINES_ARTIFACTS.get() else "no object store of Kubeflow",
        f"training states in {', '.join(state_locations(store.folder))}",
        "the hubs that versions were published to",
        f"timelines of X that were cut off, in {pages_folder()}"
        + (f" and the bucket {bucket_of_uploads()}" if bucket_of_uploads() else ""),
        f"runs and uploads in the bucket {bucket_of_uploads()}" if bucket_of_uploads() else "no bucket of runs (MYNAH_S3_BUCKET)",
    ]  # fmt: skip
