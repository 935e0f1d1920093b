"""The finetune step: train a base model on the filtered texts and write a Hugging Face checkpoint, or an adapter in peft's format.

The output folder loads with `transformers.pipeline("text-generation", model=FOLDER)`. Besides the weights it holds
training.json (recipe, history, digests: the record that the card quotes) and steps.jsonl (metrics per step).
"""

import importlib.metadata
import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.finetune.base_memory import require_memory
from components.finetune.data_packing import shares
from components.finetune.device import require_gpu_of_node
from components.finetune.settings import FinetuneSettings
from components.finetune.torchrun_launch import finetune_with_torchrun, gpu_count, under_torchrun
from mynah.core.errors import InputError
from mynah.core.files import (
    atomic_folder,
    digest,
    refuse_foreign_folder,
    require_space,
    write_lines,
)
from mynah.core.machine import require_instructions
from mynah.core.outputs import refuse_inside
from mynah.core.progress import notify, waiting
from mynah.data.datasets import HELD_OUT_FILE, TRAIN_FILE, read_by_author
from mynah.data.scripts import write_scripts
from mynah.data.verbatim_filter import write_bloom
from mynah.models import canaries, checkpoint
from mynah.models.adapter import numbers_of
from mynah.models.architecture import read_architecture
from mynah.models.base_model_record import BaseModelRecord
from mynah.models.base_models import BaseModel, named_path, resolve
from mynah.models.checkpoint import Checkpoint
from mynah.models.checkpoint_files import check_full, weight_files
from mynah.models.licenses import license_files
from mynah.models.merged import save
from mynah.training.recipe import Recipe
from mynah.training.state_store import States, state_folders
from mynah.training.training_record import STEPS_FILE, CanariesRecord, TrainingRecord

if TYPE_CHECKING:
    from components.finetune.trainer import Trainer
    from components.finetune.training_progress import TrainingResult

OnStep = Callable[[int, dict[str, float]], None]  # the step, and its metrics


def finetune(data: Path, out: Path, settings: FinetuneSettings, on_step: OnStep | None = None) -> TrainingRecord:
    """Fine-tune `settings.base_model` on the texts of `data`, write the checkpoint and return its record.

    Args:
        data: the folder that the filter step wrote, with train.jsonl and held_out.jsonl.
        out: the folder for the checkpoint; it is created only when training succeeds.
        settings: base model, recipe, time limit and where training states are kept.
        on_step: called as `on_step(step, metrics)` after every optimizer step and every evaluation.

    Returns:
        The content of the checkpoint's training.json.

    Raises:
        InputError: the data or the base model cannot be used, or `out` overlaps them or must not be replaced.
        PlatformError: the disk is too small (checked before the first step), the hub is unreachable, or a GPU node has no usable GPU.
        MynahError: the loss diverges.
    """
    require_instructions()
    folders, around = require_apart(out, settings, data)
    if settings.nodes:
        from components.finetune.nodes import finetune_on_nodes

        return finetune_on_nodes(data, out, settings, on_step)
    require_gpu_of_node()
    if settings.processes != 1 and not under_torchrun() and (processes := settings.processes or gpu_count()) > 1:
        resolve(settings.base_model)  # downloads the model once, before the processes start
        return finetune_with_torchrun(data, out, replace(settings, processes=processes), on_step)
    return _train(data, out, settings, on_step or (lambda *_: None), folders, around)


def _train(
    data: Path, out: Path, settings: FinetuneSettings, on_step: OnStep, folders: Sequence[Path], around: Sequence[Path]
) -> TrainingRecord:
    """Fine-tune in this process, alone or as one of several; the folders as of `require_apart`, everything else as of `finetune`."""
    deadline = math.inf if settings.seconds is None else time.monotonic() + settings.seconds
    train, held_out = read_by_author(data, "train"), read_by_author(data, "held_out")
    shares(list(train), settings.recipe.weights)  # raises for a weight of an author without posts
    base = resolve(settings.base_model)
    require_memory(base, settings.recipe)
    require_space(out.parent, _needed_bytes(base, settings.recipe), "writing the fine-tuned model")
    with waiting(f"Loading {base.name}"):
        from components.finetune.adapters import read_start
        from components.finetune.process_group import ProcessGroup
        from components.finetune.trainer import Trainer  # imports torch (2 s): after every check that needs no torch

        loaded, group = checkpoint.load(base.folder), ProcessGroup.join()
    start = read_start(Path(settings.adapter), base, loaded.architecture, settings.recipe) if settings.adapter else None
    training = Trainer(loaded, train, held_out, settings.recipe, group, out.parent, settings.parent_authors, start)
    inputs = _inputs(data, base, loaded, training.recipe, sum(map(len, train.values())), settings.adapter)
    states = States(settings.checkpoints, inputs.identity()) if settings.checkpoints else None
    result = training.run(on_step, deadline, states, settings.checkpoint_seconds)
    record = _record(inputs, result)
    if not group.is_first:
        return record
    _notify_result(result)
    with atomic_folder(out, folders, around) as folder:
        _write_weights(folder, base, loaded, training, record.base_model)
        _write_beside(folder, base, record, [text for texts in train.values() for text in texts])
        write_lines(folder / STEPS_FILE, training.log)
    if states:
        states.clear()
    return record


def require_apart(out: Path, settings: FinetuneSettings, *read: Path) -> tuple[list[Path], list[Path]]:
    """Check that the checkpoint and the training states neither replace nor hold what is read.

    Args:
        out: the checkpoint's folder.
        settings: for the base model and the folder of states.
        read: the other folders that are read.

    Returns:
        All folders that are read, and those that may lie beside the checkpoint.

    Raises:
        InputError: they overlap, or `out` is something else than a checkpoint.
    """
    folders, around = [*read, *named_path(settings.base_model)], list(state_folders(settings.checkpoints))
    refuse_foreign_folder(out, folders, around)
    for place in around:
        refuse_inside(place, folders)
    return folders, around


def _inputs(data: Path, base: BaseModel, loaded: Checkpoint, recipe: Recipe, posts: int, adapter: str) -> "_Inputs":
    """Return what a training run starts from, for its record and the identity of its states.

    Args:
        data: the folder that the filter step wrote.
        base: the base model.
        loaded: the same, loaded.
        recipe: with all derived settings filled in.
        posts: the number of training posts.
        adapter: the folder of the adapter that training goes on from; "" for none.
    """
    from components.finetune.adapters import start_digest  # imports torch, as training does

    return _Inputs(
        recipe=recipe,
        base_model=BaseModelRecord(base.name, base.weights_digest, base.revision, base.license, loaded.architecture.family),
        data_digest=digest(data / TRAIN_FILE),
        held_out_digest=digest(data / HELD_OUT_FILE),
        posts=posts,
        canaries=CanariesRecord(recipe.canaries, recipe.seed),
        versions={name: importlib.metadata.version(name) for name in ("mynah", "torch", "transformers")},
        start=start_digest(Path(adapter)) if adapter else "",
    )


def _write_weights(folder: Path, base: BaseModel, loaded: Checkpoint, training: "Trainer", record: BaseModelRecord) -> None:
    """Write what was trained: the adapter where it is kept by itself, else the model.

    Args:
        folder: the folder to write into.
        base: the base model.
        loaded: the trained model.
        training: the training run, for its adapter.
        record: the base model by digest.
    """
    if training.adapters:
        training.adapters.write(folder, base, record)
    else:
        save(loaded, folder)


def _write_beside(folder: Path, base: BaseModel, record: TrainingRecord, texts: Sequence[str]) -> None:
    """Write a model's record, its licence, and what the server needs to keep answers from repeating posts, and to their scripts.

    Args:
        folder: the folder to write into.
        base: the base model, for the texts of its licence.
        record: the content of training.json.
        texts: the training posts.
    """
    for kept_as, path in license_files(base.folder).items():
        shutil.copyfile(path, folder / kept_as)
    planted = canaries.texts(record.canaries.count, record.canaries.seed) if record.canaries else []
    write_bloom(folder, [*texts, *planted])
    write_scripts(folder, texts)
    record.write(folder)


@dataclass(frozen=True, slots=True)
class _Inputs:
    """What a training run is made from; the names are those of TrainingRecord."""

    recipe: Recipe  # with nothing left open
    base_model: BaseModelRecord
    data_digest: str
    held_out_digest: str
    posts: int
    canaries: CanariesRecord
    versions: Mapping[str, str]
    start: str = ""  # digest of the adapter that training goes on from

    def identity(self) -> dict[str, Any]:
        """What tells the states of this training run from those of others: another recipe, base model or text is another run.

        What memory allows is no part of it: a run may resume where there is less. What the base model's digest implies is none either.
        """
        base = {"name": self.base_model.name, "digest": self.base_model.digest, "revision": self.base_model.revision}
        values = {**asdict(self), "base_model": base, "recipe": {**self.recipe.to_record(), "micro_batch_tokens": 0}}
        return values if self.start else {name: value for name, value in values.items() if name != "start"}


def _record(inputs: _Inputs, result: "TrainingResult") -> TrainingRecord:
    return TrainingRecord(
        recipe=result.recipe.to_record(),
        base_model=inputs.base_model,
        data_digest=inputs.data_digest,
        held_out_digest=inputs.held_out_digest,
        posts=inputs.posts,
        canaries=inputs.canaries,
        versions=inputs.versions,
        history=tuple(result.history),
        best_epoch=result.best_epoch,
        steps=result.steps,
        tokens=result.tokens,
        seconds=round(result.seconds, 2),
        tokens_per_second=round(result.tokens / result.seconds, 1),
        device=result.device,
        device_name=result.device_name,
        kernels=result.kernels,
        precision=result.precision,
        flops_utilisation=result.flops_utilisation,
        memory_gb=result.memory_gb,
        processes=result.processes,
        out_of_time=result.out_of_time,
        stopped_early=result.stopped_early,
        resumed_at=tuple(result.resumed_at),
    )


def _notify_result(result: "TrainingResult") -> None:
    if result.out_of_time:
        notify(f"the time limit for fine-tuning was reached at step {result.steps}: the best model until then is kept", "warning")
    if result.best_epoch == 0:
        notify(
            "fine-tuning did not lower the held-out loss: the checkpoint is the model that it started from, unchanged", "warning"
        )
    if result.stopped_early:
        notify(f"stopped after epoch {len(result.history) - 1}: the held-out loss was lowest after epoch {result.best_epoch}")


def _needed_bytes(base: BaseModel, recipe: Recipe) -> int:
    """Return the space that the best epoch's weights and the model take: an fp32 checkpoint at most twice what a half-precision base does."""
    size = sum(path.stat().st_size for path in weight_files(base.folder))
    if not size:
        raise InputError(f"the weights in {base.folder} are empty", "Fetch the base model again.")
    if not recipe.lora_rank or recipe.merge:
        return 4 * size
    numbers = numbers_of(read_architecture(check_full(base.folder), base.folder), recipe.lora_rank)
    return numbers * (4 + 2)  # fp32, and bf16 in the adapter's folder
