"""Read CAR files, the AT Protocol's export of a repository: blocks in any order, among them the tree that names the records.

https://ipld.io/specs/transport/car/carv1/ and https://atproto.com/specs/repository. The file is streamed, each block is checked
against its digest, and only records of the requested collections are decoded: likes, follows and blocks are in the same file.
"""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from components.fetch.skipped_posts import SkippedPosts
from components.fetch.sources import printable
from mynah.core.errors import InputError

MAX_BLOCK_BYTES = 4 << 20
MAX_TREE_BYTES = 256 << 20  # a tree with four million records
MAX_PATH_BYTES = 1024
MAX_DEPTH = 64  # levels; a tree with a million records has about ten
CID = 36  # bytes: version 1, codec, sha-256, its length, the digest
CID_START = (b"\x01\x71\x12\x20", b"\x01\x55\x12\x20")  # DAG-CBOR, and raw bytes
NODE = b"\xa2ae"  # first bytes of a tree node: a map of two keys, "e" and "l", sorted
DECODER_ERRORS = (ValueError, RecursionError, OverflowError)
DOWNLOAD_AGAIN = "Download it again: in Bluesky under Settings, Account, Export my data."


class CarFile:
    """A repository's CAR file at `path`, named `label` in messages."""

    def __init__(self, path: Path, label: str) -> None:
        self._path, self._label = path, label
        nodes: dict[bytes, bytes] = {}
        commit: Any = None
        size = 0
        for cid, block in self._blocks(lambda _: None):
            if block.startswith(NODE):
                nodes[cid] = block
                size += len(block)
                if size > MAX_TREE_BYTES:
                    raise self._damaged(f"its tree has more than {MAX_TREE_BYTES:,} bytes")
            elif cid == self._root:
                commit = self.decoded(block)
        did, tree = (commit.get("did"), commit.get("data")) if isinstance(commit, dict) else (None, None)
        if not isinstance(did, str) or not isinstance(tree, bytes):
            raise self._damaged("it has no commit")
        self.did, self._nodes, self._tree = did, nodes, tree

    def paths(self, *prefixes: str) -> dict[bytes, str]:
        """Return CID and path of all records whose path begins with one of `prefixes`. Call it once: it consumes the tree."""
        wanted = tuple(prefix.encode() for prefix in prefixes)
        paths: dict[bytes, str] = {}
        size = 0
        for path, cid in self._walk(self._tree, 0):
            if path.startswith(wanted):
                size += len(path)
                if size > MAX_TREE_BYTES:  # a path omits the prefix shared with the previous one
                    raise self._damaged(f"the paths in its tree have more than {MAX_TREE_BYTES:,} bytes")
                paths[cid] = path.decode("utf-8", "replace")
        return paths

    def records(
        self, wanted: dict[bytes, str], advance: Callable[[int], None], skipped: SkippedPosts
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the requested records in the file's order.

        Args:
            wanted: The CIDs to read, each with a value to yield beside its record.
            advance: Called with the number of bytes read.
            skipped: Counts the records that are no valid DAG-CBOR. Servers hold such records, and give the same bytes to every download.

        Yields:
            The value in `wanted` and the record.

        Raises:
            InputError: At the end, where a record is missing: a partial repository, as the API sends since a revision, is not an export.
        """
        missing = dict(wanted)
        for cid, block in self._blocks(advance):
            if cid in missing:
                key = missing.pop(cid)
                try:
                    record = _decode(block)
                except DECODER_ERRORS as error:
                    skipped.add(key, f"it is not valid DAG-CBOR ({error})")
                else:
                    yield key, record if isinstance(record, dict) else {}
        if missing:
            raise self._damaged(
                f"{len(missing):,} of its records are missing, such as {printable(next(iter(missing.values())))[:80]!r}"
            )

    def decoded(self, block: bytes) -> Any:  # noqa: ANN401 - CBOR is any of its types
        """Decode a block. Raises InputError unless it is valid DAG-CBOR."""
        try:
            return _decode(block)
        except DECODER_ERRORS as error:
            raise self._damaged(f"a record of {len(block):,} bytes is not valid DAG-CBOR ({error})") from error

    def _walk(self, cid: bytes, depth: int) -> Iterator[tuple[bytes, bytes]]:
        """Yield paths and CIDs below a node, in order; https://atproto.com/specs/repository#mst-structure."""
        if cid not in self._nodes or depth > MAX_DEPTH:  # visit each node once: shared branches could unfold without end
            raise self._damaged("a part of its tree is missing")
        node = self.decoded(self._nodes.pop(cid))
        try:
            if node["l"]:
                yield from self._walk(node["l"], depth + 1)
            key = b""
            for entry in node["e"]:
                key = key[: entry["p"]] + entry["k"]
                if len(key) > MAX_PATH_BYTES:
                    raise self._damaged(f"a path in its tree has {len(key):,} bytes")
                if not isinstance(entry["v"], bytes):
                    raise TypeError("not a link")
                yield key, entry["v"]
                if entry["t"]:
                    yield from self._walk(entry["t"], depth + 1)
        except (KeyError, TypeError) as error:
            raise self._damaged("a node of its tree has a wrong shape") from error

    def _blocks(self, advance: Callable[[int], None]) -> Iterator[tuple[bytes, bytes]]:
        """Yield each block with its CID. Raises InputError for a file that is cut short, damaged, or not a CAR."""
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
        """Read the header, and return the CID of the commit."""
        header = self.decoded(self._exactly(file, self._length(file)))
        try:
            if header["version"] == 1 and isinstance(root := header["roots"][0], bytes):
                return root
        except (KeyError, TypeError, IndexError):
            pass
        raise self._damaged("it does not begin like a CAR file of version 1")

    def _length(self, file: BinaryIO, *, may_end: bool = False) -> int:
        """Read an unsigned LEB128 number; return 0 at the end of the file, where `may_end` allows it."""
        number = shift = 0
        while byte := file.read(1):
            number |= (byte[0] & 0x7F) << shift
            shift += 7
            if byte[0] < 0x80 or shift > 28:
                break
        if (may_end and not byte and not shift) or 0 < number <= MAX_BLOCK_BYTES:
            return number
        raise self._damaged(f"no block begins at byte {file.tell()}")

    def _exactly(self, file: BinaryIO, length: int) -> bytes:
        data = file.read(length)
        if len(data) < length:
            raise self._damaged(f"it ends within a block, at byte {file.tell()}")
        return data

    def _damaged(self, problem: str) -> InputError:
        return InputError(f"{self._label}: is not a complete repository: {problem}", DOWNLOAD_AGAIN)


def _decode(block: bytes) -> Any:  # noqa: ANN401 - CBOR is any of its types
    import libipld  # atproto's own decoder, of the extra `sources`

    return libipld.decode_dag_cbor(block)
