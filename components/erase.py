"""Things that can be erased, wherever they lie: each is named, told with its digest, erased, and looked for again.

Erasing twice is no error, so that whatever stopped in the middle can be run again.
"""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.artifact_s3 import ObjectVersion, S3Place, Upload, erase_upload, erase_version
from components.artifacts import direct_uri, place, sha256
from components.copies import Copy
from components.database import Database, Rows, digest_of_rows
from components.errors import InputError, PlatformError
from components.store import Store

if TYPE_CHECKING:
    from components.cluster import Cluster, Endpoint
    from components.publish.hub import Hub


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to erase."""

    kind: str  # published, endpoint, version, bot, object, upload, file, model or run
    address: str  # a path, s3://BUCKET/KEY, a hub's https://…, BOT/VERSION, NAMESPACE/NAME, or an id
    digest: str  # "sha256:…" or S3's "etag:…"; "" where there is none to tell
    version: str = ""  # of an object; an upload's id; of what can be made again under its address, which one it was


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
        elif item.kind in ("version", "bot"):
            if not self.is_gone(item):
                _of_kind(self._database, item.kind)[1](*item.address.split("/"))
        elif item.kind == "endpoint":
            self._erase_endpoint(item)
        elif item.kind == "published":
            self._take_back(Copy.at(item.address, item.version))
        else:
            _of_kind(self._database, item.kind)[1](item.address)

    def is_gone(self, item: Item) -> bool:
        """Whether nothing of an item is left."""
        if item.kind == "file":
            return not Path(item.address).exists()
        if item.kind == "object":
            return not any(found.version == item.version for found in _versions_of(item.address))
        if item.kind == "upload":
            bucket, key = _bucket_and_key(item.address)
            return not any(found.upload_id == item.version for found in S3Place(bucket, str(Path(key).parent)).uploads())
        if item.kind == "published":
            return not self._hub.holds(Copy.at(item.address, item.version))
        if item.kind == "endpoint":
            return not any(_same(found, item) for found in self._endpoints())
        rows = _of_kind(self._database, item.kind)[0](*item.address.split("/"))
        return not rows or (item.kind in ("version", "bot") and identity(rows) != item.version)

    def _take_back(self, copy: Copy) -> None:
        try:
            self._hub.take_back(copy)
        except (InputError, PlatformError) as error:
            raise type(error)(f"the published copy {copy.url} may still be there: {error.problem}", error.fix) from error

    @functools.cached_property
    def _hub(self) -> "Hub":
        from components.publish.hub import Hub

        return Hub.from_environment("asking for it")

    def _erase_endpoint(self, item: Item) -> None:
        if not self._cluster:
            raise InputError(f"the inference service {item.address} is in a cluster that is not named", "Name it with --context.")
        for endpoint in self._endpoints():
            if _same(endpoint, item):
                self._cluster.delete(endpoint)

    def _endpoints(self) -> "list[Endpoint]":
        return self._cluster.endpoints() if self._cluster else []


def _same(endpoint: "Endpoint", item: Item) -> bool:
    return f"{endpoint.namespace}/{endpoint.name}" == item.address and endpoint.uid == item.version


def _of_kind(database: Database, kind: str) -> tuple[Callable[..., Rows], Callable[..., None]]:
    """How to read and how to erase the rows of a kind. Raises InputError for one that is unknown."""
    kinds: dict[str, tuple[Callable[..., Rows], Callable[..., None]]] = {
        "run": (database.run_rows, database.erase_run), "model": (database.model_rows, database.erase_model),
        "version": (database.version_rows, database.erase_version), "bot": (database.bot_rows, database.erase_bot),
    }  # fmt: skip
    if kind not in kinds:
        raise InputError(f"nobody knows what a {kind[:40]!r} is", "Is the receipt of a later version of Mynah?")
    return kinds[kind]


def identity(rows: Rows) -> str:
    """Which version or registered model it is: MLflow gives an erased one's name and number to the next."""
    table = {row["table"]: row for row in rows}
    row = table.get("registered_models") or table.get("model_versions") or {}
    return str(row.get("creation_time", ""))


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
    found = _of_kind(database, kind)[0](*address.split("/"))
    return Item(kind, address, digest_of_rows(found), identity(found) if kind in ("version", "bot") else "")


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
