"""Read a Mastodon archive that is a .tar.gz, as older servers produce, or the .tar that a browser unpacked from one.

Nothing is unpacked to disk. `tarfile` parses each header, but this module walks from one header to the next itself: tarfile's own
iteration holds in memory whatever a hostile header declares. https://www.gnu.org/software/tar/manual/html_node/Standard.html
"""

import contextlib
import gzip
import re
import tarfile
import zlib
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import BinaryIO

from components.fetch.archives.zip_folder import BOMB_RATIO, BOMB_SIZE, CHUNK, MAX_TOTAL_BYTES
from components.fetch.mastodon.archive import ACTOR, OUTBOX
from components.fetch.sources import printable
from mynah.core.errors import InputError

GZIP, TAR, TAR_OFFSET = b"\x1f\x8b", b"ustar", 257  # gzip's first bytes; the magic at byte 257 of a tar
BLOCK = tarfile.BLOCKSIZE
NEEDED = re.compile(rf"{re.escape(OUTBOX)}|{re.escape(ACTOR)}|avatar\.[a-z]{{3,4}}")  # the last part of a member's name
MAX_MEMBERS = 100  # an archive has three
MAX_KEPT_BYTES = 2 << 20  # larger members are read again later; actor.json comes last, after the pictures
FILES = (tarfile.REGTYPE, tarfile.AREGTYPE)
TYPES_WITHOUT_DATA = (tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE)
DAMAGE_ERRORS = (OSError, EOFError, zlib.error)  # raised by gzip on damaged input
DOWNLOAD_AGAIN = "Download the archive from its server again: Preferences, Import and export, Request your archive."


def is_tar(path: Path) -> bool:
    """Return whether the file at `path` begins like a tar or a gzip; False also for a file that cannot be read."""
    try:
        with path.open("rb") as file:
            start = file.read(TAR_OFFSET + len(TAR))
    except OSError:
        return False
    return start.startswith(GZIP) or start[TAR_OFFSET:] == TAR


@contextlib.contextmanager
def open_tar(path: Path, label: str) -> Iterator["TarArchive"]:
    """Open a tar, gzipped or not.

    Args:
        path: The file.
        label: Its name in messages.

    Yields:
        The archive.

    Raises:
        InputError: The file is damaged, cut short, unsafe, or not a tar.
    """
    with contextlib.ExitStack() as stack:
        try:
            packed = stack.enter_context(path.open("rb"))
            is_packed = packed.read(len(GZIP)) == GZIP
            packed.seek(0)
            plain = stack.enter_context(gzip.GzipFile(fileobj=packed, mode="rb")) if is_packed else packed
            archive = TarArchive(packed, plain, label)
        except DAMAGE_ERRORS as error:
            raise InputError(f"{label}: cannot be read, is cut short or damaged ({_cause(error)})", DOWNLOAD_AGAIN) from error
        yield archive


class TarArchive:
    """The members of a tar that Mynah reads; all others are skipped, whatever their names.

    Implements `zip_folder.Archive`. Of two members with one name the last counts, as when a tar is unpacked.
    """

    def __init__(self, packed: BinaryIO, plain: BinaryIO | gzip.GzipFile, label: str) -> None:
        self.label = label
        self._packed, self._plain = packed, plain
        self._places: dict[str, tuple[int, int]] = {}  # offset and size of each member's data
        self._kept: dict[str, bytes] = {}
        self._walk()
        self.names = list(self._places)

    def size(self, member: str) -> int:
        """Return the size of `member` in bytes."""
        return self._places[member][1]

    def chunks(self, member: str) -> Generator[bytes, None, None]:
        """Yield the bytes of `member`, 1 MiB at a time. Raises InputError when they are damaged."""
        if member in self._kept:
            yield self._kept[member]
            return
        start, left = self._places[member]
        try:
            self._plain.seek(start)
            while left:
                chunk = self._plain.read(min(CHUNK, left))
                if not chunk:
                    raise EOFError("it ends early")
                left -= len(chunk)
                yield chunk
        except DAMAGE_ERRORS as error:
            raise InputError(f"{self.label}, {printable(member)}: is damaged ({_cause(error)})", DOWNLOAD_AGAIN) from error

    def _walk(self) -> None:
        """Record the position of every needed member, and read to the end, where a gzip stores its checksum."""
        offset = 0
        while header := self._read(BLOCK):
            offset += BLOCK
            if header.count(0) == BLOCK:  # the end
                break
            try:
                member = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
            except tarfile.HeaderError as error:
                raise self._not_a_tar(offset == BLOCK, str(error)) from error
            size = 0 if member.type in TYPES_WITHOUT_DATA else member.size
            if size < 0:
                raise self._not_a_tar(False, f"a member of {size} bytes")
            self._skip_or_keep(member, offset, size)
            offset += size + -size % BLOCK
        while self._read(CHUNK):
            pass

    def _skip_or_keep(self, member: tarfile.TarInfo, offset: int, size: int) -> None:
        """Read past `member`, whose data begins at `offset`, and keep its place if it is needed."""
        name = printable(member.name)
        is_needed = member.type in FILES and NEEDED.fullmatch(name.rpartition("/")[2]) is not None
        left, pieces = size + -size % BLOCK, []
        if is_needed:
            self._refuse(name, size)
            self._places[name] = (offset, size)
            self._kept.pop(name, None)
        while left:
            piece = self._read(min(CHUNK, left))
            if not piece:
                raise self._not_a_tar(False, f"it ends within {name[:200]!r}")
            left -= len(piece)
            if is_needed and size <= MAX_KEPT_BYTES:
                pieces.append(piece)
        if is_needed and size <= MAX_KEPT_BYTES:
            self._kept[name] = b"".join(pieces)[:size]

    def _refuse(self, name: str, size: int) -> None:
        if name.startswith("/") or ".." in name.split("/"):
            problem = f"{self.label}: member {name[:200]!r} points outside the archive; nothing was read"
            raise InputError(problem, f"Mastodon does not write such a tar. {DOWNLOAD_AGAIN}")
        if size > MAX_TOTAL_BYTES:
            raise InputError(f"{self.label}, {name[:200]}: has {size:,} bytes; the limit is {MAX_TOTAL_BYTES:,}", DOWNLOAD_AGAIN)
        if len(self._places) >= MAX_MEMBERS:
            raise InputError(f"{self.label}: has more than {MAX_MEMBERS} files named {OUTBOX}, {ACTOR} or avatar", DOWNLOAD_AGAIN)

    def _read(self, size: int) -> bytes:
        """Read the next bytes. Raises InputError when the compression ratio is that of a decompression bomb."""
        data = self._plain.read(size)
        read, unpacked = self._packed.tell(), self._plain.tell()
        if unpacked > BOMB_SIZE and unpacked > BOMB_RATIO * read:
            problem = f"{self.label}: looks like a decompression bomb ({read:,} bytes unpack to {unpacked:,} and more); nothing was read"
            raise InputError(problem, DOWNLOAD_AGAIN)
        return data

    def _not_a_tar(self, at_start: bool, cause: str) -> InputError:
        if at_start and self._plain is not self._packed:
            fix = (
                "Unpack it first. Mynah reads Mastodon archives as .tar.gz, and all other exports as a zip or an unpacked folder."
            )
            return InputError(f"{self.label}: is packed by gzip, but does not contain a tar ({cause})", fix)
        return InputError(f"{self.label}: the tar is cut short or damaged ({cause})", DOWNLOAD_AGAIN)


def _cause(error: BaseException) -> str:
    return (error.strerror if isinstance(error, OSError) else "") or str(error)
