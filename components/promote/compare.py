"""The candidate and the champion on the same held-out posts.

Where both were measured on one set (equal digests) their recorded losses compare. Otherwise the champion is scored on the
candidate's held-out posts, less those that it was trained on, which would flatter it; the candidate on the same ones.
"""

from dataclasses import dataclass

from components.errors import InputError
from components.events import say
from components.lineage import CONTINUED_TAG, known_posts, recorded_texts, seen_before
from components.registry import BotVersion, Registry
from components.seen import FEWEST_POSTS, unseen

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
    posts: int = 0  # 0: their own held-out set, which is the same
    problem: str = ""

    @property
    def trails(self) -> bool:
        """Whether the candidate is worse by more than the noise between two seeds; also when a loss is missing."""
        return self.loss is None or self.champion_loss is None or self.loss > self.champion_loss + TOLERANCE[self.unit]


def compare(registry: Registry, candidate: BotVersion, champion: BotVersion) -> Comparison:
    """Compare two versions of a bot. Never raises for what cannot be compared: that is a `problem`."""
    unit = NATS if candidate.tags.get("mynah.base_model") == champion.tags.get("mynah.base_model") else BITS
    if is_recorded(candidate, champion):
        tag = "mynah.held_out_loss" if unit == NATS else "mynah.bits_per_character"
        return Comparison(candidate.version, champion.version, candidate.number(tag), champion.number(tag), unit)
    try:
        posts = _fair_posts(registry, candidate, champion)
        if len(posts) < FEWEST_POSTS:
            return _problem(candidate, champion, f"only {len(posts)} of its held-out posts are new to the champion")
        say(f"version {candidate.version} and the champion, version {champion.version}, are compared on {len(posts)} posts")
        loss, champion_loss = (_loss(registry, version, posts, unit) for version in (candidate, champion))
    except InputError as error:
        return _problem(candidate, champion, error.problem)
    return Comparison(candidate.version, champion.version, loss, champion_loss, unit, len(posts))


def is_recorded(candidate: BotVersion, champion: BotVersion) -> bool:
    """Whether both were measured on the same held-out posts; one that was continued leaves out those that it knows."""
    if CONTINUED_TAG in candidate.tags or CONTINUED_TAG in champion.tags:
        return False
    ours = candidate.tags.get("mynah.held_out_digest")
    return bool(ours) and ours == champion.tags.get("mynah.held_out_digest")


def _problem(candidate: BotVersion, champion: BotVersion, why: str) -> Comparison:
    problem = f"it cannot be compared with the champion (version {champion.version}) on the same posts: {why}"
    return Comparison(candidate.version, champion.version, problem=problem)


def _fair_posts(registry: Registry, candidate: BotVersion, champion: BotVersion) -> list[str]:
    seen = known_posts(registry, champion) | seen_before(registry, candidate)
    return unseen(recorded_texts(registry, candidate, "held_out"), seen)


def _loss(registry: Registry, version: BotVersion, posts: list[str], unit: str) -> float:
    """The loss of a version on `posts`; in bits per character where the tokenizers differ, for their tokens do not compare."""
    from components import checkpoint
    from components.scoring import score

    found = score(checkpoint.load(registry.checkpoint(version)), posts)
    return found.loss if unit == NATS else found.bits_per_character
