"""The bot's champion, to measure a new model against on the same posts."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.checkpoint import check_folder
from components.errors import InputError
from components.events import say
from components.files import digest, read_json
from components.filter import read_texts
from components.lineage import known_posts
from components.seen import key, read_seen

if TYPE_CHECKING:
    from components.store import Store


@dataclass(frozen=True, slots=True)
class Champion:
    """A model to be better than."""

    folder: Path  # its checkpoint
    label: str  # what messages call it
    knows: frozenset[str]  # the digests (components.seen.key) of the posts that it was trained on, or knows from before


def champion_of(name: str, store: "Store") -> Champion | None:
    """The champion of the bot `name`, its files on this disk; None when there is none, or what it needs is gone (then a warning says so).

    Raises PlatformError when the registry fails.
    """
    from components.registry import CHAMPION, Registry

    registry = Registry(store)
    champion = registry.head(name, CHAMPION).champion if name in registry.names() else None
    if not champion:
        return None
    label = f"version {champion.version} of {name}"
    try:
        return Champion(registry.checkpoint(champion), label, known_posts(registry, champion))
    except InputError as error:
        say(f"the champion, {label}, is left out of the evaluation: {error.problem}", "warning")
        return None


def by_hand(model: Path, data: Path) -> Champion:
    """The model in a folder as champion. The posts that it was trained on are those of `data`, or must be unlike all held-out ones.

    Raises InputError when it is no checkpoint that `mynah finetune` wrote, or when nothing tells what it was trained on.
    """
    check_folder(model)
    training = read_json(model / "training.json", "finetune")
    if not isinstance(training, dict) or training.get("data_digest") != digest(data / "train.jsonl"):
        raise InputError(
            f"{model} was not trained on {data}: nobody knows which of its held-out posts are new to that model",
            "Evaluate both models on the folder that both were trained on; a pipeline run compares with the registry's champion.",
        )
    knows = read_seen(model) | {key(text) for text in read_texts(data, "train")}
    return Champion(model, str(model), knows)
