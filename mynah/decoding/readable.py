"""Keeps an answer to characters that its author could have written: scripts of the posts or the prompt, and whole ones.

A byte-level vocabulary lets a model write any bytes. A token of whole characters, as nearly all are, takes a look-up in a dictionary;
one that begins or ends within a character is decoded with the bytes before it.
"""

import codecs
from collections.abc import Callable, Collection
from weakref import WeakKeyDictionary

from mynah.data.scripts import SHARED, UNREADABLE, scripts_between, scripts_of
from mynah.decoding.tokenizer import Tokenizer

TokenScripts = dict[int, frozenset[str] | None]  # by token; None: it begins or ends within a character, or is no UTF-8
_known: "WeakKeyDictionary[Tokenizer, TokenScripts]" = WeakKeyDictionary()


class Readable:
    """What the characters of one answer may be."""

    def __init__(self, tokenizer: Tokenizer, scripts: Collection[str], prompt: str) -> None:
        """Begin an answer.

        Args:
            tokenizer: Whose tokens it is made of.
            scripts: Those of the author's posts (`mynah.data.scripts.read_scripts`).
            prompt: What the answer continues; its scripts are allowed as well.
        """
        self._tokenizer = tokenizer
        self._allowed = (frozenset(scripts) | scripts_of(prompt) | SHARED) - {UNREADABLE}
        self._scripts = _known.setdefault(tokenizer, {})
        self._pending = b""  # the beginning of a character

    def would_spoil(self, token: int) -> bool:
        """Whether `token` would add a character of another script, one that nobody can read, or bytes that form none."""
        scripts = self._scripts_of(token)
        if scripts is not None and not self._pending:
            return not scripts <= self._allowed
        try:
            text, rest = _decode(self._pending + self._tokenizer.bytes_of(token))
        except UnicodeDecodeError:
            return True
        return not scripts_of(text) <= self._allowed or bool(rest and _can_become(rest).isdisjoint(self._allowed))

    def add(self, token: int) -> None:
        """Append `token`."""
        if self._scripts_of(token) is None or self._pending:
            try:
                self._pending = _decode(self._pending + self._tokenizer.bytes_of(token))[1]
            except UnicodeDecodeError:  # a token that nobody asked about
                self._pending = b""

    def _scripts_of(self, token: int) -> frozenset[str] | None:
        if token not in self._scripts:
            content = self._tokenizer.bytes_of(token)
            try:
                self._scripts[token] = scripts_of(content.decode())
            except UnicodeDecodeError:
                self._scripts[token] = None
        return self._scripts[token]


def either(*refusals: Callable[[int], bool] | None) -> Callable[[int], bool] | None:
    """Whether any of `refusals` refuses a token; None where there are none."""
    known = [refuses for refuses in refusals if refuses]
    if len(known) < 2:
        return known[0] if known else None
    return lambda token: any(refuses(token) for refuses in known)


def _decode(content: bytes) -> tuple[str, bytes]:
    """The characters of `content`, and the beginning of one at its end. Raises UnicodeDecodeError for what is no UTF-8."""
    text, length = codecs.utf_8_decode(content, "strict", False)
    return text, content[length:]


def _can_become(content: bytes) -> frozenset[str]:
    """The scripts of the characters that begin with `content`, one to three bytes (RFC 3629: the lead byte says how many there are)."""
    size = 2 if content[0] < 0xE0 else 3 if content[0] < 0xF0 else 4
    bits = content[0] & (0xFF >> (size + 1))
    for byte in content[1:]:
        bits = bits << 6 | byte & 0x3F
    missing = 6 * (size - len(content))
    smallest = {2: 0x80, 3: 0x800, 4: 0x10000}[size]
    return scripts_between(max(bits << missing, smallest), min((bits + 1 << missing) - 1, 0x10FFFF))
