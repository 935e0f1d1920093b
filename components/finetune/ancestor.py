"""The model that a training goes on from: the bot's champion, or a folder; with what it was trained on, and from which base model."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.checkpoint import check_folder
from components.errors import InputError
from components.fields import Field
from components.files import digest
from components.filter import read_texts
from components.finetune.base_model import BaseModel
from components.lineage import authors_in, authors_of, recorded_texts
from components.seen import key, read_seen

if TYPE_CHECKING:
    from components.store import Store

SHAPE = ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head")  # of config.json


@dataclass(frozen=True, slots=True)
class Ancestor:
    """A fine-tuned model and its past."""

    folder: Path  # its checkpoint
    texts: Sequence[str]  # that it was trained on
    authors: frozenset[str]  # whose posts it learnt from, also those that it was itself continued from
    shown: str  # what messages call it
    version: int = 0  # of the bot; 0: a folder

    @property
    def seen(self) -> frozenset[str]:
        """The digests of all posts that it was trained on, also before it was itself continued."""
        return read_seen(self.folder) | {key(text) for text in self.texts}

    @property
    def base_model(self) -> dict[str, Any]:
        """The base model of its training.json: name, revision, digest."""
        base = Field.read(self.folder / "training.json", "finetune")["base_model"]
        return {part: base.get(part).text() for part in ("name", "revision", "digest")}

    @property
    def batch_tokens(self) -> int:
        """Predicted tokens a step, by which it was trained."""
        return Field.read(self.folder / "training.json", "finetune")["recipe"]["batch_tokens"].count()

    def require_base(self, base: BaseModel) -> None:
        """Raise InputError unless it was made from `base`: losses of others do not compare, and starting over would be another bot."""
        ours = self.base_model
        if ours["digest"] == base.weights_digest:
            return _require_same_shape(self, base)
        asked, made_from = base.name, ours["name"]
        if asked == made_from:
            asked, made_from = (f"{asked} ({each[:8]})" for each in (base.weights_digest, ours["digest"]))
        raise InputError(
            f"{self.shown} was made from {made_from}, and this training is to start from {asked}",
            f"Name --base-model {ours['name']}, or start over: leave out --continue or --from-model.",
        )


def by_hand(model: Path, data: Path) -> Ancestor:
    """The model in a folder, and the folder of texts that it was trained on. Raises InputError when it was not."""
    check_folder(model)
    training = Field.read(model / "training.json", "finetune")
    texts = read_texts(data, "train")
    if training["data_digest"].text() != digest(data / "train.jsonl"):
        raise InputError(
            f"{model} was not trained on {data}: train.jsonl has another digest",
            "Name the folder it was trained on with --trained-on.",
        )
    earlier = training["continual"].get("authors").list() if "continual" in training.value else ()
    return Ancestor(model, texts, frozenset({*authors_in(data), *(each.text() for each in earlier)}), str(model))


def champion_of(name: str, store: "Store") -> Ancestor | None:
    """The champion of the bot `name`, its files on this disk; None when it has none.

    Raises InputError when its files are gone or its posts are not recorded, or one of its authors asked to be forgotten; PlatformError
    when the registry fails or a file is not what was registered.
    """
    from components.registry import CHAMPION, Registry
    from components.tombstones import refuse_forgotten

    registry = Registry(store)
    champion = registry.head(name, CHAMPION).champion if name in registry.names() else None
    if not champion:
        return None
    authors = authors_of(champion.tags)
    refuse_forgotten(store, authors)
    try:
        texts = recorded_texts(registry, champion, "train")
    except InputError as error:
        raise InputError(f"{error.problem}, so nobody knows which are new", "Start over: leave out --continue.") from error
    folder = registry.checkpoint(champion)
    return Ancestor(folder, texts, frozenset(authors), f"version {champion.version} of {name}", champion.version)


def _require_same_shape(ancestor: Ancestor, base: BaseModel) -> None:
    """Raise InputError when somebody changed the model's shape or its tokenizer since."""
    from transformers import AutoTokenizer

    theirs, ours = check_folder(ancestor.folder), check_folder(base.folder)
    for part in SHAPE:
        if theirs.get(part) != ours.get(part):
            raise InputError(
                f"{ancestor.shown} has {part} {theirs.get(part)}, and {base.name} has {ours.get(part)}",
                "Start over: leave out --continue or --from-model.",
            )
    loaded = [
        AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        for folder in (ancestor.folder, base.folder)
    ]
    if loaded[0].get_vocab() != loaded[1].get_vocab():
        raise InputError(
            f"{ancestor.shown} has another tokenizer than {base.name}", "Start over: leave out --continue or --from-model."
        )
