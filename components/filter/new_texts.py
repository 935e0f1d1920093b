"""Check whether there are texts that no version of the bot was trained on; without them a scheduled run ends."""

from pathlib import Path

from mynah.core.errors import InputError
from mynah.core.files import digest
from mynah.data.datasets import HELD_OUT_FILE, TRAIN_FILE, read_texts
from mynah.data.text_digests import key, unseen
from mynah.mlflow_client.client import client, experiment, store_errors
from mynah.mlflow_client.store import BOT_TAG, Store
from mynah.registry.lineage import UNCHANGED_TAG, recorded_texts
from mynah.registry.registry import Registry
from mynah.registry.versions import CHAMPION

NOTHING_NEW = "nothing new"  # instead of the reference of a folder of texts


def version_without_news(name: str, data: Path, store: Store, start: str) -> int:
    """Return the version of a bot for which the texts in `data` are nothing new; 0 where there are news.

    A version was trained on exactly these texts; or training continues from the champion, which was trained on all of them, or was
    continued with exactly these texts without a gain.

    Args:
        name: The bot.
        data: The folder of texts.
        store: The tracking store.
        start: The model from which training starts: base, or champion.

    Raises:
        PlatformError: The registry does not respond.
    """
    version = version_trained_on(name, data, store)
    if version or start != "champion":
        return version
    return champion_trained_on(name, data, store) or champion_tried_with(name, data, store)


def version_trained_on(name: str, data: Path, store: Store) -> int:
    """Return the newest version of a bot that was trained on the texts in `data`, the folder of `filter`; 0 for none.

    Compares digests of the texts, not of the source: a new export of the same posts, or a changed profile, is not new.
    Raises PlatformError when the registry does not respond.
    """
    digests = digest(data / TRAIN_FILE), digest(data / HELD_OUT_FILE)
    registry = Registry(store)
    versions = registry.bot(name).versions if name in registry.names() else []
    trained = (
        version.version
        for version in versions
        if (version.tags.get("mynah.data_digest"), version.tags.get("mynah.held_out_digest")) == digests
    )
    return max(trained, default=0)


def champion_trained_on(name: str, data: Path, store: Store) -> int:
    """Return the champion of a bot if it was trained on every text in `data`, so that there is nothing to continue with; else 0.

    A new post may be held out, and a deleted one cannot be trained on. Raises PlatformError when the registry does not respond.
    """
    registry = Registry(store)
    champion = registry.head(name, CHAMPION).champion if name in registry.names() else None
    if not champion:
        return 0
    try:
        known = frozenset(key(text) for text in recorded_texts(registry, champion, "train"))
    except InputError:  # not recorded: continuing from it reports that
        return 0
    return 0 if unseen(read_texts(data, "train"), known) else champion.version


def champion_tried_with(name: str, data: Path, store: Store) -> int:
    """Return the champion of a bot if continuing from it with exactly these texts was tried and brought nothing; else 0.

    Such a run registers no version, so that `version_trained_on` does not know it. Raises PlatformError when the store does not respond.
    """
    registry = Registry(store)
    champion = registry.head(name, CHAMPION).champion if name in registry.names() else None
    if not champion:
        return 0
    wanted = {
        BOT_TAG: name,
        UNCHANGED_TAG: str(champion.version),
        "mynah.data_digest": digest(data / TRAIN_FILE),
        "mynah.held_out_digest": digest(data / HELD_OUT_FILE),
    }
    query = " and ".join(f"tags.`{tag}` = '{value}'" for tag, value in wanted.items())
    with store_errors(store.tracking_uri):
        found = client(store.tracking_uri).search_runs([experiment(store)], query, max_results=1)
    return champion.version if found else 0
