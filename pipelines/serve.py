"""Which bots a server hosts: the champions of the registry, as checkpoints on disk."""

from collections.abc import Sequence
from pathlib import Path

from components.errors import InputError
from components.registry import Bot, Registry
from components.tracking import open_store
from serving.models import ServedBot


def champions(workdir: Path, names: Sequence[str]) -> list[ServedBot]:
    """The champions called `names`, or all there are. Raises InputError when one has none, or when there are none at all."""
    registry = Registry(open_store(workdir))
    bots = [registry.bot(name) for name in dict.fromkeys(names)] if names else [bot for bot in registry.bots() if bot.champion]
    if not bots:
        raise InputError(f"no bot in {workdir} has a champion", "Promote one with `mynah promote NAME`.")
    return [_served(registry, bot) for bot in bots]


def _served(registry: Registry, bot: Bot) -> ServedBot:
    if not bot.champion:
        raise InputError(f"{bot.name} has no champion", f"Promote a version with `mynah promote {bot.name}`.")
    return ServedBot(bot.name, str(bot.champion.version), registry.checkpoint(bot.champion))
