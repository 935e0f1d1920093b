"""Losses on held-out posts of the model, its base model and the champion, on posts and tokens that make them comparable."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mynah.core.errors import InputError
from mynah.core.progress import notify
from mynah.data.text_digests import MIN_POSTS_TO_COMPARE, unseen
from mynah.models import checkpoint
from mynah.models.checkpoint import Checkpoint
from mynah.models.sampling import encode
from mynah.models.scoring import score

if TYPE_CHECKING:
    from components.evaluate.champion_comparison import Champion


def losses(loaded: Checkpoint, texts: Sequence[str], prefix: str = "") -> dict[str, float]:
    """Return held_out_loss (nats per token), perplexity and bits_per_character of texts (see mynah.models.scoring.Score).

    Args:
        loaded: the model.
        texts: the held-out posts.
        prefix: of the metrics' names.
    """
    result = score(loaded, texts)
    return {
        f"{prefix}held_out_loss": result.loss,
        f"{prefix}perplexity": result.perplexity,
        f"{prefix}bits_per_character": result.bits_per_character,
    }


def require_same_tokens(ours: Checkpoint, theirs: Checkpoint, name: str, texts: Sequence[str]) -> None:
    """Require that two models encode texts as the same tokens; losses per token are not comparable otherwise.

    Args:
        ours: the fine-tuned model.
        theirs: its base model.
        name: the base model's name, for the message.
        texts: the texts that both encode.

    Raises:
        InputError: the tokens differ.
    """
    if all(encode(ours, text) == encode(theirs, text) for text in texts):
        return
    raise InputError(
        f"the model {ours.folder} and the base model {name} have different tokenizers: a gain in nats per token would mean nothing",
        "Name the base model that it was fine-tuned from with --base-model.",
    )


def champion_metrics(loaded: Checkpoint, champion: "Champion", held_out: Sequence[str]) -> dict[str, float]:
    """Compare a model with the champion on the held-out posts that are new to the champion.

    The gain is in bits per character, because the two may have different tokenizers.

    Args:
        loaded: the model.
        champion: the champion.
        held_out: the held-out posts.

    Returns:
        The champion's losses, the number of posts, and champion_gain: its bits per character minus the model's. Empty, with a notice,
        when fewer than MIN_POSTS_TO_COMPARE posts are new to the champion or its files cannot be used.
    """
    posts = unseen(held_out, champion.knows)
    if len(posts) < MIN_POSTS_TO_COMPARE:
        notify(f"not compared with the champion, {champion.label}: only {len(posts)} held-out posts are new to it")
        return {}
    try:
        champion_losses = losses(checkpoint.load(champion.folder), posts)
    except InputError as error:
        notify(f"not compared with the champion, {champion.label}: {error.problem}", "warning")
        return {}
    bits = losses(loaded, posts)["bits_per_character"]
    return {
        "champion_held_out_loss": champion_losses["held_out_loss"],
        "champion_bits_per_character": champion_losses["bits_per_character"],
        "champion_posts": float(len(posts)),
        "champion_gain": champion_losses["bits_per_character"] - bits,
    }
