"""Check that a work folder's file system supports what Mynah needs.

Each probe does on scratch files what Mynah or SQLite does later. Network file systems may lack locks, some drivers lose the content of a
renamed folder, and SQLite would report "disk I/O error" for both.
"""

import contextlib
import errno
import fcntl
import mmap
import os
import sqlite3
import tempfile
from pathlib import Path

from mynah.core.errors import PlatformError
from mynah.core.files import file_system_of, set_mode, storage_errors
from mynah.core.progress import notify


def require_file_system(folder: Path) -> None:
    """Raise PlatformError, naming the file system, when `folder` is on one that cannot hold a work folder. Call it before the work.

    Warns of a file system without permissions: posts, training states and the key that signs receipts are stored there.
    """
    with storage_errors(folder), tempfile.TemporaryDirectory(prefix=".mynah-", dir=folder, ignore_cleanup_errors=True) as scratch:
        for what, probe in PROBES.items():
            try:
                with storage_errors(folder):
                    probe(Path(scratch))
            except (OSError, sqlite3.Error) as error:
                kind = file_system_of(folder)
                raise PlatformError(
                    f"{folder} is on a file system{f' ({kind})' if kind else ''} that cannot {what}: {error}",
                    "Name a folder on a disk of this machine with --workdir; exports may stay where they are.",
                ) from error
        if not _keeps_modes(Path(scratch)):
            notify(
                f"the disk of {folder} keeps no permissions: everyone who can read the disk can read all files on it", "warning"
            )


def _keeps_modes(folder: Path) -> bool:
    path = folder / "private"
    path.touch()
    set_mode(path, 0o600)
    return not path.stat().st_mode & 0o077


def _lock(folder: Path) -> None:
    with (folder / "lock").open("w") as one, (folder / "lock").open("w") as other:
        fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
    raise OSError(errno.ENOLCK, "two processes got the same lock")


def _database(folder: Path) -> None:
    path = folder / "probe.db"
    with contextlib.closing(sqlite3.connect(path)) as one, contextlib.closing(sqlite3.connect(path, timeout=0)) as other:
        one.execute("CREATE TABLE probe (value)")
        one.execute("BEGIN IMMEDIATE")
        try:
            other.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
        else:
            raise sqlite3.OperationalError("two connections could write at the same time")
        one.execute("INSERT INTO probe VALUES (1)")
        one.commit()


def _folders(folder: Path) -> None:
    """Rename folders: a step's output replaces an older one by renaming both."""
    for name in ("new", "old"):
        (folder / name).mkdir()
        (folder / name / "file").write_text(name)
    (folder / "old").rename(folder / "aside")
    (folder / "new").rename(folder / "old")
    for name, text in (("old", "new"), ("aside", "old")):
        if not (folder / name / "file").is_file() or (folder / name / "file").read_text() != text:
            raise OSError(errno.EIO, "a renamed folder lost its content")


def _names(folder: Path) -> None:
    """Keep the case of names: MLmodel and README.md must not become mlmodel and readme.md."""
    expected = {"MLmodel", f".Half-{'n' * 100}.tmp"}
    names_folder = folder / "names"
    names_folder.mkdir()
    for name in expected:
        (names_folder / name).touch()
    if found := {path.name for path in names_folder.iterdir()} - expected:
        raise OSError(errno.EILSEQ, f"a name became {min(found)[:20]!r}")


def _map(folder: Path) -> None:
    """Map a file into memory, as safetensors does with weights."""
    path = folder / "weights"
    path.write_bytes(b"0" * mmap.PAGESIZE)
    handle = os.open(path, os.O_RDONLY)
    try:
        mmap.mmap(handle, 0, mmap.MAP_SHARED, mmap.PROT_READ).close()
    finally:
        os.close(handle)


PROBES = {
    "lock files": _lock, "keep names as they are": _names, "rename folders": _folders, "hold a database": _database,
    "map files into memory": _map,
}  # fmt: skip
