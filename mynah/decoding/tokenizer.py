"""GPT-2's byte-level tokenizer by the tokenizers library, one in memory for all the bots that have the same."""

import threading
from collections import OrderedDict
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from components.checkpoint import END_OF_TEXT
from components.errors import InputError

if TYPE_CHECKING:
    import tokenizers

MOST_KEPT = 16  # distinct tokenizers; each takes some 10 MB
FILES = ("tokenizer.json", "vocab.json", "merges.txt")


class Tokenizer:
    """Encodes prompts, and knows each token's bytes. Safe to use from several threads."""

    def __init__(self, inner: "tokenizers.Tokenizer") -> None:
        # A special token within a prompt would end it: <|endoftext|> is then nothing but 13 characters.
        inner.encode_special_tokens = True
        inner.no_truncation()
        inner.no_padding()
        self._inner = inner
        self._bytes: dict[int, bytes] = {}
        self.size: int = inner.get_vocab_size()
        self.end: int | None = inner.token_to_id(END_OF_TEXT)

    def encode(self, text: str) -> list[int]:
        """The ids of `text`, without special tokens."""
        return list(self._inner.encode(text, add_special_tokens=False).ids)

    def bytes_of(self, token: int) -> bytes:
        """What a token stands for; b"" for the end of a post, and for ids that stand for nothing."""
        found = self._bytes.get(token)
        if found is None:
            text = "" if token == self.end else self._inner.id_to_token(token) or ""
            found = bytes(_BYTE[character] for character in text if character in _BYTE)
            self._bytes[token] = found
        return found


def _bytes_to_characters() -> dict[str, int]:
    """GPT-2's table of a printable character for every byte (its encoder.py: https://github.com/openai/gpt-2), turned round."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + number): byte for number, byte in enumerate(others)}


_BYTE = _bytes_to_characters()
_kept: "OrderedDict[str, Tokenizer]" = OrderedDict()
_lock = threading.Lock()


def shared_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a folder; bots with equal files share one. Raises InputError when its files are no tokenizer's."""
    key = _key(folder)
    with _lock:
        if key not in _kept:
            _kept[key] = _read(folder)
            while len(_kept) > MOST_KEPT:
                _kept.popitem(last=False)
        _kept.move_to_end(key)
        return _kept[key]


def _key(folder: Path) -> str:
    digest = sha256()
    for name in FILES:
        if (folder / name).is_file():
            digest.update(name.encode() + sha256((folder / name).read_bytes()).digest())
    return digest.hexdigest()


def _read(folder: Path) -> Tokenizer:
    from tokenizers import AddedToken, models, pre_tokenizers
    from tokenizers import Tokenizer as Inner

    try:
        if (folder / "tokenizer.json").is_file():
            return Tokenizer(Inner.from_file(str(folder / "tokenizer.json")))
        inner = Inner(models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt")))
        inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        inner.add_special_tokens([AddedToken(END_OF_TEXT, normalized=False)])
        return Tokenizer(inner)
    except Exception as error:  # the library raises plain Exception for whatever it cannot read
        raise InputError(
            f"the tokenizer of {folder} cannot be read: {str(error)[:200]}", "Save it beside the model again."
        ) from error
