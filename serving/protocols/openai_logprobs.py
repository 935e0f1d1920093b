"""The logprobs of tokens in the formats of OpenAI's completions and chat completions."""

import codecs
import re
from collections.abc import Sequence
from typing import Any

from mynah.decoding.request import TokenLogprob
from mynah.models.sampling import NO_TEXT

BYTE_TOKEN = re.compile(
    r"bytes:((?:\\x[0-9a-f]{2})+)"
)  # as OpenAI and `mynah.decoding.running_batch` show a token that is part of a character


def bytes_of(text: str) -> bytes:
    """Return the bytes of a token, by its text."""
    part = BYTE_TOKEN.fullmatch(text)
    return bytes.fromhex(part[1].replace("\\x", "")) if part else text.encode()


class Offsets:
    """Computes each token's offset in a text, in characters, as the text is generated; a token can be a part of a character."""

    def __init__(self) -> None:
        self.first = True  # whether nothing of this text was sent yet
        self._offset = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def next(self, token: TokenLogprob, read: bool = False) -> int:
        """Return a token's offset in characters.

        Args:
            token: the next token.
            read: whether it is a prompt token. These keep control characters, which are removed from generated text.
        """
        offset = self._offset
        text = self._decoder.decode(bytes_of(token.text))
        self._offset += len(text if read else NO_TEXT.sub("", text))
        return offset


def logprobs_of(read: Sequence[TokenLogprob], written: Sequence[TokenLogprob], offsets: Offsets) -> dict[str, Any]:
    """Return the logprobs of tokens in the format of completions.

    Args:
        read: prompt tokens, where the prompt is echoed.
        written: generated tokens.
        offsets: the offsets of this sample's tokens.
    """
    tokens = [*read, *written]
    return {
        "text_offset": [*(offsets.next(token, read=True) for token in read), *(offsets.next(token) for token in written)],
        "tokens": [token.text for token in tokens],
        "token_logprobs": [token.logprob for token in tokens],
        # OpenAI's has the token itself too, so up to one more than were asked for.
        "top_logprobs": [{**dict(token.top), token.text: token.logprob} for token in tokens],
    }


def chat_logprobs_of(tokens: Sequence[TokenLogprob]) -> dict[str, Any]:
    """Return the logprobs of generated tokens in the format of chat completions."""
    content = [
        {**_scored(token.text, token.logprob), "top_logprobs": [_scored(text, number) for text, number in token.top]}
        for token in tokens
    ]
    return {"content": content, "refusal": None}


def _scored(text: str, logprob: float) -> dict[str, Any]:
    return {"token": text, "logprob": logprob, "bytes": list(bytes_of(text))}
