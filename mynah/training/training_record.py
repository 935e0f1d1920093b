"""training.json: how a fine-tuned model came about, beside its weights.

`mynah finetune` writes it; evaluation, the card, the registry and a training run that goes on from the model read it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mynah.core.files import write_json
from mynah.core.json_reader import JsonField
from mynah.models.base_model_record import BaseModelRecord

TRAINING_FILE = "training.json"  # in a folder that `mynah finetune` wrote
STEPS_FILE = "steps.jsonl"  # beside it: metrics of each step
CONTINUE, START_OVER = "continue", "start over"  # the two ways that are compared where a model goes on from an earlier one


@dataclass(frozen=True, slots=True)
class EpochLosses:
    """Losses after an epoch in nats per token; epoch 0 is before training, which has no training loss.

    Attributes:
        epoch: Its number.
        train_loss: The mean loss of the epoch's batches.
        held_out_loss: The loss on all held-out posts.
        by_author: The held-out loss of each author, where there are several.
    """

    epoch: int
    train_loss: float | None
    held_out_loss: float
    by_author: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CanariesRecord:
    """The canaries (mynah.models.canaries) that were planted among the training posts; `count` is 0 where there were none."""

    count: int = 0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class ContinueRecord:
    """How going on from an earlier model did beside starting over, on held-out posts that neither was trained on.

    Attributes:
        parent: The earlier version's number, or the name of its folder.
        chosen: CONTINUE or START_OVER, whichever had the lower loss.
        beats: Whether going on was better, not only as good.
        new_posts: Posts that the earlier model did not know.
        replayed_posts: Posts that it knew, and that were trained on again.
        gone_posts: Posts that it knew, and that are no longer among the data.
        held_out_posts: Posts that both ways were judged by.
        held_out_left_out: Held-out posts that the earlier model knew.
        loss: Held-out loss in nats per token by way, and of the earlier model itself ("champion").
        seconds: Of training, by way.
        tokens: Trained on, by way.
        authors: Whose posts the chosen model knows from the earlier one.
    """

    parent: int | str
    chosen: str
    beats: bool
    new_posts: int
    replayed_posts: int
    gone_posts: int
    held_out_posts: int
    held_out_left_out: int
    loss: Mapping[str, float]
    seconds: Mapping[str, float]
    tokens: Mapping[str, int]
    authors: Sequence[str] = ()

    @property
    def has_continued(self) -> bool:
        """Whether the model that was kept is the one that went on."""
        return self.chosen == CONTINUE

    def to_record(self) -> dict[str, Any]:
        """The comparison as training.json holds it."""
        record = asdict(self)
        return {"from": record.pop("parent"), **record, "authors": list(self.authors)}


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """What training.json holds. Fields with a default are missing from files of earlier versions.

    Attributes:
        recipe: The recipe's settings by name, with nothing left open, in the words of the version that wrote them.
        base_model: What was fine-tuned.
        data_digest: SHA-256 of train.jsonl.
        held_out_digest: SHA-256 of held_out.jsonl.
        posts: Posts trained on, without canaries; where the model is its parent unchanged, those that the parent knows.
        versions: Of mynah, torch and transformers.
        history: Losses before training and after each epoch.
        best_epoch: The epoch whose weights were kept.
        steps: Optimizer steps.
        tokens: Predicted in training, all epochs.
        seconds: Of training alone, without the evaluations between epochs.
        tokens_per_second: `tokens` / `seconds`.
        device: "cpu" or "cuda".
        device_name: The GPU's or the processor's name; "" where nobody noted it.
        kernels: The instructions of torch's kernels there, such as "AVX512" or "CUDA 13.0, sm_90".
        precision: "fp32" or "bf16".
        canaries: The canaries among the posts; None where nobody noted any.
        flops_utilisation: Share of the device's peak.
        memory_gb: The most that it took, in GB.
        processes: Processes that trained together.
        out_of_time: It ended at its deadline, before the recipe's last step.
        stopped_early: Further epochs would not have helped.
        resumed_at: Steps at which it went on after an interruption.
        continual: How going on from an earlier model did, where that was tried.
        continued_from: The number of the version that it goes on from, or the digest of its folder; "" for none.
    """

    recipe: Mapping[str, Any]
    base_model: BaseModelRecord
    data_digest: str
    held_out_digest: str
    posts: int
    versions: Mapping[str, str]
    history: Sequence[EpochLosses]
    best_epoch: int
    steps: int
    tokens: int
    seconds: float
    tokens_per_second: float
    device: str
    precision: str
    canaries: CanariesRecord | None = None
    flops_utilisation: float = 0.0
    memory_gb: float = 0.0
    processes: int = 1
    out_of_time: bool = False
    stopped_early: bool = False
    resumed_at: Sequence[int] = ()
    continual: ContinueRecord | None = None
    continued_from: str = ""
    device_name: str = ""
    kernels: str = ""

    @property
    def best_loss(self) -> float:
        """The lowest held-out loss of all epochs, in nats per token."""
        return min(epoch.held_out_loss for epoch in self.history)

    @property
    def is_unchanged(self) -> bool:
        """Whether the weights are those of the model that training continued from: no epoch was better, and starting over neither."""
        return self.continual is not None and self.continual.has_continued and self.best_epoch == 0

    @property
    def adapter_rank(self) -> int:
        """The rank of the adapter that the model is; 0: it is a full model. Earlier versions merged every adapter, and noted no `merge`."""
        return int(self.recipe.get("lora_rank") or 0) if self.recipe.get("merge") is False else 0

    def recipe_count(self, setting: str) -> int:
        """A setting of the recipe that is a whole number.

        Raises:
            InputError: The recipe has no such setting, for example because an earlier version wrote it, or it is no such number.
        """
        return JsonField(Path(TRAINING_FILE), "finetune", dict(self.recipe), "recipe")[setting].count()

    def to_record(self) -> dict[str, Any]:
        """The record as training.json holds it."""
        record = asdict(self) | {"base_model": self.base_model.to_record()}
        for optional in ("canaries", "continual", "continued_from", "device_name", "kernels"):
            if not record[optional]:
                del record[optional]
        if self.continual:
            record["continual"] = self.continual.to_record() | ({"unchanged": True} if self.is_unchanged else {})
        return record

    def write(self, model: Path) -> None:
        """Write training.json into the folder `model`. Raises PlatformError when the disk refuses."""
        write_json(model / TRAINING_FILE, self.to_record())

    @classmethod
    def read(cls, model: Path) -> "TrainingRecord":
        """Read training.json of a folder that `mynah finetune` wrote, also of an earlier version.

        Raises:
            InputError: The file is missing or has another shape.
        """
        return cls.from_json(JsonField.read(model / TRAINING_FILE, "finetune"))

    @classmethod
    def from_json(cls, training: JsonField) -> "TrainingRecord":
        """The record in a JSON object. Raises InputError naming the field that is missing or has the wrong type."""
        resumed, continual = training.get("resumed_at"), training.get("continual")
        return cls(
            base_model=BaseModelRecord.from_json(training["base_model"]),
            recipe={setting: value.value for setting, value in training["recipe"].pairs()},
            data_digest=training["data_digest"].text(),
            held_out_digest=training["held_out_digest"].text(),
            posts=training["posts"].count(),
            versions={package: version.text() for package, version in training["versions"].pairs()},
            history=tuple(_epoch(epoch) for epoch in training["history"].list()),
            best_epoch=training["best_epoch"].count(),
            steps=training["steps"].count(),
            tokens=training["tokens"].count(),
            seconds=training["seconds"].number(),
            tokens_per_second=training["tokens_per_second"].number(),
            device=training["device"].text(),
            precision=training["precision"].text(),
            canaries=_canaries(training.get("canaries")),
            flops_utilisation=training.get("flops_utilisation").maybe_number() or 0.0,
            memory_gb=training.get("memory_gb").maybe_number() or 0.0,
            processes=_or(training.get("processes"), 1),
            out_of_time=_flag(training.get("out_of_time")),
            stopped_early=_flag(training.get("stopped_early")),
            resumed_at=() if resumed.value is None else tuple(step.count() for step in resumed.list()),
            continual=None if continual.value is None else _continual(continual),
            continued_from=training.get("continued_from").text(),
            device_name=training.get("device_name").text(),
            kernels=training.get("kernels").text(),
        )


def _canaries(canaries: JsonField) -> CanariesRecord | None:
    return None if canaries.value is None else CanariesRecord(canaries["count"].count(), canaries["seed"].count())


def _epoch(epoch: JsonField) -> EpochLosses:
    by_author = epoch.get("by_author")
    return EpochLosses(
        epoch=epoch["epoch"].count(),
        train_loss=epoch["train_loss"].maybe_number(),
        held_out_loss=epoch["held_out_loss"].number(),
        by_author={} if by_author.value is None else {author: loss.number() for author, loss in by_author.pairs()},
    )


def _continual(continual: JsonField) -> ContinueRecord:
    parent, authors, loss = continual["from"], continual.get("authors"), continual["loss"]
    for way in (CONTINUE, START_OVER):
        loss[way].number()
    return ContinueRecord(
        parent=parent.text() if isinstance(parent.value, str) else parent.count(),
        chosen=continual["chosen"].text(),
        beats=_flag(continual.get("beats")),
        new_posts=continual["new_posts"].count(),
        replayed_posts=continual["replayed_posts"].count(),
        gone_posts=_or(continual.get("gone_posts"), 0),
        held_out_posts=continual["held_out_posts"].count(),
        held_out_left_out=_or(continual.get("held_out_left_out"), 0),
        loss={way: each.number() for way, each in loss.pairs()},
        seconds=_numbers(continual.get("seconds")),
        tokens={} if continual.get("tokens").value is None else {way: each.count() for way, each in continual["tokens"].pairs()},
        authors=() if authors.value is None else tuple(author.text() for author in authors.list()),
    )


def _numbers(values: JsonField) -> dict[str, float]:
    return {} if values.value is None else {name: value.number() for name, value in values.pairs()}


def _or(value: JsonField, default: int) -> int:
    return default if value.value is None else value.count()


def _flag(value: JsonField) -> bool:
    return value.value is not None and value.flag()
