"""Losses on held-out posts: the model's, its base model's and the champion's, each on posts and tokens that compare."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from components import checkpoint
from components.checkpoint import Checkpoint
from components.errors import InputError
from components.events import say
from components.generation import encode
from components.scoring import score
from components.seen import FEWEST_POSTS, unseen

if TYPE_CHECKING:
    from components.evaluate.champion import Champion


def losses(loaded: Checkpoint, texts: Sequence[str], prefix: str = "") -> dict[str, float]:
    """held_out_loss (nats per token), perplexity and bits_per_character of `texts`: see components.scoring.Score."""
    found = score(loaded, texts)
    return {
        f"{prefix}held_out_loss": found.loss,
        f"{prefix}perplexity": found.perplexity,
        f"{prefix}bits_per_character": found.bits_per_character,
    }


def require_same_tokens(ours: Checkpoint, theirs: Checkpoint, name: str, texts: Sequence[str]) -> None:
    """Raise InputError unless both models read `texts` as the same tokens: a loss per token is not comparable otherwise."""
    if all(encode(ours, text) == encode(theirs, text) for text in texts):
        return
    raise InputError(
        f"the model {ours.folder} and the base model {name} have different tokenizers: a gain in nats per token would mean nothing",
        "Name the base model that it was fine-tuned from with --base-model.",
    )


def compared(loaded: Checkpoint, champion: "Champion", held_out: Sequence[str]) -> dict[str, float]:
    """The champion's losses, and its bits per character less the model's, on those of `held_out` that it does not know.

    Bits per character, for the two may have different tokenizers. Nothing, and a word about it, where fewer than 20 posts are left or
    its files cannot be used.
    """
    posts = unseen(held_out, champion.knows)
    if len(posts) < FEWEST_POSTS:
        say(f"not compared with the champion, {champion.label}: only {len(posts)} of the held-out posts are new to it")
        return {}
    try:
        theirs = losses(checkpoint.load(champion.folder), posts)
    except InputError as error:
        say(f"not compared with the champion, {champion.label}: {error.problem}", "warning")
        return {}
    ours = losses(loaded, posts)["bits_per_character"]
    return {
        "champion_held_out_loss": theirs["held_out_loss"],
        "champion_bits_per_character": theirs["bits_per_character"],
        "champion_posts": float(len(posts)),
        "champion_gain": theirs["bits_per_character"] - ours,
    }
