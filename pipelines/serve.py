"""Which bots a server hosts: the champions of the registry, as checkpoints on disk."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from components.errors import InputError
from components.events import say
from components.registry import Bot, Registry
from components.store import open_store
from serving.models import ServedBot


def champions(workdir: Path, names: Sequence[str]) -> list[ServedBot]:
    """The champions called `names`, or all there are. Raises InputError when one has none, or when there are none at all."""
    registry = Registry(open_store(workdir))
    bots = [registry.bot(name) for name in dict.fromkeys(names)] if names else [bot for bot in registry.bots() if bot.champion]
    if not bots:
        raise InputError(f"no bot in {registry.store.shown} has a champion", "Promote one with `mynah promote NAME`.")
    return [_served(registry, bot) for bot in bots] if names else list(_whole(registry, bots))


def _whole(registry: Registry, bots: Sequence[Bot]) -> Iterator[ServedBot]:
    """Those whose files are there; one broken bot does not keep the others from their readers. Raises its error when none is left."""
    errors = []
    for bot in bots:
        try:
            yield _served(registry, bot)
        except InputError as error:
            errors.append(error)
            say(f"{bot.name} is not served: {error.problem}", "warning")
    if len(errors) == len(bots):
        raise errors[0]


def _served(registry: Registry, bot: Bot) -> ServedBot:
    if not bot.champion:
        raise InputError(f"{bot.name} has no champion", f"Promote a version with `mynah promote {bot.name}`.")
    return ServedBot(bot.name, str(bot.champion.version), registry.checkpoint(bot.champion))
