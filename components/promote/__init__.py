"""promote: the gate again, under a lock, against what serves now; then the alias `champion` moves and `previous` remembers.

`rollback` swaps the two. Whatever is decided stands in the bot's history and on the version, with who decided it and when.
"""

import contextlib
import getpass
import json
import os
import socket
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

from components.errors import GateRefused, InputError
from components.locks import StillHeld, alias_lock
from components.manifest import faults
from components.names import bot_name
from components.promote.compare import Comparison, compare, is_recorded
from components.promote.history import Event, carry_out, complete, next_number, record
from components.registry import CHALLENGER, CHAMPION, PREVIOUS, Bot, BotVersion, Registry, no_such_version
from components.store import Store, store_errors


@dataclass(frozen=True, slots=True)
class Decision:
    """What promotion decided about a version."""

    name: str
    version: int
    promoted: bool
    reasons: list[str]  # against it; [] when there was nothing
    previous: int = 0  # the champion before, 0 for none
    forced: str = ""
    comparison: dict[str, object] = field(default_factory=dict)


def promote(name: str, store: Store, version: int = 0, force: str = "") -> Decision:
    """Make a version of `name` its champion when the gate passed it and it does not trail the champion; `version` 0: the challenger.

    Both are compared on the same held-out posts (see `compare`). `force`, a reason in words, overrules a refusal, and is recorded;
    it never overrules missing files. Raises InputError for a bot or version that does not exist or whose files are gone,
    PlatformError when a store or the lock fails.
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
            asdict(comparison) if comparison else {},
        )  # fmt: skip
        _write(registry, bot, decision, "promote" if promoted else "refuse")
    return decision


def rollback(name: str, store: Store) -> Decision:
    """Swap `champion` and `previous`, under the same lock. Raises InputError when there is no previous one or its files are gone."""
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
    """Why `candidate` may not replace `champion`; [] when it may. What was not measured counts against it."""
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
    """The error of a promotion that was refused, for a command line to end with."""
    return GateRefused(
        f"{decision.name} version {decision.version} was not promoted: {'; '.join(decision.reasons)}",
        'Train it on more posts or for longer, and look at its report; --force "why" overrules this and is recorded.',
    )


def actor() -> str:
    """Who decides: MYNAH_ACTOR, the user of the MLflow server, or this machine's user."""
    named = os.environ.get("MYNAH_ACTOR") or os.environ.get("MLFLOW_TRACKING_USERNAME")
    if named:
        return named[:200]
    user = "unknown"
    with contextlib.suppress(KeyError, OSError):  # a container's user may have no name
        user = getpass.getuser()
    return f"{user}@{socket.gethostname()}"


@contextlib.contextmanager
def _aliases(name: str, store: Store) -> Iterator[tuple[Registry, StillHeld]]:
    registry = Registry(store)
    with alias_lock(bot_name(name), store) as still_held, store_errors(store.tracking_uri):
        yield registry, still_held


def _compare_ahead(name: str, store: Store, version: int) -> Comparison | None:
    """The comparison with today's champion, before the lock: it may take minutes, and others would wait for it."""
    registry = Registry(store)
    with store_errors(store.tracking_uri):
        bot = registry.head(name, CHAMPION, version or CHALLENGER)
        candidate = _candidate(registry, bot, version)
        if not bot.champion or bot.champion.version == candidate.version or is_recorded(candidate, bot.champion):
            return None
        return compare(registry, candidate, bot.champion)


def _settled(registry: Registry, name: str, *wanted: str | int) -> Bot:
    """The bot as it is once what another process was killed in the middle of is done."""
    bot = registry.head(name, *wanted)
    return registry.head(name, *wanted) if complete(registry.writer, bot) else bot


def _candidate(registry: Registry, bot: Bot, version: int) -> BotVersion:
    found = next((each for each in bot.versions if each.version == version), None) if version else bot.at(CHALLENGER)
    if found:
        return found
    raise no_such_version(registry.bot(bot.name), f"version {version}" if version else "challenger")


def _require_files(registry: Registry, version: BotVersion) -> None:
    problems = faults(registry.files(version))
    if problems:
        raise InputError(
            f"{version.name} version {version.version} is not whole: {'; '.join(problems[:3])}",
            f"Make it again with `mynah run --name {version.name} …`; `mynah doctor` shows all.",
        )


def _write(registry: Registry, bot: Bot, decision: Decision, action: str) -> None:
    """The decision into history and onto the version, then the aliases: each call is one step of an order that survives a kill."""
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
        carry_out(api, bot.name, event)
    for key, value in _version_tags(event, decision).items():
        api.set_model_version_tag(bot.name, str(decision.version), key, value)


def _version_tags(event: Event, decision: Decision) -> dict[str, str]:
    said = "promoted" if decision.promoted else "refused: " + "; ".join(decision.reasons)
    tags = {
        "mynah.promotion": "rolled back to" if event.action == "rollback" else said,
        "mynah.promotion_by": f"{event.who} {event.at}",
        "mynah.promotion_forced": decision.forced,
        "mynah.promotion_comparison": json.dumps(decision.comparison) if decision.comparison else "",
    }
    return {key: value[:5000] for key, value in tags.items() if value}
