"""Sampling from a checkpoint: what evaluation, `mynah generate` and the server share."""

import re
from dataclasses import dataclass

from components.checkpoint import Checkpoint
from components.errors import NAME_OF_TYPE, InputError
from components.events import CONTROLS
from components.names import is_unicode

MOST_SAMPLES = 100
BATCH = 32  # sequences generated side by side; past this the key-value cache costs more than it saves on two cores
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


def generate(checkpoint: Checkpoint, prompt: str, sampling: Sampling) -> list[str]:
    """Continue `prompt` `sampling.n` times; each answer is the prompt and its continuation, up to the end of the post.

    The model sees END_OF_TEXT before the prompt, as it stood before every post in training. The same seed gives the same
    answers. Raises InputError when the prompt is not Unicode text, or leaves no room for `min_tokens` in the model's context.
    """
    import torch

    if not is_unicode(prompt):
        raise InputError(f"the prompt {prompt[:80]!r} is not Unicode text", "Write it in UTF-8.")
    ids = [checkpoint.end, *encode(checkpoint, prompt)]
    room = checkpoint.context - len(ids)
    if room < max(1, sampling.min_tokens):
        raise InputError(
            f"the prompt has {len(ids) - 1} tokens, and the model's context of {checkpoint.context} leaves no room for an answer",
            "Shorten the prompt.",
        )
    torch.manual_seed(sampling.seed)
    answers: list[str] = []
    for start in range(0, sampling.n, BATCH):
        count = min(BATCH, sampling.n - start)
        batch = torch.tensor([ids] * count, device=checkpoint.model.device)
        output = checkpoint.model.generate(
            batch,
            attention_mask=torch.ones_like(batch),
            do_sample=True,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            min_new_tokens=sampling.min_tokens,
            max_new_tokens=min(sampling.max_tokens, room),
            eos_token_id=checkpoint.end,
            pad_token_id=checkpoint.end,
        )
        continuations = checkpoint.tokenizer.batch_decode(output[:, len(ids) :], skip_special_tokens=True)
        answers += [f"{prompt}{NO_TEXT.sub('', text)}".strip() for text in continuations]
    return answers


def encode(checkpoint: Checkpoint, text: str) -> list[int]:
    """Token ids of `text`; a literal <|endoftext|> in it is taken as plain characters, never as the end token."""
    return list(checkpoint.tokenizer(text, add_special_tokens=False, split_special_tokens=True, truncation=False)["input_ids"])
