"""A model's tokenizer by the tokenizers library, one in memory for all the bots that have the same.

Two kinds of vocabulary are known: bytes written as printable characters (GPT-2, Llama 3, Qwen, SmolLM2), and SentencePiece's pieces with
"▁" for a blank and "<0x0A>" for a byte (Llama 2, Gemma).
"""

import re
import threading
from collections import OrderedDict
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from mynah.core.errors import InputError
from mynah.models.checkpoint_files import END_OF_TEXT

if TYPE_CHECKING:
    import tokenizers

MOST_KEPT = 16  # distinct tokenizers; each takes some 10 MB
BLANK = "▁"  # of SentencePiece (Kudo & Richardson 2018, https://arxiv.org/abs/1808.06226)
BYTE_PIECE = re.compile("<0x([0-9A-F]{2})>")
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
        self._special = {number for number, token in inner.get_added_tokens_decoder().items() if token.special}
        self._has_pieces = type(inner.decoder).__name__ in ("Sequence", "Metaspace")
        self.size: int = inner.get_vocab_size()
        first = inner.encode("", add_special_tokens=True).ids[:1]
        self.begin: int | None = first[0] if first else None  # the token that the tokenizer puts before every text
        ids = self.encode("a")
        self.adds_blank = self._has_pieces and bool(ids) and self.name_of(ids[0]).startswith(BLANK)

    @property
    def special_tokens(self) -> int:
        """How many tokens stand for no text."""
        return len(self._special)

    def is_special(self, token: int) -> bool:
        """Whether a token stands for no text, as the end of a post does."""
        return token in self._special

    def encode(self, text: str) -> list[int]:
        """The ids of `text`, without special tokens."""
        return list(self._inner.encode(text, add_special_tokens=False).ids)

    def name_of(self, token: int) -> str:
        """A token as the vocabulary writes it; "" for ids that stand for nothing."""
        return self._inner.id_to_token(token) or ""

    def bytes_of(self, token: int) -> bytes:
        """What a token stands for; b"" for special tokens, and for ids that stand for nothing."""
        found = self._bytes.get(token)
        if found is None:
            found = self._bytes[token] = b"" if token in self._special else self._bytes_of_name(self.name_of(token))
        return found

    def _bytes_of_name(self, name: str) -> bytes:
        if not self._has_pieces:
            return bytes(_BYTE[character] for character in name if character in _BYTE)
        if byte := BYTE_PIECE.fullmatch(name):
            return bytes.fromhex(byte[1])
        return name.replace(BLANK, " ").encode()


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
