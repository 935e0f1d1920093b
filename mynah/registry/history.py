"""The history of decisions about a bot's aliases: one tag of its registered model each, written before the aliases move.

MLflow moves one alias per call. A process that is killed between two calls leaves an event that is not `done`; the next holder of the
lock completes it. Aliases that a person moved by hand on MLflow's page are left as they are.

Importing mlflow takes seconds, so only functions import it.
"""

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from mynah.registry.versions import CHAMPION, PREVIOUS, Bot

PREFIX = "mynah.history."


@dataclass(frozen=True, slots=True)
class Event:
    """A decision. Aliases are version numbers, 0 for none."""

    number: int
    action: str  # promote, rollback, refuse or publish
    version: int
    champion: int  # after the decision
    previous: int
    was_champion: int  # before the decision
    who: str
    at: str  # ISO 8601, UTC
    reasons: list[str] = field(default_factory=list)  # against the decision; for publish: the destination
    forced: str = ""  # why it was made nevertheless
    comparison: dict[str, Any] = field(default_factory=dict)
    done: bool = True

    @property
    def key(self) -> str:
        """The tag that stores the event; zero-padded, so that tags sort."""
        return f"{PREFIX}{self.number:06d}"


def events(bot: Bot) -> list[Event]:
    """Return a bot's history, oldest first. Invalid events are skipped: anybody can write tags."""
    history = []
    for key in sorted(key for key in bot.tags if key.startswith(PREFIX)):
        try:
            history.append(_checked(Event(**json.loads(bot.tags[key]))))
        except (ValueError, TypeError, RecursionError):
            continue
    return history


def _checked(event: Event) -> Event:
    """Raise TypeError unless every field has its type."""
    numbers = (event.number, event.version, event.champion, event.previous, event.was_champion)
    texts = (event.action, event.who, event.at, event.forced)
    if (
        not all(type(value) is int for value in numbers)
        or not all(type(value) is str for value in texts)
        or type(event.done) is not bool
    ):
        raise TypeError("a field has the wrong type")
    if type(event.reasons) is not list or type(event.comparison) is not dict:
        raise TypeError("a field has the wrong type")
    return event


def next_number(bot: Bot) -> int:
    """Return the number of the next event, never one that was used before."""
    used = [int(key.removeprefix(PREFIX)) for key in bot.tags if key.startswith(PREFIX) and key.removeprefix(PREFIX).isdecimal()]
    return max(used, default=0) + 1


def record(api: Any, name: str, event: Event) -> None:  # noqa: ANN401 - Registry.writer
    """Write an event as a tag of a bot.

    Args:
        api: MLflow's client of the registry, Registry.writer.
        name: The bot.
        event: The event; long texts in it are truncated.
    """
    short = replace(event, forced=event.forced[:1000], reasons=[str(reason)[:300] for reason in event.reasons[:5]])
    text = json.dumps(asdict(short), ensure_ascii=False, separators=(",", ":"))
    api.set_registered_model_tag(name, event.key, text)  # MLflow's column in PostgreSQL holds 5,000 characters


def apply(api: Any, name: str, event: Event) -> None:  # noqa: ANN401 - Registry.writer
    """Move the aliases as the event states, and mark it done. Repeating it is harmless.

    Args:
        api: MLflow's client of the registry, Registry.writer.
        name: The bot.
        event: The event.
    """
    if event.previous:
        api.set_registered_model_alias(name, PREVIOUS, str(event.previous))
    api.set_registered_model_alias(name, CHAMPION, str(event.champion))
    record(api, name, replace(event, done=True))


def complete_last(api: Any, bot: Bot) -> bool:  # noqa: ANN401 - Registry.writer
    """Complete the last event, if its process was killed halfway. Returns whether there was anything to do."""
    history = events(bot)
    if not history or history[-1].done:
        return False
    if all(_exists(api, bot.name, number) for number in (history[-1].champion, history[-1].previous) if number):
        apply(api, bot.name, history[-1])
    else:  # a version was removed since, so the decision cannot be completed
        record(api, bot.name, replace(history[-1], done=True))
    return True


def _exists(api: Any, name: str, version: int) -> bool:  # noqa: ANN401 - Registry.writer
    from mlflow.exceptions import MlflowException

    try:
        api.get_model_version(name, str(version))
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False
    return True
