"""A streaming reader for the JavaScript files of an export: `window.YTD.tweets.part0 = [ {...}, ... ]`, or `var user_details = {...}`.

The standard library parses one element at a time out of a sliding window, so memory follows the longest element and not
the file. Positions in messages count from 0: characters of the decoded text, or bytes where the text is not UTF-8.
Elements count from 1.
"""

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from components.errors import InputError

LONGEST_ELEMENT = 4 << 20  # characters
ASSIGNMENT = re.compile(r"\ufeff?[ \t\r\n]*(?:(?:var[ \t]+)?[\w.$]+[ \t\r\n]*=[ \t\r\n]*)?")
LONGEST_ASSIGNMENT = 1024  # characters
SPACE = re.compile(r"[ \t\r\n]*")
LONGEST_SHOWN = 80  # characters of a number that is none; JSON allows 4,300 digits
AT_THE_EDGE = 16  # characters; a literal, number or escape that the window's end cuts is reported at most so far before it
MEND = "Download the archive again; if this file was edited, undo the edit at that place."
WORDS: dict[type, str] = {dict: "an object", list: "a list", str: "text"}

T = TypeVar("T")


def elements(chunks: Iterable[bytes], where: str, key: str = "") -> Iterator[tuple[str, Any]]:
    """The elements of a member's array, each with its place ("FILE, element 3 (character 1234)") for messages.

    With `key`, of the array that the member's object holds under it; what follows the array is then not read.
    Raises InputError naming `where` and the position, for anything that is not UTF-8, not JSON or not an array.
    """
    window = _Window(chunks, where)
    window.skip_assignment()
    if key:
        window.skip_to(key)
    if window.next_character() != "[":
        raise window.error("no list begins here (expected `window.YTD... = [`)")
    window.at += 1
    number = 0
    if window.next_character() == "]":
        window.at += 1
    else:
        separator = ","
        while separator == ",":
            window.next_character()
            number += 1
            place = f"{where}, element {number} (character {window.offset()})"
            yield place, window.value(f"element {number}")
            separator = window.next_character()
            if separator not in (",", "]"):
                raise window.error(f"after element {number} neither `,` nor `]` follows")
            window.at += 1
    if not key:
        window.require_end()


def single_value(chunks: Iterable[bytes], where: str) -> Any:  # noqa: ANN401 - JSON is any of its types; `typed` narrows it
    """The one value of a member such as `window.__THAR_CONFIG = {...}`. Raises InputError like `elements`."""
    window = _Window(chunks, where)
    window.skip_assignment()
    window.next_character()
    value = window.value("the value")
    window.require_end()
    return value


def typed(value: object, kind: type[T], what: str, place: str) -> T:
    """`value` when it is a `kind`. Raises InputError naming `place` and `what` otherwise."""
    if isinstance(value, kind):
        return value
    found = "missing" if value is None else WORDS.get(type(value)) or json.dumps(value, default=_kind_of)[:LONGEST_SHOWN]
    raise InputError(f"{place}: {what} is {found}, and should be {WORDS.get(kind, kind.__name__)}", MEND)


def _kind_of(value: object) -> str:
    return type(value).__name__  # of what is no JSON: tables of Parquet have times, bytes and decimals


def identity(value: object, what: str, place: str) -> str:
    """An id, written as text or as a number. Raises InputError like `typed`."""
    return str(value) if type(value) is int else typed(value, str, what, place)


class _Window:
    """A sliding, decoded stretch of a member; `at` is the next character to read in it."""

    def __init__(self, chunks: Iterable[bytes], where: str) -> None:
        self.text = ""
        self.at = 0
        self._where = where
        self._passed = 0  # characters before the window
        self._bytes = 0  # bytes given to the decoder
        self._chunks = iter(chunks)
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._decode = json.JSONDecoder().raw_decode
        if not self._more():
            raise InputError(f"{where}: is empty", MEND)

    def offset(self) -> int:
        """The position of the next character in the whole member."""
        return self._passed + self.at

    def error(self, problem: str, at: int | None = None) -> InputError:
        """An InputError at the position `at` in the window (by default the next character)."""
        position = self._passed + (self.at if at is None else at)
        return InputError(f"{self._where}, character {position}: {problem}", MEND)

    def skip_assignment(self) -> None:
        """Pass over `window.NAME = `, or nothing where the JSON stands alone."""
        while len(self.text) < LONGEST_ASSIGNMENT and self._more():
            pass
        match = ASSIGNMENT.match(self.text)
        assert match, "the pattern also matches nothing"
        self.at = match.end()

    def skip_to(self, key: str) -> None:
        """Pass over everything before the list that follows a key. Within a text its quotes would have backslashes before them."""
        wanted = re.compile(rf'"{re.escape(key)}"[ \t\r\n]*:[ \t\r\n]*(?=\[)')
        while not (match := wanted.search(self.text, self.at)):
            self.at = max(self.at, len(self.text) - len(key) - 2 * AT_THE_EDGE)
            if not self._more():
                raise self.error(f"there is no list {key!r}")
        self.at = match.end()

    def next_character(self) -> str:
        """The next character that is no white space, without passing it; "" at the end."""
        while True:
            match = SPACE.match(self.text, self.at)
            assert match, "the pattern also matches nothing"
            self.at = match.end()
            if self.at < len(self.text):
                return self.text[self.at]
            if not self._more():
                return ""

    def value(self, what: str) -> Any:  # noqa: ANN401 - JSON is any of its types
        """Parse the value that begins at the next character, and pass it."""
        while True:
            try:
                value, end = self._decode(self.text, self.at)
            except json.JSONDecodeError as error:
                failure = self._invalid(what, error)  # now, while the window still begins where the error's position does
                if self._cannot_be_mended(error) or self._is_too_long(len(self.text)) or not self._more():
                    raise failure from error
            except (RecursionError, ValueError) as error:  # ValueError: a number of more than 4,300 digits
                problem = "is nested too deeply" if isinstance(error, RecursionError) else f"has {error}"
                raise self.error(f"{what} {problem}") from error
            else:
                if self._is_too_long(end):
                    raise self.error(f"{what} is longer than {LONGEST_ELEMENT} characters")
                length = end - self.at
                # A number may go on beyond the window's end: look before believing it.
                if end < len(self.text) or not self._more():
                    self.at += length
                    return value

    def require_end(self) -> None:
        """Raise InputError unless nothing but `;` follows."""
        if self.next_character() == ";":
            self.at += 1
        if self.next_character():
            raise self.error("something follows the end of the list")

    def _is_too_long(self, end: int) -> bool:
        return end - self.at > LONGEST_ELEMENT

    def _cannot_be_mended(self, error: json.JSONDecodeError) -> bool:
        """Whether more text could not make it valid: the fault lies before the window's end, and is no open string."""
        return error.pos < len(self.text) - AT_THE_EDGE and not error.msg.startswith("Unterminated string")

    def _invalid(self, what: str, error: json.JSONDecodeError) -> InputError:
        if self._is_too_long(len(self.text)):
            return self.error(f"{what} is longer than {LONGEST_ELEMENT} characters, or a quote or bracket is never closed")
        if error.pos >= len(self.text) or error.msg.startswith("Unterminated string"):
            return self.error(f"the file ends inside {what} ({error.msg})", error.pos)
        return self.error(f"{what} is not valid JSON ({error.msg})", error.pos)

    def _more(self) -> bool:
        """Drop what is behind and decode the next chunk; False at the end of the member."""
        pending = len(self._decoder.getstate()[0])
        chunk = next(self._chunks, b"")
        try:
            text = self._decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            position = self._bytes - pending + error.start
            raise InputError(f"{self._where}, byte {position}: is not UTF-8 ({error.reason})", MEND) from error
        self._bytes += len(chunk)
        self._passed += self.at
        self.text = self.text[self.at :] + text
        self.at = 0
        return bool(chunk)
