"""A streaming reader for the JavaScript files of an export: `window.YTD.tweets.part0 = [ {...}, ... ]`, or `var user_details = {...}`.

The standard library parses one element at a time out of a sliding window, so memory grows with the longest element and not with
the file. Positions in messages count from 0: characters of the decoded text, or bytes where the text is not UTF-8.
Elements count from 1.
"""

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from mynah.core.errors import InputError

MAX_ELEMENT = 4 << 20  # characters
ASSIGNMENT = re.compile(r"\ufeff?[ \t\r\n]*(?:(?:var[ \t]+)?[\w.$]+[ \t\r\n]*=[ \t\r\n]*)?")
LONGEST_ASSIGNMENT = 1024  # characters
LONGEST_MATCH = 200  # characters
SPACE = re.compile(r"[ \t\r\n]*")
MAX_SHOWN = 80  # characters of a wrong value in a message; a JSON number may have 4,300 digits
EDGE = 16  # characters; the parser reports a truncated literal, number or escape at most so far before the window's end
DOWNLOAD_AGAIN = "Download the archive again; if this file was edited, undo the edit at that place."
WORDS: dict[type, str] = {dict: "an object", list: "a list", str: "text"}

T = TypeVar("T")


def elements(chunks: Iterable[bytes], where: str, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the elements of a member's array with their places, such as "FILE, element 3 (character 1234)".

    Args:
        chunks: The member's bytes.
        where: Its name in messages.
        key: Read the array under this key of the member's object, and nothing behind it; "" where the member is an array.

    Yields:
        The place of an element, for messages, and the element.

    Raises:
        InputError: The member is not UTF-8, not JSON, or has no such array.
    """
    window = _Window(chunks, where)
    window.skip_assignment()
    if key:
        window.skip_to(key)
    if window.next_character() != "[":
        raise window.error("no list starts here (expected `window.YTD... = [`)")
    yield from _items(window, where)
    if not key:
        window.require_end()


def elements_of_lists(chunks: Iterable[bytes], where: str, before: re.Pattern[str]) -> Iterator[tuple[re.Match[str], str, Any]]:
    """Yield the elements of every list behind a match of `before`, however deep it is within the member's object.

    Args:
        chunks: The member's bytes.
        where: Its name in messages.
        before: Matches at most 200 characters up to the list, among them a quoted key: within a text its quotes would be escaped.

    Yields:
        The match, the place of an element, for messages, and the element.

    Raises:
        InputError: The member is not UTF-8, or a list in it is not JSON.
    """
    window = _Window(chunks, where)
    while match := window.find(before):
        for place, element in _items(window, where):
            yield match, place, element


def _items(window: "_Window", where: str) -> Iterator[tuple[str, Any]]:
    """Yield the elements of the list that begins at the next character with their places, and consume the list."""
    window.position += 1
    number = 0
    if window.next_character() == "]":
        window.position += 1
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
            window.position += 1


def single_value(chunks: Iterable[bytes], where: str) -> Any:  # noqa: ANN401 - JSON is any of its types; `typed` narrows it
    """Parse the single value of a member such as `window.__THAR_CONFIG = {...}`. Raises InputError like `elements`."""
    window = _Window(chunks, where)
    window.skip_assignment()
    window.next_character()
    value = window.value("the value")
    window.require_end()
    return value


def typed(value: object, kind: type[T], what: str, place: str) -> T:
    """Return a value if it has the requested type.

    Args:
        value: The value.
        kind: The type.
        what: The value's name, for messages.
        place: Where it is, for messages.

    Returns:
        The value.

    Raises:
        InputError: It has another type.
    """
    if isinstance(value, kind):
        return value
    shown = "missing" if value is None else WORDS.get(type(value)) or json.dumps(value, default=_kind_of)[:MAX_SHOWN]
    raise InputError(f"{place}: {what} is {shown}, and should be {WORDS.get(kind, kind.__name__)}", DOWNLOAD_AGAIN)


def _kind_of(value: object) -> str:
    return type(value).__name__  # Parquet tables have values that JSON lacks: times, bytes and decimals


def identity(value: object, what: str, place: str) -> str:
    """Return an id that is text or a number, as text.

    Args:
        value: The value.
        what: Its name, for messages.
        place: Where it is, for messages.

    Returns:
        The id.

    Raises:
        InputError: It has another type.
    """
    return str(value) if type(value) is int else typed(value, str, what, place)


class _Window:
    """A sliding, decoded window over a member; `position` is that of the next character in it."""

    def __init__(self, chunks: Iterable[bytes], where: str) -> None:
        self.text = ""
        self.position = 0
        self._where = where
        self._passed = 0  # characters before the window
        self._bytes = 0  # bytes given to the decoder
        self._chunks = iter(chunks)
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._decode = json.JSONDecoder().raw_decode
        if not self._more():
            raise InputError(f"{where}: is empty", DOWNLOAD_AGAIN)

    def offset(self) -> int:
        """Return the next character's position in the whole member."""
        return self._passed + self.position

    def error(self, problem: str, position: int | None = None) -> InputError:
        """Create an InputError at `position` in the window (by default the next character)."""
        offset = self._passed + (self.position if position is None else position)
        return InputError(f"{self._where}, character {offset}: {problem}", DOWNLOAD_AGAIN)

    def skip_assignment(self) -> None:
        """Skip `window.NAME = `, or nothing where the JSON has no assignment."""
        while len(self.text) < LONGEST_ASSIGNMENT and self._more():
            pass
        match = ASSIGNMENT.match(self.text)
        assert match, "the pattern also matches nothing"
        self.position = match.end()

    def skip_to(self, key: str) -> None:
        """Skip to the list that follows a key. Within a text the key's quotes would be escaped with backslashes."""
        pattern = re.compile(rf'"{re.escape(key)}"[ \t\r\n]*:[ \t\r\n]*(?=\[)')
        while not (match := pattern.search(self.text, self.position)):
            self.position = max(self.position, len(self.text) - len(key) - 2 * EDGE)
            if not self._more():
                raise self.error(f"it has no list {key!r}")
        self.position = match.end()

    def find(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Skip to behind the next match of a pattern, of at most 200 characters; None, at the end of the member, where there is none."""
        while not (match := pattern.search(self.text, self.position)):
            self.position = max(self.position, len(self.text) - LONGEST_MATCH)
            if not self._more():
                return None
        self.position = match.end()
        return match

    def next_character(self) -> str:
        """Return the next character that is not white space, without consuming it; "" at the end."""
        while True:
            match = SPACE.match(self.text, self.position)
            assert match, "the pattern also matches nothing"
            self.position = match.end()
            if self.position < len(self.text):
                return self.text[self.position]
            if not self._more():
                return ""

    def value(self, what: str) -> Any:  # noqa: ANN401 - JSON is any of its types
        """Parse and consume the value at the next character."""
        while True:
            try:
                value, end = self._decode(self.text, self.position)
            except json.JSONDecodeError as error:
                failure = self._invalid(what, error)  # now, before the window moves on
                if self._is_final(error) or self._is_too_long(len(self.text)) or not self._more():
                    raise failure from error
            except (RecursionError, ValueError) as error:  # ValueError: a number of more than 4,300 digits
                problem = "is nested too deeply" if isinstance(error, RecursionError) else f"has {error}"
                raise self.error(f"{what} {problem}") from error
            else:
                if self._is_too_long(end):
                    raise self.error(f"{what} is longer than {MAX_ELEMENT} characters")
                length = end - self.position
                # A number may continue beyond the window's end: read more before accepting it.
                if end < len(self.text) or not self._more():
                    self.position += length
                    return value

    def require_end(self) -> None:
        """Raise InputError unless nothing but `;` follows."""
        if self.next_character() == ";":
            self.position += 1
        if self.next_character():
            raise self.error("there is data after the end of the list")

    def _is_too_long(self, end: int) -> bool:
        return end - self.position > MAX_ELEMENT

    def _is_final(self, error: json.JSONDecodeError) -> bool:
        """Return whether more text could not make it valid: the error is before the window's edge, and not an open string."""
        return error.pos < len(self.text) - EDGE and not error.msg.startswith("Unterminated string")

    def _invalid(self, what: str, error: json.JSONDecodeError) -> InputError:
        if self._is_too_long(len(self.text)):
            return self.error(f"{what} is longer than {MAX_ELEMENT} characters, or a quote or bracket is never closed")
        if error.pos >= len(self.text) or error.msg.startswith("Unterminated string"):
            return self.error(f"the file ends inside {what} ({error.msg})", error.pos)
        return self.error(f"{what} is not valid JSON ({error.msg})", error.pos)

    def _more(self) -> bool:
        """Drop consumed text and decode the next chunk; return False at the end of the member."""
        pending = len(self._decoder.getstate()[0])
        chunk = next(self._chunks, b"")
        try:
            text = self._decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            position = self._bytes - pending + error.start
            raise InputError(f"{self._where}, byte {position}: is not UTF-8 ({error.reason})", DOWNLOAD_AGAIN) from error
        self._bytes += len(chunk)
        self._passed += self.position
        self.text = self.text[self.position :] + text
        self.position = 0
        return bool(chunk)
