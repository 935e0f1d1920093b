"""Files in an artifact store: written, verified, read back and erased, in a folder, in S3, or through MLflow's server.

A `Place` is one folder of the store. Files are streamed, never held in memory whole.
"""

import functools
import os
import tempfile
import urllib.parse
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from components.errors import InputError, PlatformError
from components.files import digest

CHUNK = 1 << 20  # bytes read at a time
Advance = Callable[[int], None]  # so many bytes more are done


@dataclass(frozen=True, slots=True)
class Stored:
    """A file as its store has it; `digest` is "sha256:…", S3's "etag:…", or "" where the store keeps none."""

    size: int
    digest: str = ""


class Place(Protocol):
    """A folder of an artifact store. Every method raises PlatformError when the store fails or refuses."""

    uri: str

    def check(self) -> None:
        """Raise when the store cannot be reached or does not let us in: asked before the work, not after."""

    def put(self, name: str, path: Path) -> None:
        """Store the file `path` as `name`, a relative path with slashes; what was there is replaced."""

    def files(self) -> dict[str, Stored]:
        """The files below this place by relative name; {} where there is none."""

    def get(self, name: str, path: Path) -> None:
        """Write the file `name` to `path`. Raises InputError when there is none."""

    def same(self, name: str, path: Path) -> bool:
        """Whether the stored file `name` holds the bytes of `path`."""

    def remove(self) -> None:
        """Remove every file below this place."""


def place(uri: str, tracking_uri: str = "") -> Place:
    """The Place at an artifact URI of MLflow: a path, file:, s3: or mlflow-artifacts: (through the server `tracking_uri`).

    Raises InputError for any other scheme.
    """
    parsed = urllib.parse.urlparse(uri)
    if parsed.scheme in ("", "file"):
        from components.artifact_folder import FolderPlace

        return FolderPlace(Path(urllib.parse.unquote(parsed.path)))
    if parsed.scheme == "s3":
        from components.artifact_s3 import S3Place

        return S3Place(parsed.netloc, parsed.path.strip("/"))
    if parsed.scheme == "mlflow-artifacts":
        from components.artifact_server import ServerPlace

        return ServerPlace(uri, tracking_uri)
    raise InputError(f"artifacts at {uri[:200]!r} cannot be reached", "Mynah knows folders, s3:// and mlflow-artifacts:/.")


def direct_uri(uri: str) -> str:
    """Where the files of an artifact URI lie themselves: s3://… also for one that the server hands through.

    The server's own MLFLOW_ARTIFACTS_DESTINATION tells what lies behind it. Raises InputError when it is not set.
    """
    parsed = urllib.parse.urlparse(uri)
    if parsed.scheme != "mlflow-artifacts":
        return uri
    destination = os.environ.get("MLFLOW_ARTIFACTS_DESTINATION", "")
    if not destination:
        raise InputError(
            f"{uri} lies behind the MLflow server, and nothing tells in which bucket",
            "Set MLFLOW_ARTIFACTS_DESTINATION as the server has it (s3://BUCKET/PREFIX).",
        )
    return f"{destination.rstrip('/')}/{parsed.path.strip('/')}"


def upload(target: Place, files: Mapping[str, Path], advance: Advance = lambda _: None) -> None:
    """Store `files` (name to path) and verify each: it is there, of the same size, with the same digest.

    Several at a time, the largest first. Raises PlatformError naming the file that is missing or differs.
    """

    def store(name: str) -> None:
        target.put(name, files[name])
        if not target.same(name, files[name]):
            raise PlatformError(
                f"{target.uri}/{name} is not what was sent: it is missing or its digest differs",
                "Run again; if it stays so, look at the store's disk.",
            )
        advance(files[name].stat().st_size)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(store, sorted(files, key=lambda name: -files[name].stat().st_size)))
    there = target.files()
    for name, path in files.items():
        if name not in there or there[name].size != path.stat().st_size:
            raise PlatformError(f"{target.uri}/{name} vanished after it was stored", "Run again, and see what else writes there.")


def visible_files(folder: Path, prefix: str = "") -> dict[str, Path]:
    """The files below `folder` by their names in a store, without hidden ones."""
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {prefix + name: path for name, path in found.items() if not any(part.startswith(".") for part in name.split("/"))}


def fetch_text(source: Place, name: str) -> str:
    """The UTF-8 text of a small file. Raises InputError when there is none."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "file"
        source.get(name, path)
        return path.read_text("utf-8")


def missing(uri: str) -> InputError:
    """The error for a file that a store does not have."""
    return InputError(f"there is no {uri}", "See `mynah doctor`.")


@functools.cache
def _known(path: Path, size: int, changed: int) -> str:
    return digest(path)


def sha256(path: Path) -> str:
    """The SHA-256 of a file, remembered while the file stays as it is: a checkpoint is large, and asked for twice."""
    found = path.stat()
    return _known(path, found.st_size, found.st_mtime_ns)
