"""Finds the bot's champion, with which a new model is compared on the same posts."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mynah.core.errors import InputError
from mynah.core.files import digest
from mynah.core.progress import notify
from mynah.data.datasets import TRAIN_FILE, read_texts
from mynah.data.text_digests import key, read_seen
from mynah.models.checkpoint import check_folder
from mynah.registry.lineage import known_posts
from mynah.registry.registry import Registry
from mynah.registry.versions import CHAMPION
from mynah.training.training_record import TrainingRecord

if TYPE_CHECKING:
    from mynah.mlflow_client.store import Store


@dataclass(frozen=True, slots=True)
class Champion:
    """The model that a new one is compared with."""

    folder: Path  # its checkpoint
    label: str  # its name in messages
    knows: frozenset[str]  # digests (mynah.data.text_digests.key) of the posts that it and its parents were trained on


def registry_champion(name: str, store: "Store") -> Champion | None:
    """Return the champion of a bot, its files on this machine.

    Args:
        name: the bot's name.
        store: the store that holds the registry.

    Returns:
        The champion; None when there is none, or, with a warning, when its files or posts are missing.

    Raises:
        PlatformError: the registry fails.
    """
    registry = Registry(store)
    champion = registry.head(name, CHAMPION).champion if name in registry.names() else None
    if not champion:
        return None
    label = f"version {champion.version} of {name}"
    try:
        return Champion(registry.checkpoint(champion), label, known_posts(registry, champion))
    except InputError as error:
        notify(f"the champion, {label}, is excluded from the evaluation: {error.problem}", "warning")
        return None


def champion_from_folder(model: Path, data: Path) -> Champion:
    """Return the model in a folder as the champion.

    Args:
        model: the checkpoint's folder.
        data: the folder of texts that it was trained on.

    Returns:
        The champion.

    Raises:
        InputError: `model` is no checkpoint of `mynah finetune`, or was not trained on `data`.
    """
    check_folder(model)
    if TrainingRecord.read(model).data_digest != digest(data / TRAIN_FILE):
        raise InputError(
            f"{model} was not trained on {data}: it is unknown which held-out posts are new to that model",
            "Evaluate both models on the folder that both were trained on; a pipeline run compares with the registry's champion.",
        )
    knows = read_seen(model) | {key(text) for text in read_texts(data, "train")}
    return Champion(model, str(model), knows)
