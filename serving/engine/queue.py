"""Who is next: samples that wait, in turn, as far as slots and memory go."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from components.decoding.decoder import cache_bytes
from components.decoding.model import Model
from serving.engine.ask import Ask
from serving.engine.run import Run
from serving.engine.stream import Stream

MOST_PREFILL = 64  # prompt tokens after which a step takes in no other, so that those who run do not wait long for those who come
KEPT = 8  # one slot in so many is kept for requests that have none: nobody's hundred samples make a newcomer wait for their end


@dataclass(eq=False)
class Waiting:
    """A request with samples that have no slot yet: [(prompt's number, sample's number)]."""

    model: Model
    ask: Ask
    label: str
    stream: Stream
    prompts: list[list[int]]
    left: deque[tuple[int, int]] = field(default_factory=deque)

    def longest(self, prompt: int) -> int:
        """Tokens that a sample of the prompt may come to, with it."""
        ids = len(self.prompts[prompt])
        return ids + min(self.ask.sampling.max_tokens, self.model.context - ids)


@dataclass(frozen=True, slots=True)
class Group:
    """Samples of one prompt of one request, to begin together."""

    request: Waiting
    prompt: int
    samples: list[int]

    @property
    def ids(self) -> list[int]:
        """The prompt's tokens."""
        return self.request.prompts[self.prompt]


def choose(queue: deque[Waiting], runs: Mapping[Model, Run], slots: int, cache: int) -> list[Group]:
    """Take out of `queue` what begins now beside `runs`: a prompt's samples of each request in turn, at most `slots` and `cache` bytes.

    Whatever its size, one sample begins where nothing runs.
    """
    room = _Room(runs, slots, cache)
    chosen: list[Group] = []
    tokens = passed = 0
    while passed < len(queue) and room.free > 0 and tokens < MOST_PREFILL:
        request = queue[0]
        group = room.take(request)
        if group.samples:
            chosen.append(group)
            tokens += len(group.ids)
        elif room.full:
            break  # its turn remains, or small requests would keep a large one waiting for ever
        passed = 0 if group.samples else passed + 1
        queue.popleft()
        if request.left:
            queue.append(request)
    return chosen


class _Room:
    """Slots and bytes that are left at one moment."""

    def __init__(self, runs: Mapping[Model, Run], slots: int, cache: int) -> None:
        self.full = False  # the cache's bytes were too few
        self.free = slots - sum(run.size for run in runs.values())
        self._kept = slots // KEPT
        self._cache = cache
        self._runs = runs
        self._holding = {stream for run in runs.values() for stream in run.streams}
        self._bytes = {model: run.bytes_with(0, 0) for model, run in runs.items() if run.size}
        self._added: dict[Model, tuple[int, int]] = {}  # samples, and the longest of them

    def take(self, request: Waiting) -> Group:
        """The samples that the request's next prompt may begin now, perhaps none."""
        prompt = request.left[0][0]
        group = Group(request, prompt, [])
        while request.left and request.left[0][0] == prompt and self._fits(request, prompt):
            group.samples.append(request.left.popleft()[1])
            self._holding.add(request.stream)
            self.free -= 1
        return group

    def _fits(self, request: Waiting, prompt: int) -> bool:
        if self.free <= (self._kept if request.stream in self._holding else 0):
            return False
        model, (count, longest) = request.model, self._added.get(request.model, (0, 0))
        added = count + 1, max(longest, request.longest(prompt))
        run = self._runs.get(model)
        needed = run.bytes_with(*added) if run else cache_bytes(model, *added)
        others = sum(size for other, size in self._bytes.items() if other is not model)
        if self._bytes and others + needed > self._cache:
            self.full = True
            return False
        self._bytes[model], self._added[model] = needed, added
        return True
