"""What a generation takes, GenerationRequest, and what it gives, TextChunk by TextChunk. Without torch: readers of requests need none."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mynah.decoding.errors import InvalidParameter, PromptTooLong
from mynah.models.sampling import Sampling

if TYPE_CHECKING:
    from mynah.decoding.model import Model

MAX_STOPS = 8
MAX_STOP_LENGTH = 100  # characters
MAX_LOGPROBS = 5  # as OpenAI's completions
MAX_TOP_LOGPROBS = 20  # as OpenAI's chat completions
PENALTIES = (0.1, 10.0)
MAX_CHARACTERS_PER_TOKEN = 64  # no token is that long


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """Prompts to continue, and how.

    Attributes:
        prompts: Texts; each is continued `sampling.n` times.
        sampling: How tokens are drawn, and how many.
        stop: An answer ends before the first of these strings, of 1 to 100 characters; 8 at most.
        repetition_penalty: CTRL's (Keskar et al. 2019, https://arxiv.org/abs/1909.05858), over prompt and answer; 1: none.
        logprobs: Report the log-probability of each token chosen, and of that many likeliest ones; None: of none.
        prompt_logprobs: Report the same of the prompts' own tokens.
        seeded: The seed is the request's own, so the texts must be the same whatever runs beside it.

    Raises:
        InvalidParameter: A value has the wrong type or is out of range.
    """

    prompts: tuple[str, ...]
    sampling: Sampling
    stop: tuple[str, ...] = ()
    repetition_penalty: float = 1.0
    logprobs: int | None = None
    prompt_logprobs: bool = False
    seeded: bool = True

    def encoded_text(self, prompt: str) -> str:
        """The part of a prompt that is encoded: without blanks at its end, which begin the next word's token in posts.

        Prompts whose own tokens are scored are encoded whole.
        """
        return prompt if self.prompt_logprobs else prompt.rstrip(" ")

    def __post_init__(self) -> None:
        _check_stop(self.stop)
        penalty, (low, high) = self.repetition_penalty, PENALTIES
        if isinstance(penalty, bool) or not isinstance(penalty, int | float) or not low <= penalty <= high:
            raise InvalidParameter(f"repetition_penalty is {str(penalty)[:40]!r}, and must be a number from {low} to {high}")
        if self.logprobs is not None and (type(self.logprobs) is not int or not 0 <= self.logprobs <= MAX_TOP_LOGPROBS):
            raise InvalidParameter(
                f"logprobs is {str(self.logprobs)[:40]!r}, and must be a whole number from 0 to {MAX_TOP_LOGPROBS}"
            )


def _check_stop(stop: tuple[object, ...]) -> None:
    if len(stop) > MAX_STOPS:
        raise InvalidParameter(f"stop has {len(stop)} strings; the most is {MAX_STOPS}")
    for text in stop:
        if not isinstance(text, str) or not 1 <= len(text) <= MAX_STOP_LENGTH:
            raise InvalidParameter(f"stop must be strings of 1 to {MAX_STOP_LENGTH} characters, and holds {str(text)[:40]!r}")


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token of an answer or a prompt.

    Attributes:
        id: In the model's vocabulary.
        text: What it stands for; of a part of a character, its bytes as OpenAI shows them (`bytes:\\xe2`).
        logprob: The natural logarithm of its probability, where the request asked for it; else 0.
        top: The likeliest tokens in its place with theirs, the likeliest first.
    """

    id: int
    text: str
    logprob: float = 0.0
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class TextChunk:
    """What one step adds to one sample.

    Attributes:
        prompt: The prompt's index in the request.
        sample: The sample's index among those of its prompt.
        text: What the token makes final; "" for part of a character, or of what may become a stop string.
        tokens: The token that was drawn; empty for the end of a post.
        finish: "" until the last chunk of a sample: "stop" or "length".
    """

    prompt: int
    sample: int
    text: str
    tokens: tuple[TokenLogprob, ...]
    finish: str


def encode_prompt(model: "Model", prompt: str, min_tokens: int) -> list[int]:
    """Encode a prompt as posts began in training: after the token that a post begins with.

    Args:
        model: Whose tokenizer and context are meant.
        prompt: Unicode text.
        min_tokens: What the answer takes at least.

    Returns:
        Token ids, the first of them `model.begin`.

    Raises:
        PromptTooLong: The context has no room for the prompt and `min_tokens` (at least one) after it.
    """
    if len(prompt) > MAX_CHARACTERS_PER_TOKEN * model.context:  # encoding megabytes takes a while
        raise PromptTooLong(
            f"the prompt has {len(prompt):,} characters, more than the model's context of {model.context} tokens holds"
        )
    ids = [model.begin, *model.encode(prompt)]
    if model.context - len(ids) < max(1, min_tokens):
        raise PromptTooLong(
            f"the prompt has {len(ids) - 1} tokens, and the model's context of {model.context} leaves no room for an answer",
            "Shorten the prompt.",
        )
    return ids
