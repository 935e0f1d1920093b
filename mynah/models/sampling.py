"""How to sample, and a text as token ids: what evaluation, `mynah generate` and the server share."""

import re
from dataclasses import dataclass

from components.checkpoint import Checkpoint
from components.errors import NAME_OF_TYPE, InputError
from components.events import CONTROLS

MOST_SAMPLES = 100
# A byte-level model can write bytes that form no character (U+FFFD) or a command to a terminal; neither says anything.
NO_TEXT = re.compile(f"{CONTROLS.pattern}|\ufffd")


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to sample; the defaults are those of huggingtweets' demo. Refuses nonsense when it is built."""

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


def fewest_tokens(max_tokens: int) -> int:
    """`min_tokens` for who named `max_tokens` alone: who asks for 5 tokens did not ask for the default's 10 at least."""
    return max(0, min(Sampling().min_tokens, max_tokens))


RANGES = (
    ("n", 1, MOST_SAMPLES),
    ("temperature", 0.01, 10.0),
    ("top_p", 0.01, 1.0),
    ("top_k", 0, 100_000),
    ("min_tokens", 0, 1024),
    ("max_tokens", 1, 1024),
    ("seed", 0, 2**63 - 1),
)


def encode(checkpoint: Checkpoint, text: str) -> list[int]:
    """Token ids of `text`; a literal <|endoftext|> in it is taken as plain characters, never as the end token."""
    return list(checkpoint.tokenizer(text, add_special_tokens=False, split_special_tokens=True, truncation=False)["input_ids"])
