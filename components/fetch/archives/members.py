"""What readers of exports do with the members of an archive: find them by name, look at their beginning, and read their lines."""

import codecs
import itertools
import re
from collections.abc import Callable, Generator, Iterator
from contextlib import closing

from components.fetch.archives.zip_folder import Archive
from mynah.core.errors import InputError

HEAD = 64 << 10  # bytes
MAX_LINE = 4 << 20  # characters
Advance = Callable[[int], None]


def find_members(archive: Archive, pattern: re.Pattern[str]) -> list[str]:
    """Return the members whose whole name, with its folders, matches `pattern`, in order of their names."""
    return sorted(name for name in archive.names if pattern.fullmatch(name))


def member_place(archive: Archive, member: str) -> str:
    """Return the place of a member for messages: with the archive's name, unless it is a file by itself."""
    return archive.label if archive.label == member else f"{archive.label}, {member}"


def member_head(archive: Archive, member: str) -> str:
    """Return the beginning of a member as text, to recognize its form. Raises InputError when it cannot be read."""
    with closing(archive.chunks(member)) as chunks:
        return next(chunks, b"")[:HEAD].decode("utf-8", "replace").removeprefix("\ufeff")


def member_chunks(archive: Archive, member: str, advance: Advance) -> Generator[bytes, None, None]:
    """Yield the bytes of a member in chunks, and call `advance` with the size of each."""
    with closing(archive.chunks(member)) as chunks:
        for chunk in chunks:
            yield chunk
            advance(len(chunk))


def member_lines(archive: Archive, member: str, advance: Advance = lambda _: None) -> Iterator[tuple[int, str]]:
    """Yield the lines of a text with their numbers, without their ends.

    Args:
        archive: The export.
        member: The file.
        advance: Called with the number of bytes read.

    Yields:
        The number of a line, from 1, and its text.

    Raises:
        InputError: The member is damaged, is not UTF-8, or has a line of more than 4 million characters.
    """
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    rest, number, place = "", 0, member_place(archive, member)
    with closing(member_chunks(archive, member, advance)) as chunks:
        for chunk in itertools.chain(chunks, [b""]):
            try:
                *lines, rest = (rest + decoder.decode(chunk, final=not chunk)).split("\n")
            except UnicodeDecodeError as error:
                problem = f"{place}, behind line {number}: is not UTF-8 ({error.reason})"
                raise InputError(problem, "Save it as UTF-8.") from error
            for line in lines:
                number += 1
                yield number, line.removesuffix("\r")
            if len(rest) > MAX_LINE:
                raise InputError(f"{place}, line {number + 1}: is longer than {MAX_LINE:,} characters", "Is it a text?")
    if rest:
        yield number + 1, rest
