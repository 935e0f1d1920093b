"""Packs texts into rows of token ids, in the two ways a recipe can name, and rows into batches."""

import math
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle

from mynah.core.errors import InputError
from mynah.core.names import nearest
from mynah.models.checkpoint import Checkpoint
from mynah.models.sampling import encode
from mynah.models.scoring import split_into_rows
from mynah.training.recipe import Recipe

Post = list[int]  # a text's token ids between those of its beginning and its end: len - 1 predicted tokens
Row = list[Post]  # posts side by side; none attends to another
PackedBatch = list[Row]


def predicted_tokens(rows: Sequence[Row]) -> int:
    """Return the number of predicted tokens in `rows`."""
    return sum(len(post) - 1 for row in rows for post in row)


@dataclass(frozen=True, slots=True)
class Text:
    """A text as token ids."""

    characters: int
    ids: list[int]


def encode_texts(checkpoint: Checkpoint, texts: Mapping[str, Sequence[str]]) -> dict[str, list[Text]]:
    """Return the texts of each author as token ids."""
    return {
        author: [Text(len(text), encode(checkpoint, text)) for text in author_texts] for author, author_texts in texts.items()
    }


class Epochs:
    """The batches of every epoch, shuffled each time and reproducible for a seed.

    The texts of a single author occur once per epoch. With several authors, each has the share of an epoch's characters that the
    recipe's weights give: an author with more text continues with other texts in the next epoch, and texts of an author with less
    text repeat. The `canaries` occur once per epoch and do not count towards the shares.

    Args:
        texts: the encoded training texts, by author.
        recipe: the recipe with all derived settings filled in.
        begin: the id of the token that a post begins with.
        end: the id of the token that ends a post.
        context: the model's context in tokens.
        canaries: the token ids of each canary.
    """

    def __init__(
        self,
        texts: Mapping[str, Sequence[Text]],
        recipe: Recipe,
        begin: int,
        end: int,
        context: int,
        canaries: Sequence[list[int]] = (),
    ) -> None:
        self._texts, self._canaries = texts, canaries
        self._recipe = recipe
        self._begin, self._end, self._context = begin, end, context
        self._characters = sum(text.characters for author_texts in texts.values() for text in author_texts)
        self._shares = shares(list(texts), recipe.weights)
        rows = self._rows(next(self._sampled_texts()))
        self.steps = min(len(rows), max(1, round(len(rows) * recipe.block / recipe.batch_tokens)))  # per epoch

    def __iter__(self) -> Iterator[list[PackedBatch]]:
        rng = random.Random(self._recipe.seed)
        for sampled in self._sampled_texts():
            rows = self._rows(sampled)
            rng.shuffle(rows)
            yield split_into_batches(rows, self.steps)

    def _sampled_texts(self) -> Iterator[list[list[int]]]:
        """Yield the texts of each epoch as token ids: the canaries, then the authors' texts, both in random order.

        The canaries come first because `stream` drops the remainder at the end.
        """
        rng, canary_rng = random.Random(self._recipe.seed), random.Random(self._recipe.seed)
        shuffles = {author: _repeated_shuffles(author_texts, rng) for author, author_texts in self._texts.items()}
        missing_characters = dict.fromkeys(shuffles, 0.0)
        while True:
            sampled = []
            for author, shuffle in shuffles.items():
                missing_characters[author] += self._characters * self._shares[author]
                while missing_characters[author] >= 0.5:  # characters: a rounding error adds no text
                    text = next(shuffle)
                    sampled.append(text.ids)
                    missing_characters[author] -= text.characters
            yield [*canary_rng.sample(self._canaries, len(self._canaries)), *rng.sample(sampled, len(sampled))]

    def _rows(self, texts: list[list[int]]) -> list[Row]:
        if self._recipe.packing == "stream":
            return stream(texts, self._end, self._recipe.block)
        return pack(
            [post for ids in texts for post in split_into_rows(ids, self._begin, self._end, self._context)], self._recipe.block
        )


def shares(authors: Sequence[str], weights: Mapping[str, float]) -> dict[str, float]:
    """Return each author's share of an epoch's characters.

    Args:
        authors: the authors with posts.
        weights: shares by author; authors without a weight divide the rest equally.

    Returns:
        Shares by author, which sum to 1.

    Raises:
        InputError: a weight names an unknown author, or the weights leave nothing for the others or for anybody.
    """
    for author in weights:
        if author not in authors:
            raise InputError(f"--weight names {author!r}, who has no posts here", nearest(author, authors))
    rest = [author for author in authors if author not in weights]
    total = sum(weights.values())
    if total > 1 + 1e-9 and rest:
        raise InputError(
            f"the weights add up to {total:g}, and leave nothing for {', '.join(rest)}", "Let them add up to less than 1."
        )
    if total == 0 and not rest:
        raise InputError("all authors have the weight 0", "Give one of them more.")
    whole = 1.0 if rest else total  # weights that name all authors are proportions, such as 2 to 1
    return {author: (weights[author] if author in weights else (1 - total) / len(rest)) / whole for author in authors}


def _repeated_shuffles(texts: Sequence[Text], rng: random.Random) -> Iterator[Text]:
    """Yield texts forever, in a new random order each round; every text occurs once per round."""
    while True:
        yield from rng.sample(texts, len(texts))


def pack(posts: Sequence[Post], block: int) -> list[Row]:
    """Pack posts into rows of at most `block` predicted tokens; a longer post has a row of its own.

    Best-fit decreasing, https://en.wikipedia.org/wiki/Bin_packing_problem: at worst 22 % more rows than the minimum, within 1 % for posts.
    """
    rows: list[Row] = []
    open_rows: dict[int, list[Row]] = defaultdict(list)  # by the tokens that still fit
    for post in sorted(posts, key=len, reverse=True):
        needed = len(post) - 1
        free = next((free for free in range(needed, block + 1) if open_rows.get(free)), 0)
        if free:
            row = open_rows[free].pop()
        else:
            row, free = [], max(block, needed)
            rows.append(row)
        row.append(post)
        open_rows[free - needed].append(row)
    return rows


def stream(texts: Sequence[list[int]], end: int, block: int) -> list[Row]:
    """Concatenate texts with the end token between them and cut the result into rows of `block` tokens, as huggingtweets does.

    The remainder shorter than a block is dropped, as in huggingtweets; texts shorter than one block in all give one short row.
    """
    tokens = [end]
    for ids in texts:
        tokens += [*ids, end]
    block = min(block, len(tokens))
    return [[tokens[start : start + block]] for start in range(0, len(tokens) - block + 1, block)]


def split_into_batches(rows: list[Row], steps: int) -> list[PackedBatch]:
    """Split the rows of an epoch into `steps` batches of about the same size; with fewer rows than steps, rows repeat."""
    if len(rows) < steps:
        rows = [row for row, _ in zip(cycle(rows), range(steps), strict=False)]
    return [rows[math.floor(i * len(rows) / steps) : math.floor((i + 1) * len(rows) / steps)] for i in range(steps)]
