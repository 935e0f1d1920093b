"""The lines of a text file, of bounded length, in any encoding that `encodings` recognizes."""

import functools
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from pathlib import Path

from components.fetch.tables.encodings import NAMES, as_utf8, encoding_of
from mynah.core.errors import InputError
from mynah.core.progress import notify

CHUNK = 1 << 20  # bytes
LONGEST_LINE = 4 << 20  # bytes
Advance = Callable[[int], None]
Chunks = Callable[[Advance], Generator[bytes, None, None]]  # yields a table's bytes; calls Advance with the size of each chunk


def ignore(size: int) -> None:
    """Take no account of the bytes that were read."""


def chunks_of(path: Path, label: str) -> Chunks:
    """Return a function that yields the bytes of a file; `label` names it in messages."""
    return functools.partial(_chunks, path, label)


def as_text(chunks: Chunks, label: str) -> Chunks:
    """Recognize the encoding of a table, and report it if it is not UTF-8.

    Args:
        chunks: Yields the table's bytes.
        label: Its name in messages.

    Returns:
        A function that yields the bytes as UTF-8.
    """
    encoding, example = encoding_of(chunks(ignore))
    if encoding == "utf-8":
        return chunks
    shown = f", in which it has words such as {example!r}; if they look wrong, save it as UTF-8" if example else ""
    notify(f"{label}: is read as {NAMES[encoding]}{shown}", "warning" if shown else "info")
    return lambda advance: as_utf8(chunks(advance), encoding, label)


def lines(chunks: Generator[bytes, None, None], label: str) -> Generator[str, None, None]:
    """Yield the lines of UTF-8 text with their ends.

    Args:
        chunks: The bytes; closed at the end.
        label: The file's name in messages.

    Yields:
        The lines.

    Raises:
        InputError: A line is too long, not UTF-8, or has a NUL byte.
    """
    position = 0
    with closing(chunks):
        for number, raw in enumerate(_split(chunks), 1):
            if len(raw) > LONGEST_LINE:
                raise InputError(
                    f"{label}, line {number}: is longer than {LONGEST_LINE} bytes",
                    "Write one post a line; is it a file of posts?",
                )
            yield _decoded(raw, f"{label}, line {number}", position)
            position += len(raw)


def _split(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines with their ends; a line that is too long is yielded as far as it was read."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line + b"\n"
        if len(rest) > LONGEST_LINE:
            break
    if rest:
        yield rest


def _decoded(raw: bytes, place: str, position: int) -> str:
    """Decode the line `raw`, which begins at byte `position` of its file."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{place}, byte {position + error.start}: is not UTF-8 ({error.reason})", "Save it as UTF-8.") from error
    if "\0" in text:
        raise InputError(f"{place}, byte {position + raw.index(0)}: contains a NUL byte", "Save it as plain UTF-8 text.")
    return text if position else text.removeprefix("\ufeff")


def _chunks(path: Path, label: str, advance: Advance) -> Generator[bytes, None, None]:
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk
                advance(len(chunk))
    except OSError as error:
        raise InputError(f"{label}: cannot be read ({error.strerror})", "Make the file readable.") from error
