"""Erase items wherever they are stored: each is named, recorded with its digest, erased, and searched for again.

Erasing is idempotent, so that an interrupted erasure can be repeated.
"""

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from mynah.core.erasing import erase, is_below, require_below, require_no_link
from mynah.core.errors import InputError, PlatformError
from mynah.core.progress import notify
from mynah.core.settings import MLFLOW_ARTIFACTS_DESTINATION
from mynah.core.walking import searching, walk
from mynah.hub.client import Hub
from mynah.maintenance.kubeflow_records import RUN, SCHEDULE, Kind, KubeflowRecords
from mynah.mlflow_client.client import client, experiment, store_errors
from mynah.mlflow_client.store import Store
from mynah.registry.published_copies import PublishedCopy
from mynah.storage.base import sha256
from mynah.storage.kubeflow_artifacts import artifacts_client, artifacts_root
from mynah.storage.local import FolderArtifactStore
from mynah.storage.open import direct_uri, open_artifact_store
from mynah.storage.s3 import ObjectVersion, S3ArtifactStore, Upload, erase_upload, erase_version, s3_client
from mynah.storage.work_folder import file_path
from mynah.tracking.database import Database, Rows, digest_of_rows

if TYPE_CHECKING:
    from mynah.kubernetes.cluster import Cluster
    from mynah.kubernetes.endpoint import Endpoint


IN_KUBEFLOW = "kubeflow-"  # begins the kinds of what Kubeflow's own object store holds
STORED = ("object", "upload", f"{IN_KUBEFLOW}object", f"{IN_KUBEFLOW}upload")  # kinds in S3, of which many can be erased at once


@dataclass(frozen=True, slots=True)
class ErasableItem:
    """An item to erase."""

    kind: str  # published, endpoint, version, bot, file, model, run, kubeflow-run, kubeflow-schedule, or one of STORED
    address: str  # a path, s3://BUCKET/KEY, a hub's https://…, BOT/VERSION, NAMESPACE/NAME, or an id
    digest: str  # "sha256:…" or S3's "etag:…", or ""
    version: str = ""  # of an object; an upload's id; what distinguishes items with one address


class Eraser:
    """Erases items of one store, on this machine and in a cluster."""

    def __init__(
        self,
        store: Store,
        database: Database,
        cluster: "Cluster | None",
        homes: Sequence[Path] = (),
        kubeflow: KubeflowRecords | None = None,
    ) -> None:
        """Create an eraser.

        Args:
            store: The tracking store.
            database: MLflow's database.
            cluster: The cluster whose endpoints to erase, or None.
            homes: The folders below which files may be erased.
            kubeflow: The Kubeflow whose runs to erase, or None.
        """
        self._store = store
        self._database = database
        self._cluster = cluster
        self._homes = homes
        self._kubeflow = kubeflow

    def erase(self, item: ErasableItem) -> None:
        """Erase an item, if it still exists.

        Raises InputError for a file outside the folders where files may be erased, and PlatformError when it cannot be erased.
        """
        if item.kind == "file":
            erase(Path(item.address), self._homes)
        elif item.kind in STORED:
            _erase_stored(item)
        elif item.kind in (RUN, SCHEDULE):
            self._kubeflow_of(item).delete(cast(Kind, item.kind), item.address)
        elif item.kind in ("version", "bot"):
            if not self.is_gone(item):
                _of_kind(self._database, item.kind)[1](*item.address.split("/"))
        elif item.kind == "endpoint":
            self._erase_endpoint(item)
        elif item.kind == "published":
            self._take_back(PublishedCopy.at(item.address, item.version))
        else:
            _of_kind(self._database, item.kind)[1](item.address)

    def is_gone(self, item: ErasableItem) -> bool:
        """Return whether nothing of an item is left."""
        if item.kind == "file":
            return not os.path.lexists(item.address)
        if item.kind in STORED:
            return _is_unstored(item)
        if item.kind in (RUN, SCHEDULE):
            return not self._kubeflow_of(item).exists(cast(Kind, item.kind), item.address)
        if item.kind == "published":
            return not self._hub.holds(PublishedCopy.at(item.address, item.version))
        if item.kind == "endpoint":
            return not any(_same(endpoint, item) for endpoint in self._endpoints())
        rows = _of_kind(self._database, item.kind)[0](*item.address.split("/"))
        return not rows or (item.kind in ("version", "bot") and identity(rows) != item.version)

    def _take_back(self, copy: PublishedCopy) -> None:
        try:
            self._hub.take_back(copy)
        except (InputError, PlatformError) as error:
            raise type(error)(f"the published copy {copy.url} may still be there: {error.problem}", error.fix) from error

    @functools.cached_property
    def _hub(self) -> Hub:
        return Hub.from_environment("asking for it")

    def _erase_endpoint(self, item: ErasableItem) -> None:
        if not self._cluster:
            raise InputError(f"the inference service {item.address} is in a cluster that is not named", "Name it with --context.")
        for endpoint in self._endpoints():
            if _same(endpoint, item):
                self._cluster.delete(endpoint)

    def _kubeflow_of(self, item: ErasableItem) -> KubeflowRecords:
        if not self._kubeflow:
            raise InputError(
                f"the {item.kind.replace('-', ' ')} {item.address} is in a Kubeflow that is not named",
                "Set KF_PIPELINES_ENDPOINT or --endpoint.",
            )
        return self._kubeflow

    def _endpoints(self) -> "list[Endpoint]":
        return self._cluster.endpoints() if self._cluster else []


def _same(endpoint: "Endpoint", item: ErasableItem) -> bool:
    return f"{endpoint.namespace}/{endpoint.name}" == item.address and endpoint.uid == item.version


def _of_kind(database: Database, kind: str) -> tuple[Callable[..., Rows], Callable[..., None]]:
    """Return the functions that read and erase the rows of a kind. Raises InputError for an unknown kind."""
    kinds: dict[str, tuple[Callable[..., Rows], Callable[..., None]]] = {
        "run": (database.run_rows, database.erase_run), "model": (database.model_rows, database.erase_model),
        "version": (database.version_rows, database.erase_version), "bot": (database.bot_rows, database.erase_bot),
    }  # fmt: skip
    if kind not in kinds:
        raise InputError(f"unknown kind of item: {kind[:40]!r}", "Was the receipt written by a later version of Mynah?")
    return kinds[kind]


def identity(rows: Rows) -> str:
    """Return what distinguishes a version or registered model from later ones: MLflow reuses names and numbers of erased ones."""
    table = {row["table"]: row for row in rows}
    row = table.get("registered_models") or table.get("model_versions") or {}
    return str(row.get("creation_time", ""))


def homes_of(store: Store) -> list[Path]:
    """Return the folders in which files of a store may be erased: its work folder, and a server's artifacts on this machine."""
    homes = [store.folder] if store.folder else []
    if store.is_server:
        with store_errors(store.tracking_uri):
            recorded = str(client(store.tracking_uri).get_experiment(experiment(store)).artifact_location)
        homes += [path for uri in (recorded, MLFLOW_ARTIFACTS_DESTINATION.get()) if uri and (path := file_path(uri))]
    return homes


def require_erasable(items: Sequence[ErasableItem], homes: Sequence[Path]) -> None:
    """Raise InputError when a file to erase lies outside `homes`; warn of links, which are erased without what they lead to."""
    for path in (Path(item.address) for item in items if item.kind == "file"):
        require_below(path, homes)
        if path.is_symlink() and not is_below(path.resolve(), homes):
            notify(f"{path} is a link to {path.resolve()}: the link is erased, and not what it leads to", "warning")


def stored_items(uri: str, tracking_uri: str) -> Iterator[ErasableItem]:
    """Yield every file, object version and unfinished upload of artifacts.

    Args:
        uri: The artifact URI.
        tracking_uri: The store that recorded it.

    Yields:
        The items to erase.

    Raises:
        InputError: The files lie outside the work folder of the store, or their folder is a link.
    """
    store = open_artifact_store(direct_uri(uri), tracking_uri)
    if isinstance(store, S3ArtifactStore):
        stored: list[ObjectVersion | Upload] = [*store.versions(), *store.uploads()]
        yield from map(s3_item, stored)
    elif isinstance(store, FolderArtifactStore):
        folder = store.folder  # MLflow creates a folder for each run and model, with `artifacts` in it
        store.require_removable()
        whole = FolderArtifactStore(folder.parent if folder.name == "artifacts" else folder, store.homes)
        whole.require_removable()
        yield from file_items(whole.folder)


def file_items(folder: Path) -> Iterator[ErasableItem]:
    """Yield every file below a folder, including hidden ones, and then the folder itself.

    Raises InputError when the folder is a link, and PlatformError when something in it cannot be read.
    """
    require_no_link(folder)
    if folder.is_file():
        yield ErasableItem("file", str(folder), _sha256(folder))
        return
    for path in sorted(walk(folder), reverse=True):
        if path.is_symlink() or not path.is_dir():
            yield ErasableItem("file", str(path), _sha256(path) if path.is_file() and not path.is_symlink() else "")
    if folder.is_dir():
        yield ErasableItem("file", str(folder), "")


def _sha256(path: Path) -> str:
    with searching(path):
        return f"sha256:{sha256(path)}"


def row_item(kind: str, address: str, database: Database) -> ErasableItem:
    """Describe a row's object in MLflow's database, with the digest of its rows.

    Args:
        kind: run, model, version or bot.
        address: Its id or name; BOT/NUMBER for a version.
        database: MLflow's database.

    Returns:
        The item to erase.

    Raises:
        InputError: `kind` is unknown.
    """
    rows = _of_kind(database, kind)[0](*address.split("/"))
    return ErasableItem(kind, address, digest_of_rows(rows), identity(rows) if kind in ("version", "bot") else "")


def _bucket_and_key(address: str) -> tuple[str, str]:
    bucket, _, key = address.removeprefix("s3://").partition("/")
    return bucket, key


def s3_item(stored: ObjectVersion | Upload, prefix: str = "") -> ErasableItem:
    """Describe an object version or an unfinished upload; `prefix` is IN_KUBEFLOW for one in Kubeflow's own store."""
    address = f"s3://{stored.bucket}/{stored.key}"
    if isinstance(stored, Upload):
        return ErasableItem(f"{prefix}upload", address, "", stored.upload_id)
    return ErasableItem(f"{prefix}object", address, "" if stored.is_marker else f"etag:{stored.etag}", stored.version)


def _client_of(item: ErasableItem) -> Callable[[], Any]:
    """Return what makes a client of the S3 that holds an item. Raises InputError for a store of Kubeflow that is not named."""
    if not item.kind.startswith(IN_KUBEFLOW):
        return s3_client
    bucket, _ = _bucket_and_key(item.address)
    if artifacts_root()[0] != bucket:
        raise InputError(
            f"{item.address} is in Kubeflow's own object store", f"Set KF_PIPELINES_ARTIFACTS to s3://{bucket}/PREFIX."
        )
    return artifacts_client


def _erase_stored(item: ErasableItem) -> None:
    bucket, key = _bucket_and_key(item.address)
    if item.kind.endswith("upload"):
        erase_upload(Upload(bucket, key, item.version), _client_of(item))
    else:
        erase_version(ObjectVersion(bucket, key, item.version, 0, "", False), _client_of(item))


def _is_unstored(item: ErasableItem) -> bool:
    bucket, key = _bucket_and_key(item.address)
    store = S3ArtifactStore(bucket, str(Path(key).parent), _client_of(item))
    if item.kind.endswith("upload"):
        return not any(upload.upload_id == item.version for upload in store.uploads())
    return not any(version.key == key and version.version == item.version for version in store.versions())
