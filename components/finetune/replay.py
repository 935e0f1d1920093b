"""Partitions the current posts for continued training: new posts, replayed old posts, and held-out posts unknown to the parent model.

Old posts are replayed because a network that trains on new data only forgets what it knew (Robins 1995, "Catastrophic forgetting,
rehearsal and pseudorehearsal", https://doi.org/10.1080/09540099550039318).
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from components.finetune.data_packing import shares
from components.finetune.parent_model import ParentModel
from mynah.data.text_digests import unseen
from mynah.training.recipe import Recipe

Texts = dict[str, list[str]]  # by author


@dataclass(frozen=True, slots=True)
class ReplayPartition:
    """The current posts, partitioned by what the parent model was trained on."""

    new: Texts
    replayed: Texts
    held_out: Texts
    excluded: int  # held-out posts that the parent was trained on
    removed: int  # posts that the parent was trained on and that are no longer among the current ones

    @property
    def training_texts(self) -> Texts:
        """The texts to continue training with, new and replayed, by author; authors without texts are omitted."""
        combined = {author: [*author_texts, *self.replayed[author]] for author, author_texts in self.new.items()}
        return {author: author_texts for author, author_texts in combined.items() if author_texts}


def partition(train: Texts, held_out: Texts, parent: ParentModel, recipe: Recipe) -> ReplayPartition:
    """Partition the current posts for continued training.

    Args:
        train: the current training posts, by author.
        held_out: the current held-out posts, by author.
        parent: the model to continue from.
        recipe: its `replay` is the number of replayed characters per new character; its `weights` divide them among authors.

    Returns:
        The partition. The same inputs always give the same one.
    """
    seen_digests = parent.seen_digests
    new = {author: unseen(author_texts, seen_digests) for author, author_texts in train.items()}
    unseen_held_out = {author: unseen(author_texts, seen_digests) for author, author_texts in held_out.items()}
    target_characters, rng, replayed = recipe.replay * characters(new), random.Random(recipe.seed), Texts()
    for author, share in shares(list(train), recipe.weights).items():
        is_new = set(new[author])
        old = [text for text in train[author] if text not in is_new]
        replayed[author] = _sample_texts(old, target_characters * share, rng)
    today = {text.casefold() for author_texts in (*train.values(), *held_out.values()) for text in author_texts}
    removed = {text.casefold() for text in parent.texts} - today
    return ReplayPartition(new, replayed, {author: author_texts for author, author_texts in unseen_held_out.items() if author_texts},
                 count(held_out) - count(unseen_held_out), len(removed))  # fmt: skip


def _sample_texts(texts: Sequence[str], target_characters: float, rng: random.Random) -> list[str]:
    """Return randomly chosen texts that together reach `target_characters`, or all of them."""
    sampled, length = [], 0
    for text in rng.sample(texts, len(texts)):
        if length >= target_characters:
            break
        sampled.append(text)
        length += len(text)
    return sampled


def characters(texts: Mapping[str, Sequence[str]]) -> int:
    """Return the number of characters in all texts."""
    return sum(len(text) for author_texts in texts.values() for text in author_texts)


def count(texts: Mapping[str, Sequence[str]]) -> int:
    """Return the number of texts."""
    return sum(map(len, texts.values()))
