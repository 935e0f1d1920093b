"""The encoding of a table: UTF-8, UTF-16 as Excel and PowerShell write it, or Windows-1252 as Excel writes CSV.

Windows-1252 gives a meaning to nearly every byte, so that a file of any other encoding would be read as nonsense. It is taken only where its
letters stand as in a Western European text; anything else that is not UTF-8 is refused with its line.
"""

import codecs
import re
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing

from mynah.core.errors import InputError

# UTF-32's mark begins with that of UTF-16.
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
NAMES = {"utf-16": "UTF-16", "utf-16-le": "UTF-16", "utf-16-be": "UTF-16", "utf-32": "UTF-32", "cp1252": "Windows-1252"}
WORD = re.compile(rb"[A-Za-z\x80-\xff]*[\x80-\xff][A-Za-z\x80-\xff]*")
UTF8 = re.compile(rb"\xc3[\x80-\xbf]|\xe2\x80|\xf0\x9f")  # how its accented letters, typographic signs and emoji begin
MAX_WORD_BYTES = 60
MAX_WORDS = 100_000  # that are judged
MIN_SOUND_SHARE = 0.9  # of the words with letters beyond ASCII
# What the words of Western European languages have beyond ASCII: letters, and what typography puts next to and between them.
CAPITALS = "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖØÙÚÛÜÝÞŠŒŽŸ"
SMALL = "àáâãäåæçèéêëìíîïðñòóôõöøùúûüýþÿßšœžƒ"
BETWEEN = "’‘´`·–—…\xad\xa0/°ªº€£"  # noqa: RUF001
AROUND = "“”„‚‘’«»‹›¡¿…–—•·§€£©®™°ªº²³½¼¾×÷±µ´¨\xa0\xad†‡‰¢¥¦¬¯¶¹¸¤ˆ˜"  # noqa: RUF001
ALONE = "ÀÁÅÈÉÊÌÍÒÓÖÙÚàáåèéêìíòóôöùúæøñ"


def encoding_of(chunks: Generator[bytes, None, None]) -> tuple[str, str]:
    """Return the encoding of a file's bytes, as Python names it, and a word that shows it; utf-8 where it is none of those known."""
    with closing(chunks):
        first = next(chunks, b"")
        for mark, name in MARKS:
            if first.startswith(mark):
                return name, ""
        if name := _unmarked_utf16(first):
            return name, ""
        return _utf8_or_western(first, chunks)


def as_utf8(chunks: Generator[bytes, None, None], encoding: str, label: str) -> Generator[bytes, None, None]:
    """Convert a file's bytes to UTF-8.

    Args:
        chunks: The bytes; closed at the end.
        encoding: Their encoding.
        label: The file's name in messages.

    Yields:
        The converted bytes.

    Raises:
        InputError: They are not of that encoding, such as a file that was cut off within a character.
    """
    if encoding == "utf-8":
        yield from chunks
        return
    decoder, size = codecs.getincrementaldecoder(encoding)(), 0
    with closing(chunks):
        try:
            for chunk in chunks:
                yield decoder.decode(chunk).encode()
                size += len(chunk)
            yield decoder.decode(b"", final=True).encode()
        except UnicodeDecodeError as error:
            problem = f"{label}, after byte {size}: is not {NAMES[encoding]} ({error.reason})"
            raise InputError(problem, "Save it as UTF-8.") from error


def _unmarked_utf16(first: bytes) -> str:
    """Return which UTF-16 a file without a mark has: the header of a table is mostly ASCII, of which every second byte is zero."""
    head = first[:200]
    odd, even = head[1::2], head[::2]
    if len(head) >= 4 and odd.count(0) > 0.8 * len(odd) and not even.count(0):
        return "utf-16-le"
    return "utf-16-be" if len(head) >= 4 and even.count(0) > 0.8 * len(even) and not odd.count(0) else ""


def _utf8_or_western(first: bytes, rest: Iterable[bytes]) -> tuple[str, str]:
    decoder, pending = codecs.getincrementaldecoder("utf-8")(), b""
    for chunk in _chain(first, rest):
        try:
            if not decoder.decode(chunk).isascii():
                return "utf-8", ""  # what is broken behind it is refused with its line
        except UnicodeDecodeError:
            return _western(_chain(pending + chunk, rest))
        pending = decoder.getstate()[0]
    return "utf-8", ""


def _chain(first: bytes, rest: Iterable[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _western(chunks: Iterator[bytes]) -> tuple[str, str]:
    """Judge the words of a file that is not UTF-8 up to MAX_WORDS of them."""
    judged: Counter[bool] = Counter()
    example = ""
    for chunk in chunks:
        for match in WORD.finditer(chunk):
            raw = match[0][:MAX_WORD_BYTES]
            verdict = _is_western(raw)
            if verdict is None:
                return "utf-8", ""
            judged[verdict] += 1
            example = example or (raw.decode("cp1252") if verdict and len(raw) > 2 else "")
        if judged.total() >= MAX_WORDS:
            break
    return ("cp1252", example) if judged[True] and judged[True] >= MIN_SOUND_SHARE * judged.total() else ("utf-8", "")


def _is_western(raw: bytes) -> bool | None:
    """Return whether a word reads well in Windows-1252; None where it cannot be that."""
    try:
        word = raw.decode("cp1252")
    except UnicodeDecodeError:
        return None
    if UTF8.search(raw) or raw.decode("utf-8", "ignore").encode() == raw:
        return False  # of a file that is UTF-8 except for some broken letters
    beyond = [char for char in word if not char.isascii()]
    letters = [char for char in beyond if char in CAPITALS or char in SMALL]
    inner = word.strip(AROUND)
    if not inner or (len(inner) == 1 and inner in ALONE):
        return not letters or bool(inner)
    if any(not char.isascii() and char not in CAPITALS + SMALL + BETWEEN for char in inner):
        return False
    # As in "KŠse", which was "Käse" on a Mac: a capital letter within a word in small ones.
    capital_within = any(
        char in CAPITALS and (inner[place - 1].islower() or inner[place + 1 : place + 2].islower())
        for place, char in enumerate(inner)
        if place
    )
    return not capital_within and 2 * len(letters) <= len(inner) + 1 and any(char.isascii() for char in inner)
