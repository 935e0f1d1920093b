"""finetune: kept texts and a base model in, a Hugging Face checkpoint out.

The output folder works untouched with `transformers.pipeline("text-generation", model=FOLDER)`, and holds beside the
checkpoint training.json (recipe, history, digests: the record the card quotes) and steps.jsonl (metrics per step).
"""

import importlib.metadata
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components import canaries, checkpoint
from components.checkpoint import END_OF_TEXT, Checkpoint
from components.errors import InputError
from components.events import say, waiting
from components.files import atomic_folder, digest, refuse_foreign_folder, require_space, write_json, write_lines
from components.filter import read_by_author
from components.finetune.base_model import FLEDGLING, BaseModel, resolve
from components.finetune.batches import shares
from components.finetune.recipe import Recipe
from components.finetune.together import finetune_together, gpus, under_torchrun
from components.verbatim import write_bloom

if TYPE_CHECKING:
    from components.finetune.states import States
    from components.finetune.train import Result


@dataclass(frozen=True, slots=True)
class FinetuneSettings:
    """What a person can choose about fine-tuning."""

    base_model: str = FLEDGLING
    recipe: Recipe = field(default_factory=Recipe)
    seconds: float | None = None  # that it may take in all; it then keeps the best model that it had by then
    checkpoints: str = (
        ""  # folder or s3:// address where training states are kept, to go on from after an interruption; "" keeps none
    )
    checkpoint_seconds: float = 300.0  # between two of them
    processes: int = 0  # that train together on this machine; 0: one per GPU, or one
    learnt_from: Sequence[str] = ()  # authors whose posts the base model was fine-tuned on: its training states are theirs too


def finetune(
    data: Path, out: Path, settings: FinetuneSettings, on_step: Callable[[int, dict[str, float]], None] | None = None
) -> dict[str, Any]:
    """Fine-tune `settings.base_model` on the texts of `data`, write the checkpoint to `out` and return its training.json.

    Raises InputError for data or a base model that cannot be used, PlatformError for a full disk (asked before the first
    step) or an unreachable hub, MynahError when the loss explodes. Nothing is left in `out` unless all went well.
    """
    if settings.processes != 1 and not under_torchrun() and (processes := settings.processes or gpus()) > 1:
        resolve(settings.base_model)  # a download, perhaps: once
        return finetune_together(data, out, replace(settings, processes=processes), on_step)
    deadline = math.inf if settings.seconds is None else time.monotonic() + settings.seconds
    train, held_out = read_by_author(data, "train"), read_by_author(data, "held_out")
    shares(list(train), settings.recipe.weights)  # names somebody who is not there, perhaps
    base = resolve(settings.base_model)
    refuse_foreign_folder(out)
    require_space(out.parent, 2 * _weight_bytes(base), "writing the fine-tuned model")
    with waiting(f"Loading {base.name}"):
        from components.finetune.processes import Processes
        from components.finetune.train import Training  # torch: 2 s, so after everything that can fail without it

        loaded, joined = checkpoint.load(base.folder), Processes.joined()
    training = Training(loaded, train, held_out, settings.recipe, joined, settings.learnt_from)
    about = {
        "recipe": training.recipe.to_record(),
        "base_model": {"name": base.name, "revision": base.revision, "digest": base.weights_digest},
        "data_digest": digest(data / "train.jsonl"),
        "held_out_digest": digest(data / "held_out.jsonl"),
        "posts": sum(map(len, train.values())),
        "canaries": {"count": settings.recipe.canaries, "seed": settings.recipe.seed},
        "versions": {name: importlib.metadata.version(name) for name in ("mynah", "torch", "transformers")},
    }
    states = _states(settings, about)
    result = training.run(on_step or (lambda *_: None), deadline, states, settings.checkpoint_seconds)
    record = {**about, **result.to_record()}
    if not joined.first:
        return record
    _tell(result)
    with atomic_folder(out) as folder:
        save(loaded, folder)
        write_bloom(folder, [*(text for theirs in train.values() for text in theirs), *canaries.of(record)])
        write_json(folder / "training.json", record)
        write_lines(folder / "steps.jsonl", training.log)
    if states:
        states.clear()
    return record


def _states(settings: FinetuneSettings, about: Mapping[str, Any]) -> "States | None":
    """Where this very training keeps its states: another recipe, base model or text, and they are another's."""
    if not settings.checkpoints:
        return None
    from components.finetune.states import States

    # What memory allows is no part of it: a training may go on where there is less.
    return States(settings.checkpoints, {**about, "recipe": {**about["recipe"], "micro_batch_tokens": 0}})


def _tell(result: "Result") -> None:
    if result.out_of_time:
        say(f"the time for fine-tuning was over at step {result.steps}: the best model until then is kept", "warning")
    if result.best_epoch == 0:
        say("fine-tuning did not lower the held-out loss: the checkpoint is the base model as it was", "warning")
    if result.stopped_early:
        say(f"stopped after epoch {len(result.history) - 1}: the held-out loss was lowest after epoch {result.best_epoch}")


def save(loaded: Checkpoint, folder: Path) -> None:
    """Write weights, tokenizer and the generation defaults of the original's demo, so that a bare pipeline samples posts."""
    from transformers import GenerationConfig

    loaded.model.generation_config = GenerationConfig(
        do_sample=True, temperature=1.0, top_p=0.95, top_k=0, min_new_tokens=10, max_new_tokens=160,
        bos_token_id=loaded.end, eos_token_id=loaded.end, pad_token_id=loaded.end,
    )  # fmt: skip
    # Read by transformers' pipeline: every prompt starts where a post starts.
    loaded.model.config.task_specific_params = {"text-generation": {"prefix": END_OF_TEXT}}
    loaded.model.save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)
    for path in folder.iterdir():
        path.chmod(0o644)  # transformers writes weights for their owner alone, and a server runs as somebody else


def _weight_bytes(base: BaseModel) -> int:
    """Bytes of the weights on disk; an fp32 checkpoint takes at most twice that of a half-precision base."""
    found = sum(path.stat().st_size for path in base.folder.glob("*.safetensors"))
    if not found:
        raise InputError(f"the weights in {base.folder} are empty", "Fetch the base model again.")
    return found
