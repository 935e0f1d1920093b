"""promote: check the gate again, under a lock, against the current champion; then move the aliases `champion` and `previous`.

`rollback` swaps the two. Every decision is recorded in the bot's history and on the version, with its actor and time.
"""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

from components.promote.compare import Comparison, compare, have_same_held_out
from mynah.core.errors import GateRefused, InputError
from mynah.core.lock_types import StillHeld
from mynah.core.names import bot_name
from mynah.mlflow_client.client import store_errors
from mynah.mlflow_client.store import Store
from mynah.registry.actor import actor
from mynah.registry.history import Event, apply, complete_last, events, next_number, record
from mynah.registry.locks import alias_lock
from mynah.registry.registry import Registry
from mynah.registry.versions import CHALLENGER, CHAMPION, PREVIOUS, Bot, BotVersion, VersionRef, no_such_version


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision about a version."""

    name: str
    version: int
    promoted: bool
    reasons: list[str]  # against it; [] for none
    previous: int = 0  # the champion before, 0 for none
    forced: str = ""
    comparison: dict[str, object] = field(default_factory=dict)
    changed: bool = True  # False where it is the champion already: nothing moved, and nothing was recorded


def promote(name: str, store: Store, version: int = 0, force: str = "") -> Decision:
    """Make a version the champion when the gate passed it and it does not trail the current one.

    Both are compared on the same held-out posts (see `compare`). Where it is the champion already, nothing changes and nothing is recorded.

    Args:
        name: The bot.
        store: The tracking store.
        version: The version; 0 for the challenger.
        force: A reason that overrules a refusal, and is recorded; it never overrules missing files.

    Raises:
        InputError: The bot or version does not exist, or its files are gone.
        PlatformError: A store or the lock fails.
    """
    ahead = _compare_ahead(name, store, version)
    with _aliases(name, store) as (registry, still_held):
        bot = _settled(registry, name, CHAMPION, version or CHALLENGER)
        candidate = _candidate(registry, bot, version)
        _require_files(registry, candidate)
        comparison = None
        if bot.champion and bot.champion.version != candidate.version:
            known = ahead and (ahead.champion, ahead.candidate) == (bot.champion.version, candidate.version)
            comparison = ahead if known else compare(registry, candidate, bot.champion)
        reasons = shortcomings(candidate, bot.champion, comparison)
        promoted = not reasons or bool(force)
        still_held()
        decision = Decision(
            name, candidate.version, promoted, reasons, bot.aliases.get("champion", 0), force if reasons else "",
            asdict(comparison) if comparison else {}, not (promoted and bot.aliases.get("champion") == candidate.version),
        )  # fmt: skip
        if decision.changed:
            _write(registry, bot, decision, "promote" if promoted else "refuse")
        else:
            _complete_tags(registry, bot, candidate)
    return decision


def promote_registered(name: str, store: Store, version: int) -> str:
    """Promote what the step register registered, and return the outcome in words: promoted, refused: … or unchanged: ….

    Args:
        name: The bot.
        store: The tracking store.
        version: The version; 0 where none was registered, because continuing from the champion brought nothing.

    Raises:
        InputError, PlatformError: As `promote`.
    """
    if version:
        decision = promote(name, store, version)
        return "promoted" if decision.promoted else "refused: " + "; ".join(decision.reasons)
    registry = Registry(store)
    with store_errors(store.tracking_uri):
        champion = registry.head(name, CHAMPION).champion if name in registry.names() else None
    stays = f"version {champion.version} stays the champion" if champion else f"{name} has no champion now"
    return f"unchanged: continuing brought nothing, and {stays}"


def rollback(name: str, store: Store) -> Decision:
    """Swap `champion` and `previous`, under the same lock. Raises InputError when there is no previous champion or its files are gone."""
    with _aliases(name, store) as (registry, still_held):
        bot = _settled(registry, name, PREVIOUS)
        target = bot.at(PREVIOUS)
        if not target:
            raise InputError(f"{name} has no previous champion to go back to", f"See `mynah show {name}`.")
        _require_files(registry, target)
        still_held()
        decision = Decision(name, target.version, True, [], bot.aliases.get("champion", 0))
        _write(registry, bot, decision, "rollback")
    return decision


def shortcomings(candidate: BotVersion, champion: BotVersion | None, comparison: Comparison | None) -> list[str]:
    """Return why `candidate` may not replace `champion`; [] when it may. A missing measurement counts against it."""
    reasons = []
    if not candidate.passed:
        reasons.append(f"the gate did not pass it ({candidate.tags.get('mynah.verdict', 'no verdict')})")
    if champion and comparison:
        if comparison.problem:
            reasons.append(comparison.problem)
        elif comparison.trails:
            reasons.append(
                f"its held-out loss {comparison.loss} trails the champion's {comparison.champion_loss} "
                f"(version {champion.version}, {comparison.unit}) on the same posts"
            )
    return reasons


def refusal(decision: Decision) -> GateRefused:
    """Create the error for a refused promotion."""
    return GateRefused(
        f"{decision.name} version {decision.version} was not promoted: {'; '.join(decision.reasons)}",
        'Train it on more posts or for longer, and look at its report; --force "why" overrules this and is recorded.',
    )


@contextlib.contextmanager
def _aliases(name: str, store: Store) -> Iterator[tuple[Registry, StillHeld]]:
    registry = Registry(store)
    with alias_lock(bot_name(name), store) as still_held, store_errors(store.tracking_uri):
        yield registry, still_held


def _compare_ahead(name: str, store: Store, version: int) -> Comparison | None:
    """Compare with the current champion before taking the lock: it may take minutes, and others would wait."""
    registry = Registry(store)
    with store_errors(store.tracking_uri):
        bot = registry.head(name, CHAMPION, version or CHALLENGER)
        candidate = _candidate(registry, bot, version)
        if not bot.champion or bot.champion.version == candidate.version or have_same_held_out(candidate, bot.champion):
            return None
        return compare(registry, candidate, bot.champion)


def _settled(registry: Registry, name: str, *selected: VersionRef) -> Bot:
    """Return the bot after completing what an interrupted process left."""
    bot = registry.head(name, *selected)
    return registry.head(name, *selected) if complete_last(registry.writer, bot) else bot


def _candidate(registry: Registry, bot: Bot, version: int) -> BotVersion:
    if candidate := bot.at(version or CHALLENGER):
        return candidate
    raise no_such_version(registry.bot(bot.name), f"version {version}" if version else "challenger")


def _require_files(registry: Registry, version: BotVersion) -> None:
    problems = registry.faults(version)
    if problems:
        raise InputError(
            f"{version.name} version {version.version} is not whole: {'; '.join(problems[:3])}",
            f"Train it again with `mynah run --name {version.name} …`; `mynah doctor` shows all.",
        )


def _write(registry: Registry, bot: Bot, decision: Decision, action: str) -> None:
    """Record the decision in the history and on the version, then move the aliases: each call is one step of an order that survives a kill."""
    api, now = registry.writer, datetime.now(UTC).isoformat(timespec="milliseconds")
    champion, previous = bot.aliases.get("champion", 0), bot.aliases.get("previous", 0)
    moves = decision.promoted and champion != decision.version
    event = Event(
        next_number(bot), action, decision.version,
        decision.version if moves else champion, champion if moves else previous, champion,
        actor(), now, decision.reasons, decision.forced, dict(decision.comparison), done=not moves,
    )  # fmt: skip
    record(api, bot.name, event)
    if moves:
        apply(api, bot.name, event)
    for key, value in _version_tags(event, decision).items():
        api.set_model_version_tag(bot.name, str(decision.version), key, value)


def _complete_tags(registry: Registry, bot: Bot, champion: BotVersion) -> None:
    """Write the tags of the decision that made `champion` the champion, if its process was killed after the aliases had moved."""
    made = next((event for event in reversed(events(bot)) if event.champion == champion.version != event.was_champion), None)
    if made and made.action == "promote" and champion.tags.get("mynah.promotion") != "promoted":
        decision = Decision(bot.name, champion.version, True, made.reasons, made.was_champion, made.forced, made.comparison)
        for key, value in _version_tags(made, decision).items():
            registry.writer.set_model_version_tag(bot.name, str(champion.version), key, value)


def _version_tags(event: Event, decision: Decision) -> dict[str, str]:
    outcome = "promoted" if decision.promoted else "refused: " + "; ".join(decision.reasons)
    tags = {
        "mynah.promotion": "rolled back to" if event.action == "rollback" else outcome,
        "mynah.promotion_by": f"{event.who} {event.at}",
        "mynah.promotion_forced": decision.forced,
        "mynah.promotion_comparison": json.dumps(decision.comparison) if decision.comparison else "",
    }
    return {key: value[:5000] for key, value in tags.items() if value}
