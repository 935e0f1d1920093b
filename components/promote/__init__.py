"""promote: the gate again, under a lock, against what serves now; then the alias `champion` moves and `previous` remembers."""

import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from components.errors import GateRefused, InputError, PlatformError
from components.files import storage_errors
from components.names import bot_name
from components.registry import CHALLENGER, CHAMPION, PREVIOUS, Bot, BotVersion, Registry
from components.tracking import Store, store_errors

LOCK_SECONDS = 60.0
TOLERANCE = 0.02  # nats per token: a retrained bot may trail the champion by the noise between two seeds


@dataclass(frozen=True, slots=True)
class Decision:
    """What promotion decided about a version."""

    name: str
    version: int
    promoted: bool
    reasons: list[str]  # why not; [] when promoted


def promote(name: str, store: Store, version: int = 0) -> Decision:
    """Make a version of `name` its champion when the gate passed it and it does not trail the champion; `version` 0: the challenger.

    Compared with the champion only where both were measured on the same held-out posts (equal digests). The decision is
    written on the version as tags. Raises InputError for a bot or version that does not exist, PlatformError when another
    promotion holds the lock for a minute.
    """
    registry, lock = Registry(store), lock_file(bot_name(name), store)
    try:
        with storage_errors(lock), FileLock(lock, timeout=LOCK_SECONDS), store_errors(store.tracking_uri):
            bot = registry.bot(name)
            candidate = _candidate(bot, version)
            reasons = shortcomings(candidate, bot.champion)
            _record(registry, bot, candidate, reasons)
    except Timeout as error:
        raise PlatformError(
            f"another promotion has held {lock} for {LOCK_SECONDS:.0f} s", "Wait for it, and try again."
        ) from error
    return Decision(name, candidate.version, not reasons, reasons)


def lock_file(name: str, store: Store) -> Path:
    """The file that promotions of `name` lock: beside a sqlite store, else among this machine's temporary files."""
    scheme, _, path = store.tracking_uri.partition("sqlite:///")
    return (Path(path).parent if path and not scheme else Path(tempfile.gettempdir())) / f".mynah-promote-{name}.lock"


def shortcomings(candidate: BotVersion, champion: BotVersion | None) -> list[str]:
    """Why `candidate` may not replace `champion`; [] when it may."""
    reasons = []
    if not candidate.passed:
        reasons.append(f"the gate did not pass it ({candidate.tags.get('mynah.verdict', 'no verdict')})")
    if champion and champion.version != candidate.version and _same_posts(candidate, champion):
        ours, theirs = candidate.held_out_loss, champion.held_out_loss
        if ours is None or theirs is None or ours > theirs + TOLERANCE:
            reasons.append(
                f"its held-out loss {ours} trails the champion's {theirs} (version {champion.version}) on the same posts"
            )
    return reasons


def refusal(decision: Decision) -> GateRefused:
    """The error of a promotion that was refused, for a command line to end with."""
    return GateRefused(
        f"{decision.name} version {decision.version} was not promoted: {'; '.join(decision.reasons)}",
        "Train it on more posts or for longer, and look at its report.",
    )


def _same_posts(one: BotVersion, other: BotVersion) -> bool:
    return one.tags.get("mynah.held_out_digest") == other.tags.get("mynah.held_out_digest")


def _candidate(bot: Bot, version: int) -> BotVersion:
    found = next((each for each in bot.versions if each.version == version), None) if version else bot.at(CHALLENGER)
    if found:
        return found
    there_are = ", ".join(str(each.version) for each in bot.versions) or "none"
    wanted = f"version {version}" if version else "challenger"
    raise InputError(f"{bot.name} has no {wanted}", f"Its versions: {there_are}. Name one with --version.")


def _record(registry: Registry, bot: Bot, candidate: BotVersion, reasons: list[str]) -> None:
    """Tag the decision, and move the aliases when there is nothing against it."""
    api, number = registry.client, str(candidate.version)
    api.set_model_version_tag(bot.name, number, "mynah.promotion", "refused: " + "; ".join(reasons) if reasons else "promoted")
    api.set_model_version_tag(bot.name, number, "mynah.promotion_at", datetime.now(UTC).isoformat(timespec="seconds"))
    if reasons or bot.aliases.get(CHAMPION) == candidate.version:
        return
    if bot.champion:
        api.set_registered_model_alias(bot.name, PREVIOUS, str(bot.champion.version))
    api.set_registered_model_alias(bot.name, CHAMPION, number)
