"""Reading chosen members of a zip or a folder that a stranger made, without harm.

Nothing is ever unpacked to disk: members are read in chunks, and only those that are asked for by name.
"""

import contextlib
import io
import re
import struct
import zipfile
import zlib
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Protocol

from components.errors import InputError
from components.fetch.sources import printable

CHUNK = 1 << 20  # bytes
BOMB_RATIO = 200  # deflate reaches 1032:1 at most; the JSON of real exports lies near 10:1
BOMB_SIZE = 16 << 20  # bytes; what is smaller may be as dense as it likes
MOST_BYTES = 8 << 30  # of all members read together
MOST_DIRECTORY = 64 << 20  # bytes of a zip's list of members: half a million of them, or 700 MB of memory at the worst
PROFILE_MEDIA = "profile_media"  # the folder of profile pictures within an export's data

AGAIN = "Download the archive again; if it was packed anew, pack it with an ordinary zip program, without a password."
# What zipfile and zlib raise on damaged input; there is no common base.
DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OverflowError,
    IndexError,
    OSError,
)


class Archive(Protocol):
    """The members of an export, by names with forward slashes."""

    label: str  # the zip's or folder's own name, for messages
    names: list[str]

    def size(self, member: str) -> int:
        """Its size in bytes, uncompressed. Raises InputError when the member must not be read."""

    def chunks(self, member: str) -> Generator[bytes, None, None]:
        """Its bytes, 1 MiB at a time. Raises InputError when they are damaged."""


@contextlib.contextmanager
def open_archive(path: Path, label: str) -> Iterator[Archive]:
    """Open the zip or folder at `path`; `label` names it in messages.

    Raises InputError when it is neither, is damaged, or names a member outside of itself.
    """
    if path.is_dir():
        yield FolderArchive(path, label)
        return
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(_Bounded(path.open("rb", buffering=0)))
            opened = stack.enter_context(zipfile.ZipFile(file))
        except DAMAGE as error:
            raise _not_a_zip(path, label, error) from error
        yield ZipArchive(opened, label)


class _Bounded(io.BufferedReader):
    """A zip's file that refuses to read a huge directory, which zipfile reads whole and makes an object of each member."""

    def read(self, size: int | None = -1, /) -> bytes:
        """As its base has it. Raises BadZipFile."""
        if size is not None and size > MOST_DIRECTORY:
            raise zipfile.BadZipFile(f"its directory has {size:,} bytes, and {MOST_DIRECTORY:,} are read at most")
        return super().read(size)


class ZipArchive:
    """A zip whose members' names were all found safe."""

    def __init__(self, opened: zipfile.ZipFile, label: str) -> None:
        self.label = label
        self._zip = opened
        self._members = {info.filename: info for info in opened.infolist()}
        self._asked: dict[str, int] = {}
        self.names = list(self._members)
        for info in opened.infolist():
            _refuse_unsafe_name(info.orig_filename, label)

    def size(self, member: str) -> int:
        """Its size in bytes, uncompressed. Raises InputError for an encrypted member, an odd compression, or a zip bomb."""
        info = self._members[member]
        where = f"{self.label}, {printable(member)}"
        if info.flag_bits & 0x1:
            raise InputError(f"{where}: is encrypted", AGAIN)
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise InputError(f"{where}: is compressed by method {info.compress_type}, and only deflate is read", AGAIN)
        if info.file_size > BOMB_SIZE and info.file_size > BOMB_RATIO * info.compress_size:
            packed = f"{info.file_size} bytes packed into {info.compress_size}"
            raise InputError(f"{where}: looks like a zip bomb ({packed}); nothing was read", AGAIN)
        self._asked[member] = info.file_size
        total = sum(self._asked.values())
        if total > MOST_BYTES:
            raise InputError(f"{where}: brings the posts to {total} bytes, and {MOST_BYTES} are read at most", AGAIN)
        return info.file_size

    def chunks(self, member: str) -> Generator[bytes, None, None]:
        """Its bytes, 1 MiB at a time; zipfile itself stops at the declared size. Raises InputError when they are damaged."""
        self.size(member)
        try:
            with self._zip.open(self._members[member]) as file:
                while chunk := file.read(CHUNK):
                    yield chunk
        except DAMAGE as error:
            raise InputError(f"{self.label}, {printable(member)}: the zip is damaged here ({error})", AGAIN) from error


class FolderArchive:
    """An unpacked export; only its top, its `data` folder, the `data` of its sub-folders, and three folders there are listed."""

    def __init__(self, root: Path, label: str) -> None:
        self.label = label
        self._root = root
        try:
            folders = [root, root / "data", *(folder / "data" for folder in sorted(root.iterdir()) if folder.name != "data")]
            folders += [folder / inner for folder in folders for inner in (PROFILE_MEDIA, "js", "js/tweets")]
            listed = [item for folder in folders if folder.is_dir() for item in sorted(folder.iterdir())]
        except OSError as error:
            raise InputError(f"{label}: the folder cannot be listed ({error.strerror})", "Make it readable.") from error
        self.names = [item.relative_to(root).as_posix() for item in listed]

    def size(self, member: str) -> int:
        """Its size in bytes. Raises InputError when it is no plain file, or a link that leaves the folder."""
        where = f"{self.label}, {printable(member)}"
        try:
            path = (self._root / member).resolve()
            if not path.is_relative_to(self._root.resolve()):
                raise InputError(f"{where}: is a link that leaves the folder", "Put the file itself in its place.")
            if not path.is_file():
                raise InputError(f"{where}: is not a plain file", "Put the export's own file in its place.")
            return path.stat().st_size
        except OSError as error:
            raise InputError(f"{where}: cannot be read ({error.strerror})", "Make it readable.") from error
        except RuntimeError as error:  # whose words hold the machine's path
            raise InputError(f"{where}: is a link to itself", "Put the file itself in its place.") from error

    def chunks(self, member: str) -> Generator[bytes, None, None]:
        """Its bytes, 1 MiB at a time."""
        self.size(member)
        try:
            with (self._root / member).open("rb") as file:
                while chunk := file.read(CHUNK):
                    yield chunk
        except OSError as error:
            where = f"{self.label}, {printable(member)}"
            raise InputError(f"{where}: cannot be read ({error.strerror})", "Make it readable.") from error


def _refuse_unsafe_name(name: str, label: str) -> None:
    parts = re.split(r"[/\\]", name)
    if not parts[0] or ".." in parts or re.match(r"[A-Za-z]:", name):
        problem = f"{label}: member {printable(name)[:200]!r} points outside the archive; nothing was read"
        raise InputError(problem, "Such a zip is not X's own work: download the archive from X again.")


def _not_a_zip(path: Path, label: str, error: Exception) -> InputError:
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as cause:
        return InputError(f"{label}: cannot be read ({cause.strerror})", "Make the file readable.")
    if not start:
        return InputError(f"{label}: is empty (0 bytes)", AGAIN)
    if start.startswith(b"PK"):
        return InputError(f"{label}: the zip is cut short or damaged ({error})", AGAIN)
    return InputError(
        f"{label}: is not a zip (it begins with {start!r})",
        "Name the zip that X sent or its unpacked folder; a table must end in .csv, .jsonl, .ndjson or .parquet.",
    )
