"""Compare the candidate and the champion on the same held-out posts.

Where both were evaluated on one set (equal digests), their recorded losses are compared. Otherwise the champion is scored on the
candidate's held-out posts, without those that it was trained on, which would flatter it; the candidate on the same posts.
"""

from dataclasses import dataclass, replace

from mynah.core.errors import InputError
from mynah.core.progress import notify
from mynah.data.text_digests import MIN_POSTS_TO_COMPARE, unseen
from mynah.models import checkpoint
from mynah.models.scoring import score
from mynah.registry.lineage import CONTINUED_TAG, inherited_digests, known_posts, recorded_texts
from mynah.registry.registry import Registry
from mynah.registry.versions import BotVersion

NATS, BITS = "nats per token", "bits per character"
TOLERANCE = {NATS: 0.02, BITS: 0.01}  # a retrained bot may trail the champion by the noise between two seeds


@dataclass(frozen=True, slots=True)
class Comparison:
    """Losses on the same posts, lower is better; `problem` says why there are none."""

    candidate: int
    champion: int
    loss: float | None = None
    champion_loss: float | None = None
    unit: str = NATS
    posts: int = 0  # 0 for their common held-out set
    problem: str = ""

    @property
    def trails(self) -> bool:
        """Whether the candidate is worse by more than the noise between two seeds; True also when a loss is missing."""
        return self.loss is None or self.champion_loss is None or self.loss > self.champion_loss + TOLERANCE[self.unit]


def compare(registry: Registry, candidate: BotVersion, champion: BotVersion) -> Comparison:
    """Compare the candidate for promotion with the champion. Whatever prevents a comparison is returned as its `problem`."""
    found = _compare(registry, candidate, champion)
    if not found.problem:
        return found
    problem = f"it cannot be compared with the champion (version {champion.version}) on the same posts: {found.problem}"
    return replace(found, problem=problem)


def compare_any(registry: Registry, version: BotVersion, other: BotVersion) -> Comparison:
    """Compare two versions on the posts of `version`, or on those of `other` where too few of the former are new to both.

    Args:
        registry: The registry.
        version: The candidate of the result.
        other: The champion of the result.

    Returns:
        The comparison; why there is none in its `problem`.
    """
    found = _compare(registry, version, other)
    if not found.problem:
        return found
    reverse = _compare(registry, other, version)
    if reverse.problem:
        return found
    return replace(
        reverse, candidate=version.version, champion=other.version, loss=reverse.champion_loss, champion_loss=reverse.loss
    )


def _compare(registry: Registry, candidate: BotVersion, champion: BotVersion) -> Comparison:
    unit = NATS if candidate.tags.get("mynah.base_model") == champion.tags.get("mynah.base_model") else BITS
    if have_same_held_out(candidate, champion):
        tag = "mynah.held_out_loss" if unit == NATS else "mynah.bits_per_character"
        return Comparison(candidate.version, champion.version, candidate.number(tag), champion.number(tag), unit)
    try:
        posts = _fair_posts(registry, candidate, champion)
        if len(posts) < MIN_POSTS_TO_COMPARE:
            why = f"only {len(posts)} held-out posts of version {candidate.version} are new to version {champion.version}"
            return Comparison(candidate.version, champion.version, problem=why)
        notify(f"version {candidate.version} and version {champion.version} are compared on {len(posts)} posts")
        loss, champion_loss = (_loss(registry, version, posts, unit) for version in (candidate, champion))
    except InputError as error:
        return Comparison(candidate.version, champion.version, problem=error.problem)
    return Comparison(candidate.version, champion.version, loss, champion_loss, unit, len(posts))


def have_same_held_out(candidate: BotVersion, champion: BotVersion) -> bool:
    """Return whether both were evaluated on the same held-out posts; a continued version leaves out those it was trained on."""
    if CONTINUED_TAG in candidate.tags or CONTINUED_TAG in champion.tags:
        return False
    held_out = candidate.tags.get("mynah.held_out_digest")
    return bool(held_out) and held_out == champion.tags.get("mynah.held_out_digest")


def _fair_posts(registry: Registry, candidate: BotVersion, champion: BotVersion) -> list[str]:
    seen = known_posts(registry, champion) | inherited_digests(registry, candidate)
    return unseen(recorded_texts(registry, candidate, "held_out"), seen)


def _loss(registry: Registry, version: BotVersion, posts: list[str], unit: str) -> float:
    """Return the loss of a version on `posts`, in bits per character where the tokenizers differ: their tokens are not comparable."""
    scores = score(checkpoint.load(registry.checkpoint(version)), posts)
    return scores.loss if unit == NATS else scores.bits_per_character
