"""Generate texts without a server: what evaluation and `mynah generate` call."""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby

import torch

from mynah.core.errors import InputError
from mynah.core.names import is_unicode
from mynah.decoding.model import Model
from mynah.decoding.request import GenerationRequest, TextChunk, encode_prompt
from mynah.decoding.running_batch import MAX_CACHE_BYTES, RunningBatch, RunningSample
from mynah.decoding.threads import decode_with, use_free_cores, use_free_cores_for_prompts
from mynah.models.sampling import Sampling

MAX_RUNNING = 64  # samples; on two cores more of them write no faster


@dataclass(frozen=True, slots=True)
class Generated:
    """What a model wrote: the answers to each prompt, in order, the tokens that it drew for all of them, and the invalid characters left out."""

    texts: list[list[str]]
    tokens: int
    invalid: int = 0


def generate(
    model: Model,
    prompts: Sequence[str],
    sampling: Sampling,
    *,
    allow_verbatim: bool = True,
    any_script: bool = False,
    repeatable: bool = False,
) -> Generated:
    """Continue each of `prompts` `sampling.n` times, up to the end of the post. Blocks.

    Args:
        model: Which model writes.
        prompts: What it continues; "" is the beginning of a post.
        sampling: How tokens are drawn, and how many.
        allow_verbatim: Whether an answer may repeat a training post.
        any_script: Whether an answer may have scripts that its author never used, and bytes that form no character.
        repeatable: Whether a seed must give the same texts as the server gives for it also on kernels on which rows depend on one
            another; there, one sample is then decoded after the other.

    Returns:
        The answers, each with its prompt before it and without the space around both: the same texts as the server gives for these
        prompts, this seed and this choice of `allow_verbatim`, unless `any_script`.

    Raises:
        InputError: A prompt is not Unicode text.
        PromptTooLong: A prompt leaves no room for `sampling.min_tokens` in the model's context.
    """
    for prompt in prompts:
        if not is_unicode(prompt):
            raise InputError(f"the prompt {prompt[:80]!r} is not Unicode text", "Write it in UTF-8.")
    request = GenerationRequest(tuple(prompts), sampling)
    ids = [encode_prompt(model, request.encoded_text(prompt), sampling.min_tokens) for prompt in prompts]
    samples = [
        RunningSample.begin(
            None, request, model, prompt, sample, ids[prompt], allow_verbatim=allow_verbatim, any_script=any_script
        )
        for prompt in range(len(prompts))
        for sample in range(sampling.n)
    ]
    batches = [[sample] for sample in samples] if repeatable and not model.is_exact else [samples]
    texts, tokens = [[""] * sampling.n for _ in prompts], 0
    with _keep_thread_count():
        for several in batches:
            for _, chunk in _decode(model, deque(several), ids):
                texts[chunk.prompt][chunk.sample] += chunk.text
                tokens += 1
    answers = [[f"{prompt}{text}".strip() for text in several] for prompt, several in zip(prompts, texts, strict=True)]
    return Generated(answers, tokens, sum(sample.transcript.invalid for sample in samples))


def _decode(
    model: Model, waiting: deque[RunningSample[None]], ids: Sequence[Sequence[int]]
) -> Iterator[tuple[RunningSample[None], TextChunk]]:
    """Decode all samples that wait, and empty `waiting`; `ids`: each prompt's tokens."""
    batch = RunningBatch[None](model.body)
    while waiting or batch.size:
        joining = _take_joining(batch, waiting)
        if joining:
            use_free_cores_for_prompts(model.body)
            groups = [list(several) for _, several in groupby(joining, key=lambda sample: sample.prompt)]
            yield from batch.add([ids[group[0].prompt] for group in groups], groups)
        else:
            use_free_cores([model.body])
            yield from batch.step()


def _take_joining(batch: RunningBatch[None], waiting: deque[RunningSample[None]]) -> list[RunningSample[None]]:
    """Take out of `waiting` what begins now: many at once, when half of the places are free, and as far as the cache has room."""
    joining: list[RunningSample[None]] = []
    max_length = 0
    while waiting and batch.size <= MAX_RUNNING // 2 and batch.size + len(joining) < MAX_RUNNING:
        max_length = max(max_length, waiting[0].max_length)
        is_first = not batch.size and not joining
        if not is_first and batch.cache_bytes_with(len(joining) + 1, max_length) > MAX_CACHE_BYTES:
            break
        joining.append(waiting.popleft())
    return joining


@contextmanager
def _keep_thread_count() -> Iterator[None]:
    """Leave the calling thread with as many threads as it had."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        decode_with(before)
