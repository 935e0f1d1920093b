"""Every decision about a bot's aliases, in order: a tag of its registered model each, written before the aliases move.

MLflow moves one alias a call. A process that is killed between two calls leaves an event that is not `done`; whoever holds the
lock next completes it. Aliases that a person moved by hand on MLflow's page are left as they are.
"""

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from components.registry import CHAMPION, PREVIOUS, Bot

PREFIX = "mynah.history."


@dataclass(frozen=True, slots=True)
class Event:
    """A decision. Aliases are version numbers, 0 for none."""

    number: int
    action: str  # promote, rollback, refuse or publish
    version: int
    champion: int  # after it
    previous: int
    was_champion: int  # before it
    who: str
    at: str  # ISO 8601, UTC
    reasons: list[str] = field(default_factory=list)  # against it; of publish: where
    forced: str = ""  # why it was done all the same
    comparison: dict[str, Any] = field(default_factory=dict)
    done: bool = True

    @property
    def key(self) -> str:
        """The tag that holds it; the digits sort."""
        return f"{PREFIX}{self.number:06d}"


def events(bot: Bot) -> list[Event]:
    """A bot's history, oldest first. What is no event, for anybody can write tags, is left out."""
    found = []
    for key in sorted(key for key in bot.tags if key.startswith(PREFIX)):
        try:
            found.append(_checked(Event(**json.loads(bot.tags[key]))))
        except (ValueError, TypeError, RecursionError):
            continue
    return found


def _checked(event: Event) -> Event:
    """Raise TypeError unless every field is of its type."""
    numbers = (event.number, event.version, event.champion, event.previous, event.was_champion)
    texts = (event.action, event.who, event.at, event.forced)
    if (
        not all(type(each) is int for each in numbers)
        or not all(type(each) is str for each in texts)
        or type(event.done) is not bool
    ):
        raise TypeError("a field is of another type")
    if type(event.reasons) is not list or type(event.comparison) is not dict:
        raise TypeError("a field is of another type")
    return event


def next_number(bot: Bot) -> int:
    """The number of the next event, never one that was used before."""
    used = [int(key.removeprefix(PREFIX)) for key in bot.tags if key.startswith(PREFIX) and key.removeprefix(PREFIX).isdecimal()]
    return max(used, default=0) + 1


def record(api: Any, name: str, event: Event) -> None:  # noqa: ANN401 - Registry.writer
    """Write an event."""
    short = replace(event, forced=event.forced[:1000], reasons=[str(reason)[:300] for reason in event.reasons[:5]])
    text = json.dumps(asdict(short), ensure_ascii=False, separators=(",", ":"))
    api.set_registered_model_tag(name, event.key, text)  # PostgreSQL takes 5,000 characters


def carry_out(api: Any, name: str, event: Event) -> None:  # noqa: ANN401 - Registry.writer
    """Move the aliases as the event says, and mark it done. Twice does no harm."""
    if event.previous:
        api.set_registered_model_alias(name, PREVIOUS, str(event.previous))
    api.set_registered_model_alias(name, CHAMPION, str(event.champion))
    record(api, name, replace(event, done=True))


def complete(api: Any, bot: Bot) -> bool:  # noqa: ANN401 - Registry.writer
    """Carry out the last event where its process was killed in the middle. Whether there was anything to do."""
    past = events(bot)
    if not past or past[-1].done:
        return False
    if all(_exists(api, bot.name, number) for number in (past[-1].champion, past[-1].previous) if number):
        carry_out(api, bot.name, past[-1])
    else:  # removed since: what it decided cannot be had any more
        record(api, bot.name, replace(past[-1], done=True))
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
