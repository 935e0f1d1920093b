"""Things that can be erased, wherever they lie: each is named, told with its digest, erased, and looked for again.

Erasing twice is no error, so that whatever stopped in the middle can be run again.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.artifact_s3 import ObjectVersion, S3Place, Upload, erase_upload, erase_version
from components.artifacts import direct_uri, place, sha256
from components.database import Database, digest_of_rows
from components.errors import InputError, PlatformError
from components.store import Store

if TYPE_CHECKING:
    from components.cluster import Cluster


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to erase."""

    kind: str  # endpoint, version, bot, object, upload, file, model or run
    address: str  # a path, s3://BUCKET/KEY, BOT/VERSION, NAMESPACE/NAME, or an id
    digest: str  # "sha256:…" or S3's "etag:…"; "" where there is none to tell
    version: str = ""  # of an object, or an upload's id


class Eraser:
    """Erases items of one store, on this machine and in a cluster."""

    def __init__(self, store: Store, database: Database, cluster: "Cluster | None") -> None:
        self._store = store
        self._database = database
        self._cluster = cluster

    def erase(self, item: Item) -> None:
        """Erase an item; one that is gone is no error. Raises PlatformError when it cannot be erased."""
        if item.kind == "file":
            _erase_file(Path(item.address))
        elif item.kind == "object":
            erase_version(_object(item))
        elif item.kind == "upload":
            erase_upload(Upload(*_bucket_and_key(item.address), item.version))
        elif item.kind == "run":
            self._database.erase_run(item.address)
        elif item.kind == "model":
            self._database.erase_model(item.address)
        elif item.kind == "version":
            self._database.erase_version(*item.address.split("/"))
        elif item.kind == "bot":
            self._database.erase_bot(item.address)
        elif item.kind == "endpoint":
            self._erase_endpoint(item.address)
        else:
            raise InputError(f"nobody knows how to erase a {item.kind!r}", "Is the receipt of a later version of Mynah?")

    def is_gone(self, item: Item) -> bool:
        """Whether nothing of an item is left."""
        if item.kind == "file":
            return not Path(item.address).exists()
        if item.kind == "object":
            return not any(found.version == item.version for found in _versions_of(item.address))
        if item.kind == "upload":
            bucket, key = _bucket_and_key(item.address)
            return not any(found.upload_id == item.version for found in S3Place(bucket, str(Path(key).parent)).uploads())
        if item.kind == "endpoint":
            return self._endpoint_is_gone(item.address)
        rows = {"run": self._database.run_rows, "model": self._database.model_rows, "bot": self._database.bot_rows}
        if item.kind == "version":
            return not self._database.version_rows(*item.address.split("/"))
        return not rows[item.kind](item.address)

    def _erase_endpoint(self, address: str) -> None:
        if not self._cluster:
            raise PlatformError(f"the inference service {address} is in a cluster that is not named", "Name it with --context.")
        for endpoint in self._cluster.endpoints():
            if f"{endpoint.namespace}/{endpoint.name}" == address:
                self._cluster.delete(endpoint)

    def _endpoint_is_gone(self, address: str) -> bool:
        return bool(self._cluster) and all(
            f"{found.namespace}/{found.name}" != address for found in (self._cluster.endpoints() if self._cluster else [])
        )


def stored_items(uri: str) -> Iterator[Item]:
    """Every file, object version and unfinished upload below an artifact URI."""
    direct = direct_uri(uri)
    found = place(direct)
    if isinstance(found, S3Place):
        for version in found.versions():
            digest = "" if version.is_marker else f"etag:{version.etag}"
            yield Item("object", f"s3://{version.bucket}/{version.key}", digest, version.version)
        for upload in found.uploads():
            yield Item("upload", f"s3://{upload.bucket}/{upload.key}", "", upload.upload_id)
    else:
        folder = Path(found.uri)  # MLflow gives each run and model a folder of its own, and `artifacts` in it
        yield from file_items(folder.parent if folder.name == "artifacts" else folder)


def file_items(folder: Path) -> Iterator[Item]:
    """Every file below a folder, hidden ones too, and after them the folder itself, which is gone when it is."""
    if folder.is_file() or folder.is_symlink():
        yield Item("file", str(folder), f"sha256:{sha256(folder)}" if folder.is_file() else "")
        return
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_symlink() or not path.is_dir():
            yield Item("file", str(path), f"sha256:{sha256(path)}" if path.is_file() and not path.is_symlink() else "")
    if folder.is_dir():
        yield Item("file", str(folder), "")


def row_item(kind: str, address: str, database: Database) -> Item:
    """A run, logged model, version or bot in MLflow's database, with the digest of its rows."""
    rows = {"run": database.run_rows, "model": database.model_rows, "bot": database.bot_rows}
    found = database.version_rows(*address.split("/")) if kind == "version" else rows[kind](address)
    return Item(kind, address, digest_of_rows(found))


def _erase_file(path: Path) -> None:
    import shutil

    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)  # empty but for folders: its files come before it
        else:
            path.unlink(missing_ok=True)
    except FileNotFoundError:
        return
    except OSError as error:
        raise PlatformError(f"{path} cannot be erased: {error.strerror}", "Make it removable, and run again.") from error


def _bucket_and_key(address: str) -> tuple[str, str]:
    bucket, _, key = address.removeprefix("s3://").partition("/")
    return bucket, key


def _object(item: Item) -> ObjectVersion:
    return ObjectVersion(*_bucket_and_key(item.address), item.version, 0, "", False)


def _versions_of(address: str) -> Iterator[ObjectVersion]:
    bucket, key = _bucket_and_key(address)
    return (found for found in S3Place(bucket, str(Path(key).parent)).versions() if found.key == key)
