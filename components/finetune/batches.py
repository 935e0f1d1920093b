"""Texts to batches of token ids, in the two ways a recipe can ask for."""

import random
from collections.abc import Iterator, Sequence

from components.checkpoint import Checkpoint
from components.generation import encode
from components.scoring import rows

Batch = list[list[int]]
NEIGHBOURHOOD = 16  # batches among which rows are sorted by length: random enough to learn from, and little padding


class PostBatches:
    """Each post is a row between two END_OF_TEXT, so that no post attends to another."""

    def __init__(self, checkpoint: Checkpoint, texts: Sequence[str], batch_size: int) -> None:
        self.rows = rows(checkpoint, texts)
        self.batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self.rows) // self.batch_size)

    def epoch(self, rng: random.Random) -> Iterator[Batch]:
        """Every row once, in a new order."""
        order = rng.sample(self.rows, len(self.rows))
        batches: list[Batch] = []
        for start in range(0, len(order), self.batch_size * NEIGHBOURHOOD):
            near = sorted(order[start : start + self.batch_size * NEIGHBOURHOOD], key=len)
            batches += [near[i : i + self.batch_size] for i in range(0, len(near), self.batch_size)]
        rng.shuffle(batches)
        yield from batches


class PackedBatches:
    """The original's way: the posts of an epoch, reshuffled, end to end with END_OF_TEXT between, in blocks of the context."""

    def __init__(self, checkpoint: Checkpoint, texts: Sequence[str], batch_size: int) -> None:
        self.texts = [encode(checkpoint, text) for text in texts]
        self.end = checkpoint.end
        self.batch_size = batch_size
        self.tokens = sum(len(ids) + 1 for ids in self.texts) + 1
        # A text shorter than one block is still one block.
        self.block = min(checkpoint.context, self.tokens)

    def __len__(self) -> int:
        return -(-(self.tokens // self.block) // self.batch_size)

    def epoch(self, rng: random.Random) -> Iterator[Batch]:
        """Every whole block of one shuffled stream; like the original, the remainder shorter than a block is left out."""
        stream = [self.end]
        for ids in rng.sample(self.texts, len(self.texts)):
            stream += [*ids, self.end]
        blocks = [stream[start : start + self.block] for start in range(0, len(stream) - self.block + 1, self.block)]
        for start in range(0, len(blocks), self.batch_size):
            yield blocks[start : start + self.batch_size]
