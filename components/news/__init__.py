"""news: whether there is anything to train on that no version of the bot was trained on: a schedule does nothing without it."""

from pathlib import Path

from components.errors import InputError
from components.files import digest
from components.filter import read_texts
from components.lineage import recorded_texts
from components.registry import CHAMPION, Registry
from components.seen import key, unseen
from components.store import Store

NEW, NOTHING_NEW = "new", "nothing new"
SKIPPED_TAG = "mynah.skipped"  # of a pipeline run that ended well without training, and why


def version_with(name: str, data: Path, store: Store) -> int:
    """The newest version of the bot `name` that was trained on the texts in `data`, the folder of `filter`; 0 for none.

    By the digest of the texts, not of the source: an export that is made anew, and a profile that changed, are no news.
    Raises PlatformError when the registry does not answer.
    """
    digests = digest(data / "train.jsonl"), digest(data / "held_out.jsonl")
    registry = Registry(store)
    versions = registry.bot(name).versions if name in registry.names() else []
    trained = (
        version.version
        for version in versions
        if (version.tags.get("mynah.data_digest"), version.tags.get("mynah.held_out_digest")) == digests
    )
    return max(trained, default=0)


def champion_that_knows(name: str, data: Path, store: Store) -> int:
    """The champion of the bot `name` when no text in `data` is new to it, so that there is nothing to go on with; else 0.

    A post that is new may be held out, and one that is gone is none to learn. Raises PlatformError when the registry does not answer.
    """
    registry = Registry(store)
    champion = registry.head(name, CHAMPION).champion if name in registry.names() else None
    if not champion:
        return 0
    try:
        known = frozenset(key(text) for text in recorded_texts(registry, champion, "train"))
    except InputError:  # not recorded: whoever goes on from it says so
        return 0
    return 0 if unseen(read_texts(data, "train"), known) else champion.version
