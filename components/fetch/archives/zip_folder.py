"""Read chosen members of an untrusted zip or folder safely.

Nothing is ever unpacked to disk: members are read in chunks, and only those requested by name.
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

from components.fetch.sources import printable
from mynah.core.errors import InputError

CHUNK = 1 << 20  # bytes
BOMB_RATIO = 200  # deflate reaches 1032:1 at most; the JSON of real exports reaches about 10:1
BOMB_SIZE = 16 << 20  # bytes; smaller members are not checked against BOMB_RATIO
MAX_TOTAL_BYTES = 8 << 30  # of all members that are read
MAX_DIRECTORY_BYTES = 64 << 20  # a zip's central directory: half a million members, at worst 700 MB of memory
PROFILE_MEDIA = "profile_media"  # the folder of profile pictures within an export's data
MAX_FOLDER_DEPTH, MAX_FOLDER_FILES = 8, 200_000  # of an unpacked export that are listed; a person may name any folder
CLUTTER = re.compile(r"(?:.*/)?(?:__MACOSX/.*|\._[^/]*|\.DS_Store)", re.DOTALL)  # written by macOS beside the files of an archive

DOWNLOAD_AGAIN = "Download the archive again; if you repacked it, use an ordinary zip program and no password."
# Raised by zipfile and zlib on damaged input; there is no common base class.
DAMAGE_ERRORS = (
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
    """The members of an export, named with forward slashes."""

    label: str  # the zip's or folder's own name, for messages
    names: list[str]

    def size(self, member: str) -> int:
        """Return the uncompressed size of `member` in bytes. Raises InputError when the member must not be read."""

    def chunks(self, member: str) -> Generator[bytes, None, None]:
        """Yield the bytes of `member`, 1 MiB at a time. Raises InputError when they are damaged."""


@contextlib.contextmanager
def open_archive(path: Path, label: str) -> Iterator[Archive]:
    """Open a zip or a folder.

    Args:
        path: The zip or folder.
        label: Its name in messages.

    Yields:
        The archive.

    Raises:
        InputError: `path` is neither, is damaged, or names a member outside of itself.
    """
    if path.is_dir():
        yield FolderArchive(path, label)
        return
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(_BoundedReader(path.open("rb", buffering=0)))
            zip_file = stack.enter_context(zipfile.ZipFile(file))
        except DAMAGE_ERRORS as error:
            raise _not_a_zip(path, label, error) from error
        yield ZipArchive(zip_file, label)


class _BoundedReader(io.BufferedReader):
    """A zip's file that refuses to read a huge directory: zipfile reads it whole and creates an object for each member."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Read like io.BufferedReader. Raises BadZipFile when zipfile asks for too large a directory."""
        if size is not None and size > MAX_DIRECTORY_BYTES:
            raise zipfile.BadZipFile(f"its directory has {size:,} bytes; the limit is {MAX_DIRECTORY_BYTES:,}")
        return super().read(size)


class ZipArchive:
    """A zip whose member names were all checked."""

    def __init__(self, file: zipfile.ZipFile, label: str) -> None:
        self.label = label
        self._zip = file
        # Windows PowerShell and old .NET write names with backslashes, against the zip specification (4.4.17).
        named = ((info.filename.replace("\\", "/").removeprefix("./"), info) for info in file.infolist())
        self._members = {name: info for name, info in named if not CLUTTER.fullmatch(name)}
        self._sizes: dict[str, int] = {}
        self.names = list(self._members)
        for info in file.infolist():
            _refuse_unsafe_name(info.orig_filename, label)

    def size(self, member: str) -> int:
        """Return the uncompressed size of `member` in bytes.

        Raises:
            InputError: The member is encrypted, uses an unsupported compression, or looks like a zip bomb.
        """
        info = self._members[member]
        where = f"{self.label}, {printable(member)}"
        if info.flag_bits & 0x1:
            raise InputError(f"{where}: is encrypted", DOWNLOAD_AGAIN)
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise InputError(f"{where}: is compressed by method {info.compress_type}, only deflate is supported", DOWNLOAD_AGAIN)
        if info.file_size > BOMB_SIZE and info.file_size > BOMB_RATIO * info.compress_size:
            packed = f"{info.file_size} bytes packed into {info.compress_size}"
            raise InputError(f"{where}: looks like a zip bomb ({packed}); nothing was read", DOWNLOAD_AGAIN)
        self._sizes[member] = info.file_size
        total = sum(self._sizes.values())
        if total > MAX_TOTAL_BYTES:
            raise InputError(f"{where}: brings the total to {total} bytes; the limit is {MAX_TOTAL_BYTES}", DOWNLOAD_AGAIN)
        return info.file_size

    def chunks(self, member: str) -> Generator[bytes, None, None]:
        """Yield the bytes of `member`, 1 MiB at a time; zipfile stops at the declared size. Raises InputError when they are damaged."""
        self.size(member)
        try:
            with self._zip.open(self._members[member]) as member_file:
                while chunk := member_file.read(CHUNK):
                    yield chunk
        except DAMAGE_ERRORS as error:
            raise InputError(f"{self.label}, {printable(member)}: the zip is damaged here ({error})", DOWNLOAD_AGAIN) from error


class FolderArchive:
    """An unpacked export: the folders where exports of X have their files, which may be links, and all others that are none."""

    def __init__(self, root: Path, label: str) -> None:
        self.label = label
        self._root = root
        try:
            folders = [root, root / "data", *(folder / "data" for folder in sorted(root.iterdir()) if folder.name != "data")]
            folders += [folder / inner for folder in folders for inner in (PROFILE_MEDIA, "js", "js/tweets")]
            listed = [item for folder in folders if folder.is_dir() for item in sorted(folder.iterdir())]
        except OSError as error:
            raise InputError(f"{label}: the folder cannot be listed ({error.strerror})", "Make it readable.") from error
        names = dict.fromkeys([*(item.relative_to(root).as_posix() for item in listed), *_files_below(root)])
        self.names = [name for name in names if not CLUTTER.fullmatch(name)]

    def size(self, member: str) -> int:
        """Return the size of `member` in bytes. Raises InputError unless it is a regular file inside the folder."""
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
        except RuntimeError as error:  # its message contains the machine's path
            raise InputError(f"{where}: is a link to itself", "Put the file itself in its place.") from error

    def chunks(self, member: str) -> Generator[bytes, None, None]:
        """Yield the bytes of `member`, 1 MiB at a time. Raises InputError when they cannot be read."""
        self.size(member)
        try:
            with (self._root / member).open("rb") as file:
                while chunk := file.read(CHUNK):
                    yield chunk
        except OSError as error:
            where = f"{self.label}, {printable(member)}"
            raise InputError(f"{where}: cannot be read ({error.strerror})", "Make it readable.") from error


def _files_below(root: Path) -> Iterator[str]:
    """Yield the names of the files below a folder, the higher ones first, without following links; of a huge folder only the first."""
    level, count = [root], 0
    for _ in range(MAX_FOLDER_DEPTH):
        inner: list[Path] = []
        for folder in level:
            with contextlib.suppress(OSError):  # a folder that may not be listed
                for item in sorted(folder.iterdir()):
                    count += 1
                    if count > MAX_FOLDER_FILES:
                        return
                    if item.is_dir() and not item.is_symlink():
                        inner.append(item)
                    else:
                        yield item.relative_to(root).as_posix()
        level = inner


def _refuse_unsafe_name(name: str, label: str) -> None:
    parts = re.split(r"[/\\]", name)
    if not parts[0] or ".." in parts or re.match(r"[A-Za-z]:", name):
        problem = f"{label}: member {printable(name)[:200]!r} points outside the archive; nothing was read"
        raise InputError(problem, "X does not write such a zip: download the archive from X again.")


def _not_a_zip(path: Path, label: str, error: Exception) -> InputError:
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as cause:
        return InputError(f"{label}: cannot be read ({cause.strerror})", "Make the file readable.")
    if not start:
        return InputError(f"{label}: is empty (0 bytes)", DOWNLOAD_AGAIN)
    if start.startswith(b"PK"):
        return InputError(f"{label}: the zip is cut short or damaged ({error})", DOWNLOAD_AGAIN)
    return InputError(
        f"{label}: is not a zip (it begins with {start!r})",
        "Name the zip that X sent or its unpacked folder; a table must end in .csv, .jsonl, .ndjson or .parquet.",
    )
