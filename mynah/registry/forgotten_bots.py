"""Bots that were forgotten, and must not be trained again, for example by a recurring run, until `mynah remember`."""

from mynah.core.errors import InputError
from mynah.mlflow_client.client import client, store_errors
from mynah.mlflow_client.store import BOT_TAG, Store
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


def refuse_forgotten_run(store: Store | None, run_id: str) -> None:
    """Raise InputError when the bot of a pipeline run was forgotten.

    Args:
        store: The tracking store, or None.
        run_id: The pipeline run; "" for none. One that the store does not know is refused by who opens it.
    """
    if not store or not run_id or not (marks := tombstones(store)):
        return
    from mlflow.exceptions import MlflowException

    with store_errors(store.tracking_uri):
        try:
            bot = client(store.tracking_uri).get_run(run_id).data.tags.get(BOT_TAG, "")
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return
    if tombstone_tag("bot", bot) in marks:
        refuse_forgotten_bot(store, bot)
