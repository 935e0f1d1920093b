"""Bots that were forgotten, and must not be trained again, for example by a recurring run, until `mynah remember`."""

from collections.abc import Iterable, Sequence

from mynah.core.errors import InputError
from mynah.mlflow_client.store import Store
from mynah.registry.tombstones import remove_tombstone, set_tombstone, set_tombstones, tombstone_tag, tombstones
from mynah.storage.run_files import parse


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


def mark_runs_forgotten(store: Store, run_ids: Iterable[str]) -> None:
    """Mark runs whose specification is erased, by their ids in the bucket, which say nothing: a fleet or a schedule may still begin one."""
    set_tombstones(store, [tombstone_tag("run", run_id) for run_id in run_ids])


def unforgotten_runs(store: Store, specs: Sequence[str]) -> list[str]:
    """Return the references of specifications whose runs were not forgotten. Raises PlatformError when the store cannot be reached."""
    marks = tombstones(store)
    return [spec for spec in specs if not (files := parse(spec)) or tombstone_tag("run", files.id) not in marks]


def refuse_forgotten_run(store: Store | None, spec: str) -> None:
    """Raise InputError when the run was forgotten whose specification a reference names, which is erased. Raises PlatformError as above."""
    files = parse(spec)
    if store and files and (day := tombstones(store).get(tombstone_tag("run", files.id))):
        raise InputError(
            f"the bot or an author of the run {files.id} was forgotten on {day}, and its specification is erased",
            "Leave it out of its fleet or schedule. To allow the bot again: mynah remember BOT, and submit it again.",
        )
