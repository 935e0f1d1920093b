"""Choose another sample for a bot's preview after its version was registered.

The version itself never changes, since its files have digests; the card that its pipeline run keeps changes, in the store and in the run's
folder on this machine.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from components.card.card_files import SAMPLE_FILES, write_sample
from components.card.front_matter import with_new_url
from components.card.preview import ChosenSample, read_preview
from components.card.urls import check_url
from mynah.core.errors import InputError, PlatformError
from mynah.core.files import atomic_folder, write_text
from mynah.core.progress import notify
from mynah.mlflow_client.client import store_errors
from mynah.mlflow_client.store import Store
from mynah.registry.card_files import PREVIEW_FILE, README_FILE
from mynah.registry.lineage import steps_of_version
from mynah.registry.registry import Registry
from mynah.registry.versions import CHAMPION, Bot, BotVersion, no_such_version
from mynah.storage.base import ArtifactStore, upload
from mynah.storage.local import FolderArtifactStore
from mynah.storage.open import open_artifact_store
from mynah.tracking.tags import FOLDER_TAG, PARENT_TAG

MAX_FILE_BYTES = 20_000_000  # of a card's file; its pictures have about 100,000


@dataclass(frozen=True, slots=True)
class StoredCard:
    """The stored card of a version."""

    bot: str
    version: int
    files: ArtifactStore
    printed: Path | None = None  # the card that the run printed, in the run's folder on this machine


def stored_card(store: Store, name: str, version: int = 0) -> StoredCard:
    """Return the stored card of a version.

    Args:
        store: The store that holds the registry.
        name: The bot's name.
        version: The version; 0 for the champion, or for the newest version when there is none.

    Returns:
        The card.

    Raises:
        InputError: There is no such bot or version, or its run has no card with a choice of samples.
    """
    registry = Registry(store)
    bot = registry.bot(name)
    bot_version = _version(bot, version)
    card_files = _files_of_card(registry, bot_version)
    if not card_files or PREVIEW_FILE not in card_files.files():
        raise InputError(
            f"version {bot_version.version} of {bot.name} has no card to choose from: an older Mynah made it, or no card was registered",
            f"Create one from the folders of its run: `mynah card --name {bot.name} MODEL DATA REPORT --out CARD --choose K`.",
        )
    return StoredCard(bot.name, bot_version.version, card_files, _printed(registry, bot_version))


def fetch_card(card: StoredCard, folder: Path) -> ChosenSample:
    """Download the card's files to an empty folder and return the content of card.json. Raises InputError when that is invalid."""
    for name, stored in card.files.files().items():
        if "/" not in name and not name.startswith(".") and stored.size <= MAX_FILE_BYTES:
            card.files.get(name, folder / name)
    return read_preview(folder)


def choose(card: StoredCard, number: int, out: Path, url: str = "") -> ChosenSample:
    """Choose another sample, and store the changed card.

    Args:
        card: The stored card.
        number: The number of the sample, counted from 1; 0 keeps the current one.
        out: The folder for a copy of the card; unchanged when an error is raised.
        url: The address of the card's files; "" keeps the current one.

    Returns:
        The new content of card.json.

    Raises:
        InputError: There is no such sample, or the URL is invalid.
        PlatformError: The store or the disk fails.
    """
    inputs = [card.files.folder] if isinstance(card.files, FolderArtifactStore) else []
    with atomic_folder(out, inputs) as folder:
        chosen = fetch_card(card, folder)
        chosen = chosen.choose(number) if number else chosen
        changed = list(SAMPLE_FILES)
        if url:
            chosen = replace(chosen, url=check_url(url))
            changed += _change_url(folder, url)
        write_sample(folder, chosen)
        upload(card.files, _files(folder, changed))
        if card.printed:
            _change_printed(card.printed, _files(folder, changed))
    return read_preview(out)


def _printed(registry: Registry, version: BotVersion) -> Path | None:
    """Return the card in the folder of the run that made a version; None where that is on another machine or gone."""
    runs = registry.store.folder / "runs" if registry.store.folder else None
    if not runs or not version.run_id or not runs.is_dir():
        return None
    with store_errors(registry.store.tracking_uri):
        run = registry.client.get_run(version.run_id)
        run = registry.client.get_run(run.data.tags.get(PARENT_TAG, version.run_id))
    # The tag is untrusted, never a path: it only selects among existing folders.
    folders = (path / "card" for path in runs.iterdir() if path.name == run.data.tags.get(FOLDER_TAG))
    return next((folder for folder in folders if (folder / PREVIEW_FILE).is_file() and _is_below(folder, runs)), None)


def _is_below(folder: Path, runs: Path) -> bool:
    """Return whether no link leads from `runs` to another place."""
    return folder.resolve().parents[1] == runs.resolve()


def _change_printed(folder: Path, changed: Mapping[str, Path]) -> None:
    """Write changed files into the run's own card, which people find by the path that the run printed."""
    try:
        for name, path in changed.items():
            FolderArtifactStore(folder).put(name, path)
    except PlatformError as error:
        notify(f"the card that the run printed keeps its sample: {error.problem}", "warning")


def _change_url(folder: Path, url: str) -> list[str]:
    """Write another URL into README.md, and return the names of the changed files."""
    readme = folder / README_FILE
    if not readme.is_file():
        return []
    write_text(readme, with_new_url(readme.read_text("utf-8", errors="replace"), url))
    return [README_FILE]


def _files(folder: Path, names: list[str]) -> Mapping[str, Path]:
    return {name: folder / name for name in names}


def _version(bot: Bot, number: int) -> BotVersion:
    if number:
        bot_version = bot.at(number)
        if not bot_version:
            raise no_such_version(bot, f"version {number}")
        return bot_version
    bot_version = bot.at(CHAMPION) or next(iter(bot.versions), None)
    if not bot_version:
        raise no_such_version(bot, "version")
    return bot_version


def _files_of_card(registry: Registry, version: BotVersion) -> ArtifactStore | None:
    """Return the store of a version's card; None when its run is unknown or has none."""
    step = steps_of_version(registry, version).get("card")
    return open_artifact_store(f"{step.info.artifact_uri}/card", registry.store.tracking_uri) if step else None
