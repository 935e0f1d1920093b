"""Chooses which queued samples start next: requests take turns, within the limits on samples and memory."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mynah.decoding.body import Body
from mynah.decoding.decoder import cache_bytes
from mynah.decoding.model import Model
from mynah.decoding.request import GenerationRequest
from mynah.decoding.running_batch import RunningBatch
from serving.engine.stream import Stream

MAX_PREFILL = 64  # prompt tokens per step, after which no other prompt is added, so that running samples do not wait long
# One slot in eight is reserved for requests without a running sample, so that a request with many samples does not delay others.
RESERVED_SHARE = 8


@dataclass(eq=False)
class QueuedRequest:
    """A request with samples that have no slot yet.

    Attributes:
        model: The model.
        request: The prompts and how to continue them.
        label: The model's name in metrics.
        stream: The stream that receives the answer.
        prompts: The token ids of each prompt.
        left: The samples that have not started: [(prompt's index, sample's index)].
    """

    model: Model
    request: GenerationRequest
    label: str
    stream: Stream
    prompts: list[list[int]]
    left: deque[tuple[int, int]] = field(default_factory=deque)

    def max_length(self, prompt: int) -> int:
        """Return the maximum length in tokens of a sample, including its prompt, by the prompt's index."""
        ids = len(self.prompts[prompt])
        return ids + min(self.request.sampling.max_tokens, self.model.context - ids)


@dataclass(frozen=True, slots=True)
class Group:
    """Samples of one prompt that start together."""

    queued: QueuedRequest
    prompt: int
    samples: list[int]

    @property
    def ids(self) -> list[int]:
        """The prompt's token ids."""
        return self.queued.prompts[self.prompt]

    @property
    def computes(self) -> object:
        """Equal for groups whose prompts are computed once for all: the same prompt of the same bot, unless its tokens are scored."""
        if self.queued.request.prompt_logprobs:
            return id(self)
        return id(self.queued.model), tuple(self.ids)


def by_prompt(groups: Sequence[Group]) -> list[list[Group]]:
    """The groups, those whose prompt is computed once for all together."""
    alike: dict[object, list[Group]] = {}
    for group in groups:
        alike.setdefault(group.computes, []).append(group)
    return list(alike.values())


def choose(queue: deque[QueuedRequest], batches: Mapping[Body, RunningBatch[Stream]], slots: int, cache: int) -> list[Group]:
    """Remove the samples from the queue that start now, one prompt per request and turn.

    Args:
        queue: The queued requests; a request that had its turn moves to the end.
        batches: The running samples by body.
        slots: The maximum number of running samples.
        cache: The maximum bytes of their keys and values. When no sample is running, one starts whatever its size.

    Returns:
        The samples to start, grouped by prompt.
    """
    capacity = _Capacity(batches, slots, cache)
    chosen: list[Group] = []
    known: set[object] = set()
    tokens = passed = 0
    while passed < len(queue) and capacity.free > 0 and tokens < MAX_PREFILL:
        queued = queue[0]
        group = capacity.take(queued)
        if group.samples:
            chosen.append(group)
            tokens += 0 if group.computes in known else len(group.ids)
            known.add(group.computes)
        elif capacity.full:
            break  # it keeps its turn; otherwise small requests could delay a large one forever
        passed = 0 if group.samples else passed + 1
        queue.popleft()
        if queued.left:
            queue.append(queued)
    return chosen


class _Capacity:
    """The free slots and bytes of one step."""

    def __init__(self, batches: Mapping[Body, RunningBatch[Stream]], slots: int, cache: int) -> None:
        self.full = False  # whether a sample did not fit into the cache
        self.free = slots - sum(batch.size for batch in batches.values())
        self._reserved = slots // RESERVED_SHARE
        self._cache = cache
        self._batches = batches
        self._holding = {stream for batch in batches.values() for stream in batch.owners}
        self._bytes = {body: batch.cache_bytes_with(0, 0) for body, batch in batches.items() if batch.size}
        self._added: dict[Body, tuple[int, int]] = {}  # number of samples, and the maximum length of one in tokens

    def take(self, queued: QueuedRequest) -> Group:
        """Take the samples of the request's next prompt that fit, possibly none."""
        prompt = queued.left[0][0]
        group = Group(queued, prompt, [])
        while queued.left and queued.left[0][0] == prompt and self._fits(queued, prompt):
            group.samples.append(queued.left.popleft()[1])
            self._holding.add(queued.stream)
            self.free -= 1
        return group

    def _fits(self, queued: QueuedRequest, prompt: int) -> bool:
        if self.free <= (self._reserved if queued.stream in self._holding else 0):
            return False
        body = queued.model.body
        count, max_length = self._added.get(body, (0, 0))
        added = count + 1, max(max_length, queued.max_length(prompt))
        batch = self._batches.get(body)
        needed = batch.cache_bytes_with(*added) if batch else cache_bytes(body, *added)
        others = sum(size for other, size in self._bytes.items() if other is not body)
        if self._bytes and others + needed > self._cache:
            self.full = True
            return False
        self._bytes[body], self._added[body] = needed, added
        return True
