"""Today's posts beside those of a model that is to learn on: what is new, what of the old is replayed, and what both can be judged by.

Old posts are replayed because a network that learns only what is new forgets what it knew (Robins 1995, "Catastrophic forgetting,
rehearsal and pseudorehearsal").
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from components.finetune.ancestor import Ancestor
from components.finetune.batches import shares
from components.finetune.recipe import Recipe
from components.seen import unseen

Texts = dict[str, list[str]]  # by author


@dataclass(frozen=True, slots=True)
class Parts:
    """Today's posts as going on needs them: what the ancestor does not know, of what it knows a sample, and held out what it does not know."""

    new: Texts
    replayed: Texts
    held_out: Texts
    left_out: int  # held-out posts that the ancestor was trained on
    gone: int  # posts that the ancestor was trained on and that are no longer among today's

    @property
    def learnt(self) -> Texts:
        """What going on learns from; an author of whom there is nothing is not in it."""
        both = {author: [*theirs, *self.replayed[author]] for author, theirs in self.new.items()}
        return {author: theirs for author, theirs in both.items() if theirs}


def partition(train: Texts, held_out: Texts, ancestor: Ancestor, recipe: Recipe) -> Parts:
    """Part today's posts. The replay has `recipe.replay` times the characters of the new ones, shared among authors as an epoch is."""
    seen = ancestor.seen
    new = {author: unseen(theirs, seen) for author, theirs in train.items()}
    fair = {author: unseen(theirs, seen) for author, theirs in held_out.items()}
    wanted, rng, replayed = recipe.replay * characters(new), random.Random(recipe.seed), Texts()
    for author, share in shares(list(train), recipe.weights).items():
        is_new = set(new[author])
        old = [text for text in train[author] if text not in is_new]
        replayed[author] = _sample(old, wanted * share, rng)
    today = {text.casefold() for theirs in (*train.values(), *held_out.values()) for text in theirs}
    gone = {text.casefold() for text in ancestor.texts} - today
    return Parts(new, replayed, {author: theirs for author, theirs in fair.items() if theirs},
                 count(held_out) - count(fair), len(gone))  # fmt: skip


def _sample(texts: Sequence[str], wanted: float, rng: random.Random) -> list[str]:
    """Of `texts` as many, drawn at random, as reach `wanted` characters."""
    drawn, length = [], 0
    for text in rng.sample(texts, len(texts)):
        if length >= wanted:
            break
        drawn.append(text)
        length += len(text)
    return drawn


def characters(texts: Mapping[str, Sequence[str]]) -> int:
    """How many characters there are."""
    return sum(len(text) for theirs in texts.values() for text in theirs)


def count(texts: Mapping[str, Sequence[str]]) -> int:
    """How many texts there are."""
    return sum(map(len, texts.values()))
