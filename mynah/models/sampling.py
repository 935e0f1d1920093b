"""Sampling settings and text encoding, shared by evaluation, `mynah generate` and the server."""

import re
from dataclasses import dataclass

from mynah.core.errors import NAME_OF_TYPE, InputError
from mynah.core.progress import CONTROLS
from mynah.models.checkpoint import Checkpoint

MAX_SAMPLES = 100
# A byte-level model can generate bytes that form no character (U+FFFD), or control characters; both are removed from texts.
NO_TEXT = re.compile(f"{CONTROLS.pattern}|\ufffd")


@dataclass(frozen=True, slots=True)
class Sampling:
    """Sampling settings, validated when they are built. The defaults are those of huggingtweets' demo."""

    n: int = 1  # samples per prompt
    temperature: float = 1.0
    top_p: float = 0.95
    top_k: int = 0  # 0: no limit
    min_tokens: int = 10
    max_tokens: int = 160
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low, high in RANGES:
            value = getattr(self, name)
            kind = float if name in ("temperature", "top_p") else int
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or (kind is int and not isinstance(value, int)) or not low <= value <= high:
                raise InputError(
                    f"{name} is {str(value)[:40]!r}, and must be {NAME_OF_TYPE[kind]} from {low} to {high}", f"Change {name}."
                )
        if self.min_tokens > self.max_tokens:
            raise InputError(f"min_tokens ({self.min_tokens}) is more than max_tokens ({self.max_tokens})", "Lower min_tokens.")


def default_min_tokens(max_tokens: int) -> int:
    """Return `min_tokens` for a request that sets `max_tokens` only: the default, lowered to `max_tokens`."""
    return max(0, min(Sampling().min_tokens, max_tokens))


RANGES = (
    ("n", 1, MAX_SAMPLES),
    ("temperature", 0.01, 10.0),
    ("top_p", 0.01, 1.0),
    ("top_k", 0, 100_000),
    ("min_tokens", 0, 1024),
    ("max_tokens", 1, 1024),
    ("seed", 0, 2**63 - 1),
)


def encode(checkpoint: Checkpoint, text: str) -> list[int]:
    """Return the token ids of a text; a literal <|endoftext|> in it is encoded as plain characters, never as the end token."""
    return list(checkpoint.tokenizer(text, add_special_tokens=False, split_special_tokens=True, truncation=False)["input_ids"])
