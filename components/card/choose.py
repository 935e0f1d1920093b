"""Choosing another sample for a bot's preview, after its version was registered.

The version itself never changes: its files have digests. The card that its pipeline run keeps beside it does.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from components.artifacts import Place, place, upload
from components.card.addresses import check_url
from components.card.files import OF_THE_SAMPLE, write_sample
from components.card.front import readdressed
from components.card.preview import FILE, Chosen, read_preview
from components.errors import InputError
from components.files import atomic_folder, write_text
from components.names import bot_name
from components.registry import CHAMPION, Bot, BotVersion, Registry, no_such_version
from components.store import Store, store_errors
from components.tracking import PARENT_TAG, steps_of

README = "README.md"
LARGEST = 20_000_000  # bytes of a card's file; its pictures have some 100,000


@dataclass(frozen=True, slots=True)
class StoredCard:
    """The card of a version, where its pipeline run keeps it."""

    bot: str
    version: int
    place: Place


def stored_card(store: Store, name: str, version: int = 0) -> StoredCard:
    """The card of a version of the bot `name`; 0: of its champion, or of the newest where it has none.

    Raises InputError when there is no such bot or version, or its run keeps no card that can be changed.
    """
    registry = Registry(store)
    bot = registry.bot(bot_name(name))
    found = _version(bot, version)
    kept = _place(registry, found)
    if not kept or FILE not in kept.files():
        raise InputError(
            f"version {found.version} of {bot.name} has no card to choose from: it was made by an older Mynah, or without its card",
            f"Make one from the folders of its run: `mynah card --name {bot.name} MODEL DATA REPORT --out CARD --choose K`.",
        )
    return StoredCard(bot.name, found.version, kept)


def fetch_card(card: StoredCard, folder: Path) -> Chosen:
    """Write the card's files to the empty `folder`; what it shows. Raises InputError when card.json is not as the card step writes it."""
    for name, stored in card.place.files().items():
        if "/" not in name and not name.startswith(".") and stored.size <= LARGEST:
            card.place.get(name, folder / name)
    return read_preview(folder)


def choose(card: StoredCard, number: int, out: Path, url: str = "") -> Chosen:
    """Show the sample of that number (counted from 1; 0: the one that is shown), and store it with the run; the card is written to `out`.

    `url` is where the card's files will be seen; "": where they were to be so far. Raises InputError when there is no such sample, or
    `url` is no address, PlatformError when the store or the disk fails; `out` is then as it was.
    """
    with atomic_folder(out) as folder:
        chosen = fetch_card(card, folder)
        chosen = chosen.choose(number) if number else chosen
        changed = list(OF_THE_SAMPLE)
        if url:
            chosen = replace(chosen, url=check_url(url))
            changed += _readdress(folder, url)
        write_sample(folder, chosen)
        upload(card.place, _files(folder, changed))
    return read_preview(out)


def _readdress(folder: Path, url: str) -> list[str]:
    readme = folder / README
    if not readme.is_file():
        return []
    write_text(readme, readdressed(readme.read_text("utf-8", errors="replace"), url))
    return [README]


def _files(folder: Path, names: list[str]) -> Mapping[str, Path]:
    return {name: folder / name for name in names}


def _version(bot: Bot, wanted: int) -> BotVersion:
    if wanted:
        found = next((version for version in bot.versions if version.version == wanted), None)
        if not found:
            raise no_such_version(bot, f"version {wanted}")
        return found
    found = bot.at(CHAMPION) or next(iter(bot.versions), None)
    if not found:
        raise no_such_version(bot, "version")
    return found


def steps_of_version(registry: Registry, version: BotVersion) -> dict[str, Any]:
    """The runs of the steps of the pipeline run that made a version, by the step's name; {} where the run is gone."""
    from mlflow.exceptions import MlflowException

    if not version.run_id:
        return {}
    with store_errors(registry.store.tracking_uri):
        try:
            run = registry.client.get_run(version.run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return {}
    return steps_of(registry.store, run.data.tags.get(PARENT_TAG, version.run_id))


def _place(registry: Registry, version: BotVersion) -> Place | None:
    """Where the pipeline run of a version keeps its card; None where no run is known, or it has none."""
    step = steps_of_version(registry, version).get("card")
    return place(f"{step.info.artifact_uri}/card", registry.store.tracking_uri) if step else None
