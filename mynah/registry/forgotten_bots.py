"""Bots that were forgotten, and must not be trained again, for example by a recurring run, until `mynah remember`."""

from mynah.core.errors import InputError
from mynah.mlflow_client.store import Store
from mynah.registry.tombstones import remove_tombstone, set_tombstone, tombstone_tag, tombstones


def mark_bot_forgotten(store: Store, bot: str) -> str:
    """Mark a bot as forgotten, and return the day of the first request."""
    return set_tombstone(store, tombstone_tag("bot", bot))


def bot_forgotten_since(store: Store, bot: str) -> str:
    """Return the day on which a bot was forgotten; "" where it was not."""
    return tombstones(store).get(tombstone_tag("bot", bot), "")


def unmark_bot_forgotten(store: Store, bot: str) -> bool:
    """Remove the mark of a bot that may be made again. Returns whether there was one."""
    return remove_tombstone(store, tombstone_tag("bot", bot))


def refuse_forgotten_bot(store: Store | None, *bots: str) -> None:
    """Raise InputError when one of `bots` was forgotten; without a store nobody knows. Raises PlatformError when it cannot be reached."""
    marks = tombstones(store) if store else {}
    for bot in bots:
        if day := marks.get(tombstone_tag("bot", bot)):
            raise InputError(
                f"the bot {bot} was forgotten on {day}, and must not be trained again", f"To allow it again: mynah remember {bot}"
            )

