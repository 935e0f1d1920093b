"""Write, verify, read and erase files in an artifact store: in a folder, in S3, or through MLflow's server.

An `ArtifactStore` is one folder of the store. Files are streamed, never held in memory whole.
"""

import functools
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mynah.core.errors import InputError, PlatformError
from mynah.core.files import digest
from mynah.core.progress import progress

CHUNK = 1 << 20  # bytes read at a time
LONG_UPLOAD = 32_000_000  # bytes; less is stored before a progress bar could help
Advance = Callable[[int], None]  # receives the number of bytes done since the last call


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file in its store; `digest` is "sha256:…", S3's "etag:…", or "" where the store has none."""

    size: int
    digest: str = ""


class ArtifactStore(Protocol):
    """A folder of an artifact store. Every method raises PlatformError when the store fails or refuses."""

    uri: str

    def check(self) -> None:
        """Raise PlatformError when the store cannot be reached or denies access. Call it before the work."""

    def put(self, name: str, path: Path) -> None:
        """Store the file `path` as `name`, a relative path with slashes, replacing an existing one."""

    def files(self) -> dict[str, StoredFile]:
        """Return the files of this folder by relative name; {} where there are none."""

    def get(self, name: str, path: Path) -> None:
        """Write the file `name` to `path`. Raises InputError when it does not exist."""

    def same(self, name: str, path: Path) -> bool:
        """Return whether the stored file `name` has the bytes of `path`."""

    def remove(self) -> None:
        """Remove every file of this folder."""


def upload(target: ArtifactStore, files: Mapping[str, Path], advance: Advance = lambda _: None) -> None:
    """Store files and verify each: it exists, with the same size and digest.

    Several are stored at a time, the largest first.

    Args:
        target: The folder to store them in.
        files: Paths by name.
        advance: Called with the bytes of each stored file.

    Raises:
        PlatformError: A file is missing or differs; the message names it.
    """

    def store(name: str) -> None:
        target.put(name, files[name])
        if not target.same(name, files[name]):
            raise PlatformError(
                f"{target.uri}/{name} differs from what was sent: it is missing or has another digest",
                "Run again; if it happens again, check the store's disk.",
            )
        advance(files[name].stat().st_size)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(store, sorted(files, key=lambda name: -files[name].stat().st_size)))
    stored = target.files()
    for name, path in files.items():
        if name not in stored or stored[name].size != path.stat().st_size:
            raise PlatformError(
                f"{target.uri}/{name} vanished after it was stored", "Run again, and check what else writes there."
            )


def upload_shown(target: ArtifactStore, files: Mapping[str, Path], what: str) -> None:
    """Store files as `upload` does, and show a progress bar titled `what` where they are large."""
    size = sum(path.stat().st_size for path in files.values())
    if size < LONG_UPLOAD:
        upload(target, files)
        return
    with progress(what, size / 1e6, "MB") as advance:
        upload(target, files, lambda done: advance(done / 1e6))


def visible_files(folder: Path, prefix: str = "") -> dict[str, Path]:
    """Return the files below `folder` by their names in a store, without hidden ones."""
    paths = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {prefix + name: path for name, path in paths.items() if not any(part.startswith(".") for part in name.split("/"))}


def fetch_text(source: ArtifactStore, name: str) -> str:
    """Read a small file as UTF-8. Raises InputError when it does not exist."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "file"
        source.get(name, path)
        return path.read_text("utf-8")


def no_such_file(uri: str) -> InputError:
    """Create the error for a file that a store does not have."""
    return InputError(f"there is no {uri}", "See `mynah doctor`.")


@functools.cache
def _cached_digest(path: Path, size: int, changed: int) -> str:
    return digest(path)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, cached while the file is unchanged: a checkpoint is large, and its digest is needed twice."""
    status = path.stat()
    return _cached_digest(path, status.st_size, status.st_mtime_ns)
