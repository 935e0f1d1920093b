"""From tokens to text as they come: characters that take several tokens, stop strings that begin in one and end in another."""

import codecs
from collections.abc import Sequence

from mynah.data.verbatim_filter import Bloom, words
from mynah.decoding.tokenizer import Tokenizer
from mynah.models.sampling import NO_TEXT

TAIL = 600  # characters; more than the longest run of words that could still become a memorised one


class Transcript:
    """One answer's text. What `add` returns is final; what could still become a stop string is held back."""

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str], *, drop_blank: bool = False) -> None:
        """Begin an answer.

        Args:
            tokenizer: Whose tokens it is made of.
            stop: Strings that end it.
            drop_blank: Whether the first token's blank is no part of the answer: the prompt ends with it, or the tokenizer puts one before
                every text.
        """
        self._drop_blank = drop_blank
        self._tokenizer = tokenizer
        self._stop = tuple(stop)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self.stopped = False
        self.invalid = 0  # characters left out that no bytes form, or that were lost before: U+FFFD

    def add(self, token: int) -> str:
        """The text that `token` makes final."""
        content = self._tokenizer.bytes_of(token)
        if self._drop_blank and content:
            content, self._drop_blank = content.removeprefix(b" "), False
        return self._pass(self._clean(self._decoder.decode(content)))

    def end(self) -> str:
        """What was held back, at the end of the answer."""
        if self.stopped:
            return ""
        rest, self._held = self._pass(self._clean(self._decoder.decode(b"", True))) + self._held, ""
        return rest

    def _clean(self, text: str) -> str:
        self.invalid += text.count("\ufffd")
        return NO_TEXT.sub("", text)

    def _pass(self, text: str) -> str:
        if not self._stop:
            return text
        self._held += text
        found = [place for place in (self._held.find(stop) for stop in self._stop) if place >= 0]
        if found:
            self.stopped = True
            ready, self._held = self._held[: min(found)], ""
            return ready
        keep = max((_overlap(self._held, stop) for stop in self._stop), default=0)
        ready, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return ready


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of `text` begin `stop`."""
    return next((size for size in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:size])), 0)


class Repeats:
    """Keeps one answer from repeating a training post: knows the last words said, and what a token would add to them."""

    def __init__(self, bloom: Bloom, tokenizer: Tokenizer, prompt: str) -> None:
        self._bloom, self._tokenizer = bloom, tokenizer
        self._tail = prompt[-TAIL:].encode("utf-8", "replace")

    def would(self, token: int) -> bool:
        """Whether the answer with `token` would repeat one. A token that changes no word never does."""
        added = self._tokenizer.bytes_of(token)
        before, after = _words(self._tail), _words(self._tail + added)
        return before != after and self._bloom.repeats(after)

    def add(self, token: int) -> None:
        """Say `token`."""
        self._tail = (self._tail + self._tokenizer.bytes_of(token))[-4 * TAIL :]


def _words(text: bytes) -> list[str]:
    return words(text[-TAIL:].decode("utf-8", "ignore"))
