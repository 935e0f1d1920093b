"""The model to continue training from (the bot's champion, or a folder), with its training texts and its base model."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mynah.core.errors import InputError
from mynah.core.files import digest
from mynah.data.authors import authors_of
from mynah.data.datasets import TRAIN_FILE, read_texts
from mynah.data.text_digests import key, read_seen
from mynah.models.adapter_base import model_folder
from mynah.models.architecture import read_architecture
from mynah.models.base_models import BaseModel
from mynah.models.checkpoint import check_folder
from mynah.registry.forgotten_authors import refuse_forgotten
from mynah.registry.lineage import authors_in, recorded_texts
from mynah.registry.registry import Registry
from mynah.registry.versions import CHAMPION
from mynah.training.training_record import TrainingRecord

if TYPE_CHECKING:
    from mynah.mlflow_client.store import Store


@dataclass(frozen=True, slots=True)
class ParentModel:
    """A fine-tuned model with what it was trained on."""

    folder: Path  # its checkpoint
    texts: Sequence[str]  # its training texts
    authors: frozenset[str]  # authors of its training texts and of those of its own parents
    label: str  # its name in messages
    version: int = 0  # the bot's version; 0 for a folder

    @property
    def seen_digests(self) -> frozenset[str]:
        """The digests of all posts that the model and its own parents were trained on."""
        return read_seen(self.folder) | {key(text) for text in self.texts}

    @property
    def training(self) -> TrainingRecord:
        """How it was trained. Raises InputError when its training.json is not as `mynah finetune` writes it."""
        return TrainingRecord.read(self.folder)

    def require_base(self, base: BaseModel) -> None:
        """Raise InputError unless the model was fine-tuned from `base`.

        Losses of models of different base models do not compare, and starting over would make another bot.
        """
        recorded = self.training.base_model
        if recorded.digest == base.weights_digest:
            return _require_same_shape(self, base)
        requested, made_from = base.name, recorded.name
        if requested == made_from:
            requested, made_from = (f"{requested} ({weights[:8]})" for weights in (base.weights_digest, recorded.digest))
        raise InputError(
            f"{self.label} was made from {made_from}, and this training run uses the base model {requested}",
            f"Name --base-model {recorded.name}, or start over: leave out --continue or --from-model.",
        )


def parent_from_folder(model: Path, data: Path) -> ParentModel:
    """Return the model in a folder as a parent model.

    Args:
        model: the checkpoint's folder.
        data: the folder of texts that it was trained on.

    Raises:
        InputError: `model` is no checkpoint, or was not trained on `data`.
    """
    check_folder(model)
    training = TrainingRecord.read(model)
    texts = read_texts(data, "train")
    if training.data_digest != digest(data / TRAIN_FILE):
        raise InputError(
            f"{model} was not trained on {data}: train.jsonl has another digest",
            "Name the folder that it was trained on with --trained-on.",
        )
    earlier = training.continual.authors if training.continual else ()
    return ParentModel(model, texts, frozenset({*authors_in(data), *earlier}), str(model))


def parent_from_champion(name: str, store: "Store") -> ParentModel | None:
    """Return the champion of a bot as a parent model, its files on this machine.

    Args:
        name: the bot's name.
        store: the store that holds the registry.

    Returns:
        The parent model; None when the bot has no champion.

    Raises:
        InputError: the champion's files are gone, its posts are not recorded, or one of its authors asked to be forgotten.
        PlatformError: the registry fails, or a file differs from the one registered.
    """
    registry = Registry(store)
    champion = registry.head(name, CHAMPION).champion if name in registry.names() else None
    if not champion:
        return None
    authors = authors_of(champion.tags)
    refuse_forgotten(store, authors)
    try:
        texts = recorded_texts(registry, champion, "train")
    except InputError as error:
        raise InputError(f"{error.problem}, so it is unknown which posts are new", "Start over: leave out --continue.") from error
    folder = registry.checkpoint(champion)
    return ParentModel(folder, texts, frozenset(authors), f"version {champion.version} of {name}", champion.version)


def _require_same_shape(parent: ParentModel, base: BaseModel) -> None:
    """Raise InputError when the parent's shape or tokenizer differs from the base model's."""
    from transformers import AutoTokenizer

    parent_config, base_config = check_folder(parent.folder), check_folder(base.folder)
    parent_shape, base_shape = (
        asdict(read_architecture(config, folder))
        for config, folder in ((parent_config, parent.folder), (base_config, base.folder))
    )
    for name, value in parent_shape.items():
        if value != base_shape[name]:
            raise InputError(
                f"{parent.label} has {name} {value}, and {base.name} has {base_shape[name]}",
                "Start over: leave out --continue or --from-model.",
            )
    tokenizers = [
        AutoTokenizer.from_pretrained(model_folder(folder), local_files_only=True, trust_remote_code=False)
        for folder in (parent.folder, base.folder)
    ]
    if tokenizers[0].get_vocab() != tokenizers[1].get_vocab():
        raise InputError(
            f"{parent.label} has another tokenizer than {base.name}", "Start over: leave out --continue or --from-model."
        )
