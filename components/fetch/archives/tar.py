"""A Mastodon archive that is a .tar.gz, as older servers give it, or the .tar that a browser made of one.

Nothing is unpacked to disk. `tarfile` reads each header; the walk from one to the next is ours, for its own holds in memory whatever
a hostile header declares. https://www.gnu.org/software/tar/manual/html_node/Standard.html
"""

import contextlib
import gzip
import re
import tarfile
import zlib
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import BinaryIO

from components.errors import InputError
from components.fetch.archives import BOMB_RATIO, BOMB_SIZE, CHUNK, MOST_BYTES
from components.fetch.mastodon_archive import ACTOR, OUTBOX
from components.fetch.sources import printable

GZIP, TAR, AT = b"\x1f\x8b", b"ustar", 257  # how a gzip begins, and what stands at byte 257 of a tar
BLOCK = tarfile.BLOCKSIZE
WANTED = re.compile(rf"{re.escape(OUTBOX)}|{re.escape(ACTOR)}|avatar\.[a-z]{{3,4}}")  # the last part of a member's name
MOST_WANTED = 100  # members; an archive has three
MOST_KEPT = 2 << 20  # bytes of a member that is kept while its place is looked for: actor.json comes last, after the pictures
FILES = (tarfile.REGTYPE, tarfile.AREGTYPE)
BARE = (tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE)  # without bytes
DAMAGE = (OSError, EOFError, zlib.error)  # of a gzip
AGAIN = "Download the archive from its server again: Preferences, Import and export, Request your archive."


def is_tar(path: Path) -> bool:
    """Whether `path` is a file that begins as a tar or a gzip does; False also for one that cannot be read."""
    try:
        with path.open("rb") as file:
            start = file.read(AT + len(TAR))
    except OSError:
        return False
    return start.startswith(GZIP) or start[AT:] == TAR


@contextlib.contextmanager
def open_tar(path: Path, label: str) -> Iterator["TarArchive"]:
    """Open the tar at `path`, packed by gzip or not; `label` names it in messages. Raises InputError when it is damaged."""
    with contextlib.ExitStack() as stack:
        try:
            packed = stack.enter_context(path.open("rb"))
            is_packed = packed.read(len(GZIP)) == GZIP
            packed.seek(0)
            plain = stack.enter_context(gzip.GzipFile(fileobj=packed, mode="rb")) if is_packed else packed
            archive = TarArchive(packed, plain, label)
        except DAMAGE as error:
            raise InputError(f"{label}: cannot be read, is cut short or damaged ({_cause(error)})", AGAIN) from error
        yield archive


class TarArchive:
    """The members that Mynah reads, each by the name that it has; other members are passed over, whatever they are called.

    An Archive, see archives.py. Of two members of one name the last counts, as when a tar is unpacked.
    """

    def __init__(self, packed: BinaryIO, plain: BinaryIO | gzip.GzipFile, label: str) -> None:
        self.label = label
        self._packed, self._plain = packed, plain
        self._places: dict[str, tuple[int, int]] = {}  # where a member's bytes begin, and how many they are
        self._kept: dict[str, bytes] = {}
        self._walk()
        self.names = list(self._places)

    def size(self, member: str) -> int:
        """Its size in bytes."""
        return self._places[member][1]

    def chunks(self, member: str) -> Generator[bytes, None, None]:
        """Its bytes, 1 MiB at a time. Raises InputError when they are damaged."""
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
        except DAMAGE as error:
            raise InputError(f"{self.label}, {printable(member)}: is damaged ({_cause(error)})", AGAIN) from error

    def _walk(self) -> None:
        """Note where each wanted member lies, and read on to the very end: there a gzip has its checksum."""
        at = 0
        while header := self._read(BLOCK):
            at += BLOCK
            if header.count(0) == BLOCK:  # the end
                break
            try:
                found = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
            except tarfile.HeaderError as error:
                raise self._no_tar(at == BLOCK, str(error)) from error
            size = 0 if found.type in BARE else found.size
            if size < 0:
                raise self._no_tar(False, f"a member of {size} bytes")
            self._note(found, at, size)
            at += size + -size % BLOCK
        while self._read(CHUNK):
            pass

    def _note(self, found: tarfile.TarInfo, at: int, size: int) -> None:
        """Take in the member `found`, whose bytes begin at `at`, and pass it."""
        name = printable(found.name)
        is_wanted = found.type in FILES and WANTED.fullmatch(name.rpartition("/")[2]) is not None
        left, pieces = size + -size % BLOCK, []
        if is_wanted:
            self._refuse(name, size)
            self._places[name] = (at, size)
            self._kept.pop(name, None)
        while left:
            piece = self._read(min(CHUNK, left))
            if not piece:
                raise self._no_tar(False, f"it ends within {name[:200]!r}")
            left -= len(piece)
            if is_wanted and size <= MOST_KEPT:
                pieces.append(piece)
        if is_wanted and size <= MOST_KEPT:
            self._kept[name] = b"".join(pieces)[:size]

    def _refuse(self, name: str, size: int) -> None:
        if name.startswith("/") or ".." in name.split("/"):
            problem = f"{self.label}: member {name[:200]!r} points outside the archive; nothing was read"
            raise InputError(problem, f"Such a tar is not Mastodon's own work. {AGAIN}")
        if size > MOST_BYTES:
            raise InputError(f"{self.label}, {name[:200]}: has {size:,} bytes, and {MOST_BYTES:,} are read at most", AGAIN)
        if len(self._places) >= MOST_WANTED:
            raise InputError(f"{self.label}: has more than {MOST_WANTED} files named {OUTBOX}, {ACTOR} or avatar", AGAIN)

    def _read(self, size: int) -> bytes:
        """The next bytes. Raises InputError when so few were unpacked to so many that it must be a bomb."""
        found = self._plain.read(size)
        read, unpacked = self._packed.tell(), self._plain.tell()
        if unpacked > BOMB_SIZE and unpacked > BOMB_RATIO * read:
            problem = f"{self.label}: looks like a bomb ({read:,} bytes unpack to {unpacked:,} and more); nothing was read"
            raise InputError(problem, AGAIN)
        return found

    def _no_tar(self, at_once: bool, cause: str) -> InputError:
        if at_once and self._plain is not self._packed:
            fix = "Unpack it first. Mynah reads a Mastodon archive as .tar.gz; all other exports as a zip or an unpacked folder."
            return InputError(f"{self.label}: is packed by gzip, and no tar is within ({cause})", fix)
        return InputError(f"{self.label}: the tar is cut short or damaged ({cause})", AGAIN)


def _cause(error: BaseException) -> str:
    return (error.strerror if isinstance(error, OSError) else "") or str(error)
