"""Hugging Face's tokenizer.json from a tokenizer as GGUF has it, and back."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mynah.core.errors import InputError
from mynah.models.checkpoint_files import END_OF_TEXT
from mynah.models.gguf.tokens import PRE_TOKENIZERS, Json, Kind, Vocabulary

BLANK = "▁"  # of SentencePiece (Kudo & Richardson 2018, https://arxiv.org/abs/1808.06226)
NFC = {"type": "NFC"}  # Qwen's


def tokenizer_json(vocabulary: Vocabulary, begin: int | None, special: Sequence[int]) -> Json:
    """Return tokenizer.json.

    Args:
        vocabulary: The tokenizer.
        begin: The id of the token that every text gets before it, or None.
        special: Ids that stand for no text, whatever their kind.

    Raises:
        ValueError: A merge is none.
    """
    tokens = vocabulary.tokens
    own = _byte_level_json(vocabulary) if vocabulary.model == "gpt2" else _pieces_json(vocabulary)
    added = [
        {
            "id": number, "content": token, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
            "special": vocabulary.kinds[number] != Kind.USER_DEFINED or number in special,
        }
        for number, token in enumerate(tokens)
        if vocabulary.kinds[number] in (Kind.CONTROL, Kind.UNKNOWN, Kind.USER_DEFINED) or number in special
    ]  # fmt: skip
    found = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, **own}
    return found if begin is None else found | {"post_processor": _begins_with(tokens[begin], begin)}


def _begins_with(token: str, number: int) -> Json:
    first, text = {"SpecialToken": {"id": token, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}
    return {
        "type": "TemplateProcessing", "single": [first, text], "pair": [first, text, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {token: {"id": token, "ids": [number], "tokens": [token]}},
    }  # fmt: skip


def _bpe(vocabulary: Vocabulary, merges: list[list[str]], **changes: Any) -> Json:  # noqa: ANN401
    plain = {
        "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
        "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
    }  # fmt: skip
    return plain | changes | {"vocab": {token: number for number, token in enumerate(vocabulary.tokens)}, "merges": merges}


def _byte_level_json(vocabulary: Vocabulary) -> Json:
    merges = [merge.split(" ") for merge in vocabulary.merges]
    if any(len(pair) != 2 for pair in merges):
        raise ValueError("a merge is not of two pieces")
    return {
        "normalizer": NFC if vocabulary.pre == "qwen2" else None,
        "pre_tokenizer": PRE_TOKENIZERS[vocabulary.pre],
        "post_processor": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True},
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": _bpe(vocabulary, merges, ignore_merges=vocabulary.pre == "llama-bpe"),
    }


def _pieces_json(vocabulary: Vocabulary) -> Json:
    unknown = next((token for token, kind in zip(vocabulary.tokens, vocabulary.kinds, strict=True) if kind == Kind.UNKNOWN), None)
    blanks = {"type": "Replace", "pattern": {"String": " "}, "content": BLANK}
    decoders: list[Json] = [
        {"type": "Replace", "pattern": {"String": BLANK}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
    ]  # fmt: skip
    if vocabulary.adds_blank:
        decoders.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    first: list[Json] = [{"type": "Prepend", "prepend": BLANK}] if vocabulary.adds_blank else []
    return {
        "normalizer": {"type": "Sequence", "normalizers": [*first, blanks]},
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": _bpe(
            vocabulary, _merges_of_pieces(vocabulary), unk_token=unknown, fuse_unk=True, byte_fallback=True
        ),
    }  # fmt: skip


def _merges_of_pieces(vocabulary: Vocabulary) -> list[list[str]]:
    """The merges that a SentencePiece model means: any two pieces that make a third, the one with the highest score first.

    The order among equals is that of transformers' converter (convert_slow_tokenizer.py, generate_merges).
    """
    ids = {
        token: number
        for number, token in enumerate(vocabulary.tokens)
        if vocabulary.kinds[number] in (Kind.NORMAL, Kind.USER_DEFINED)
    }
    found = []
    for token, number in ids.items():
        if vocabulary.kinds[number] != Kind.NORMAL:
            continue
        for at in range(1, len(token)):
            left, right = token[:at], token[at:]
            if left in ids and right in ids:
                found.append((-vocabulary.scores[number], len(left), len(right), ids[left], ids[right], left, right))
    return [[left, right] for *_, left, right in sorted(found)]


# From tokenizer.json


def load_tokenizer_json(folder: Path) -> Json:
    """Return a checkpoint's tokenizer.json, or what it would be of GPT-2's vocab.json and merges.txt. Raises InputError for a broken one."""
    try:
        if (folder / "tokenizer.json").is_file():
            found = json.loads((folder / "tokenizer.json").read_text("utf-8"))
            if not isinstance(found, dict) or not isinstance(found.get("model"), dict):
                raise ValueError("it has no model")
            return found
        ids: dict[str, int] = json.loads((folder / "vocab.json").read_text("utf-8"))
        lines = (folder / "merges.txt").read_text("utf-8").splitlines()
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"the tokenizer of {folder} cannot be read: {error}", "Save it beside the model again.") from error
    merges = [line for line in lines if line and not line.startswith("#version")]
    added = [{"id": ids[END_OF_TEXT], "content": END_OF_TEXT, "special": True}] if END_OF_TEXT in ids else []
    return {
        "added_tokens": added, "pre_tokenizer": PRE_TOKENIZERS["gpt-2"], "post_processor": None,
        "model": {"type": "BPE", "vocab": ids, "merges": merges},
    }  # fmt: skip


def vocabulary_of(folder: Path, found: Json, size: int) -> Vocabulary:
    """Return the tokenizer of a tokenizer.json.

    Args:
        folder: The checkpoint, for messages.
        found: Its tokenizer.json.
        size: Rows of the model's token embeddings; ids without a token get one that is never used.

    Raises:
        InputError: GGUF cannot express the tokenizer, or it does not fit the model.
    """
    model, added = found["model"], found.get("added_tokens") or []
    tokens = [f"[PAD{number}]" for number in range(size)]
    kinds = [int(Kind.UNUSED)] * size
    try:
        for token, number in model["vocab"].items():
            tokens[number], kinds[number] = token, Kind.NORMAL
        for each in added:
            tokens[each["id"]] = each["content"]
            kinds[each["id"]] = Kind.CONTROL if each.get("special") else Kind.USER_DEFINED
        merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise InputError(
            f"{folder}: its tokenizer does not fit the model ({size:,} tokens): {error!r}",
            "Save the model's own tokenizer beside it.",
        ) from error
    if model.get("type") == "BPE" and model.get("byte_fallback"):
        return _pieces_of(found, tokens, kinds, merges)
    pre = next((name for name, rules in PRE_TOKENIZERS.items() if _same_rules(rules, found.get("pre_tokenizer"))), "")
    if model.get("type") != "BPE" or not pre:
        raise InputError(
            f"{folder}: GGUF has no name for how its tokenizer splits text",
            f"Export it --to folder; known: {', '.join(PRE_TOKENIZERS)}.",
        )
    return Vocabulary("gpt2", pre, tokens, kinds, merges)


def _same_rules(rules: Json, found: object) -> bool:
    """Whether two pre-tokenizers split alike: `trim_offsets` says only what is reported."""

    def plain(value: object) -> object:
        if isinstance(value, dict):
            return {key: plain(each) for key, each in value.items() if key != "trim_offsets"}
        return [plain(each) for each in value] if isinstance(value, list) else value

    return plain(found) == plain(rules)


def _pieces_of(found: Json, tokens: list[str], kinds: list[int], merges: list[str]) -> Vocabulary:
    """SentencePiece's: a token's score is the place of the first merge that makes it."""
    scores = dict.fromkeys(tokens, 0.0)
    for place, merge in enumerate(merges):
        token = merge.replace(" ", "")
        if token in scores and not scores[token]:
            scores[token] = -float(place + 1)
    unknown = found["model"].get("unk_token")
    for number, token in enumerate(tokens):
        if token == unknown:
            kinds[number] = Kind.UNKNOWN
        elif len(token) == 6 and token.startswith("<0x") and kinds[number] == Kind.NORMAL:
            kinds[number] = Kind.BYTE
    rules = json.dumps([found.get("normalizer"), found.get("pre_tokenizer")])
    adds_blank = '"Prepend"' in rules or '"prepend_scheme": "first"' in rules or '"prepend_scheme": "always"' in rules
    return Vocabulary("llama", "", tokens, kinds, (), [scores[token] for token in tokens], adds_blank)
