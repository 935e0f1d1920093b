"""CAR files: how the AT Protocol exports a repository. Blocks in any order, the tree that names the records among them.

https://ipld.io/specs/transport/car/carv1/ and https://atproto.com/specs/repository. The file is streamed, each block is checked against
its digest, and only records below the wanted collections are ever decoded: likes, follows and blocks lie in the same file.
"""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from components.errors import InputError
from components.fetch.sources import printable

MOST_BYTES_OF_A_BLOCK = 4 << 20
MOST_BYTES_OF_TREE = 256 << 20  # of a tree with four million records
LONGEST_PATH = 1024  # bytes
DEEPEST = 64  # levels; a tree of a million records has about ten
CID = 36  # bytes: version 1, codec, sha-256, its length, the digest
CID_START = (b"\x01\x71\x12\x20", b"\x01\x55\x12\x20")  # DAG-CBOR, and raw bytes
NODE = b"\xa2ae"  # how each node of the tree begins: two keys, "e" and "l", the shorter and smaller one first
AGAIN = "Download it again: in Bluesky under Settings, Account, Export my data."


class CarFile:
    """A repository's CAR file at `path`, called `label` in messages."""

    def __init__(self, path: Path, label: str) -> None:
        self._path, self._label = path, label
        nodes: dict[bytes, bytes] = {}
        commit: Any = None
        size = 0
        for cid, block in self._blocks(lambda _: None):
            if block.startswith(NODE):
                nodes[cid] = block
                size += len(block)
                if size > MOST_BYTES_OF_TREE:
                    raise self._damaged(f"its tree has more than {MOST_BYTES_OF_TREE:,} bytes")
            elif cid == self._root:
                commit = self.decoded(block)
        did, tree = (commit.get("did"), commit.get("data")) if isinstance(commit, dict) else (None, None)
        if not isinstance(did, str) or not isinstance(tree, bytes):
            raise self._damaged("it has no commit, by which a repository begins")
        self.did, self._nodes, self._tree = did, nodes, tree

    def paths(self, *prefixes: str) -> dict[bytes, str]:
        """The CIDs of all records whose path begins with one of `prefixes`, and their paths. To be asked once: the tree is used up."""
        wanted = tuple(prefix.encode() for prefix in prefixes)
        found: dict[bytes, str] = {}
        size = 0
        for path, cid in self._walk(self._tree, 0):
            if path.startswith(wanted):
                size += len(path)
                if size > MOST_BYTES_OF_TREE:  # a path may leave out what it shares with the one before: it unpacks to more
                    raise self._damaged(f"the paths in its tree have more than {MOST_BYTES_OF_TREE:,} bytes")
                found[cid] = path.decode("utf-8", "replace")
        return found

    def records(self, wanted: dict[bytes, str], advance: Callable[[int], None]) -> Iterator[tuple[str, dict[str, Any]]]:
        """The records with these CIDs, in the file's order, each once and after what `wanted` has of it.

        Raises InputError at the end where one was not there: a part of a repository, as it is sent since a revision, is no export.
        """
        left = dict(wanted)
        for cid, block in self._blocks(advance):
            if cid in left:
                found = self.decoded(block)
                yield left.pop(cid), found if isinstance(found, dict) else {}
        if left:
            raise self._damaged(
                f"{len(left):,} of its records are missing, such as {printable(next(iter(left.values())))[:80]!r}"
            )

    def decoded(self, block: bytes) -> Any:  # noqa: ANN401 - CBOR is any of its types
        """A block's value. Raises InputError when it is no DAG-CBOR."""
        import libipld  # as atproto itself does

        try:
            return libipld.decode_dag_cbor(block)
        except (ValueError, RecursionError, OverflowError) as error:
            raise self._damaged(f"a record of {len(block):,} bytes is no DAG-CBOR ({error})") from error

    def _walk(self, cid: bytes, depth: int) -> Iterator[tuple[bytes, bytes]]:
        """Paths and CIDs below a node, in order; https://atproto.com/specs/repository#mst-structure."""
        if cid not in self._nodes or depth > DEEPEST:  # each is taken once: a tree that shares its branches could unfold for ever
            raise self._damaged("a part of its tree is missing")
        node = self.decoded(self._nodes.pop(cid))
        try:
            if node["l"]:
                yield from self._walk(node["l"], depth + 1)
            key = b""
            for entry in node["e"]:
                key = key[: entry["p"]] + entry["k"]
                if len(key) > LONGEST_PATH:
                    raise self._damaged(f"a path in its tree has {len(key):,} bytes")
                if not isinstance(entry["v"], bytes):
                    raise TypeError("no link")
                yield key, entry["v"]
                if entry["t"]:
                    yield from self._walk(entry["t"], depth + 1)
        except (KeyError, TypeError) as error:
            raise self._damaged("a node of its tree has a wrong shape") from error

    def _blocks(self, advance: Callable[[int], None]) -> Iterator[tuple[bytes, bytes]]:
        """Each block with its CID. Raises InputError for a file that is cut off, damaged, or no CAR."""
        try:
            with self._path.open("rb") as file:
                self._root = self._header(file)
                while length := self._length(file, may_end=True):
                    section = self._exactly(file, length)
                    cid, block = section[:CID], section[CID:]
                    if not cid.startswith(CID_START) or hashlib.sha256(block).digest() != cid[4:]:
                        raise self._damaged(f"the block before byte {file.tell()} is damaged")
                    advance(length)
                    yield cid, block
        except OSError as error:
            raise InputError(f"{self._label}: cannot be read ({error.strerror})", "Make the file readable.") from error

    def _header(self, file: BinaryIO) -> bytes:
        """The CID of the commit."""
        header = self.decoded(self._exactly(file, self._length(file)))
        try:
            if header["version"] == 1 and isinstance(root := header["roots"][0], bytes):
                return root
        except (KeyError, TypeError, IndexError):
            pass
        raise self._damaged("it does not begin as a CAR file of version 1 does")

    def _length(self, file: BinaryIO, *, may_end: bool = False) -> int:
        """An unsigned LEB128 number; 0 at the end of the file, where it may end."""
        number = shift = 0
        while byte := file.read(1):
            number |= (byte[0] & 0x7F) << shift
            shift += 7
            if byte[0] < 0x80 or shift > 28:
                break
        if (may_end and not byte and not shift) or 0 < number <= MOST_BYTES_OF_A_BLOCK:
            return number
        raise self._damaged(f"no block begins at byte {file.tell()}")

    def _exactly(self, file: BinaryIO, length: int) -> bytes:
        found = file.read(length)
        if len(found) < length:
            raise self._damaged(f"it ends within a block, at byte {file.tell()}")
        return found

    def _damaged(self, problem: str) -> InputError:
        return InputError(f"{self._label}: is no whole repository: {problem}", AGAIN)
