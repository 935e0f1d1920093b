"""A tokenizer in GGUF; tokenizer_json.py turns it into Hugging Face's and back.

GGUF keeps the tokens with their kinds and, of byte-level BPE, the merges; how text is split before is a name (`tokenizer.ggml.pre`) that
llama.cpp knows the rules of: https://github.com/ggml-org/llama.cpp, src/llama-vocab.cpp. The rules in the form of tokenizer.json are those
of the models that the names are from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

from mynah.core.errors import InputError

Json = dict[str, Any]


class Kind(IntEnum):
    """GGUF's kinds of tokens."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


def _words(digits: str) -> str:
    """The pattern of Llama 3 and Qwen 2, which differ in how many digits a piece has."""
    return (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
        + digits
        + r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )


def _byte_level(*, use_regex: bool) -> Json:
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": use_regex}


def _sequence(first: Json, *, use_regex: bool) -> Json:
    return {"type": "Sequence", "pretokenizers": [first, _byte_level(use_regex=use_regex)]}


def _split(pattern: str) -> Json:
    return _sequence({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}, use_regex=False)


PRE_TOKENIZERS = {  # by GGUF's name
    "gpt-2": _byte_level(use_regex=True),
    "smollm": _sequence({"type": "Digits", "individual_digits": True}, use_regex=True),
    "llama-bpe": _split(_words(r"\p{N}{1,3}")),
    "qwen2": _split(_words(r"\p{N}")),
}
OTHER_NAMES = {"gpt2": "gpt-2", "llama3": "llama-bpe", "llama-v3": "llama-bpe"}  # that llama.cpp takes too
MODELS = ("gpt2", "llama")  # byte-level BPE; SentencePiece's BPE, which Gemma has too


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A tokenizer as GGUF has it.

    Attributes:
        model: "gpt2" or "llama".
        pre: The name of the rules that split text; "" for "llama".
        tokens: By id.
        kinds: Of each token.
        merges: Of byte-level BPE, each two pieces with a blank between.
        scores: Of SentencePiece: the higher one is merged first.
        adds_blank: Whether a text gets a blank before it.
    """

    model: str
    pre: str
    tokens: Sequence[str]
    kinds: Sequence[int]
    merges: Sequence[str] = ()
    scores: Sequence[float] = ()
    adds_blank: bool = False


def read_vocabulary(path: Path, values: Mapping[str, Any], size: int) -> Vocabulary:
    """Return the tokenizer of a file.

    Args:
        path: The file, for messages.
        values: Its header's.
        size: Rows of the model's token embeddings.

    Raises:
        InputError: The tokenizer is of a kind that is not supported, is not whole, or does not fit the model.
    """
    model = values.get("tokenizer.ggml.model")
    if model not in MODELS:
        raise InputError(
            f"{path} has a tokenizer of the kind {str(model)[:40]!r}, which is not supported",
            "Use a file whose tokenizer is gpt2 (byte-level BPE) or llama (SentencePiece).",
        )
    tokens = _list(path, values, "tokens", str)
    kinds = _list(path, values, "token_type", int) if "tokenizer.ggml.token_type" in values else [Kind.NORMAL] * len(tokens)
    if not 0 < len(tokens) <= size or len(kinds) != len(tokens) or len(set(tokens)) != len(tokens):
        raise InputError(
            f"{path}: the tokenizer ({len(tokens):,} tokens, {len(set(tokens)):,} different) does not fit the model ({size:,})",
            "Fetch it again, or convert it with a current llama.cpp.",
        )
    if model == "gpt2":
        return Vocabulary(model, _pre(path, values), tokens, kinds, _list(path, values, "merges", str))
    scores = _list(path, values, "scores", float)
    if len(scores) != len(tokens):
        raise InputError(f"{path} has {len(scores):,} scores for {len(tokens):,} tokens", "Fetch it again.")
    return Vocabulary(model, "", tokens, kinds, (), scores, bool(values.get("tokenizer.ggml.add_space_prefix", True)))


def _list(path: Path, values: Mapping[str, Any], name: str, kind: type) -> list[Any]:
    found = values.get(f"tokenizer.ggml.{name}")
    if not isinstance(found, list) or not all(isinstance(each, kind) for each in found):
        raise InputError(f"{path} has no tokenizer.ggml.{name}, or one of another type", "Use a file with a whole tokenizer.")
    return found


def _pre(path: Path, values: Mapping[str, Any]) -> str:
    found = values.get("tokenizer.ggml.pre", "gpt-2" if values.get("general.architecture") == "gpt2" else None)
    found = OTHER_NAMES.get(str(found), found)
    if found not in PRE_TOKENIZERS:
        raise InputError(
            f"{path} splits text by the rules {str(found)[:40]!r} (tokenizer.ggml.pre), which are not supported",
            f"Use a file with one of {', '.join(PRE_TOKENIZERS)}.",
        )
    return str(found)


def adds_begin(values: Mapping[str, Any], vocabulary: Vocabulary) -> bool:
    """Whether every text gets a token before it; where the file does not say, what llama.cpp does."""
    default = vocabulary.model == "llama" or vocabulary.pre == "llama-bpe"
    return bool(values.get("tokenizer.ggml.add_bos_token", default))
