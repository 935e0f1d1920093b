"""evaluate: a fine-tuned model and its data in, a report with metrics, samples and the gate's verdict out.

Writes metrics.json, verdict.json, samples.json, report.md, report.html and blind.html into its output folder.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from components import canaries, checkpoint
from components.checkpoint import Checkpoint
from components.errors import InputError
from components.evaluate.champion import Champion
from components.evaluate.gate import GATE_FILE, Verdict, judge, read_gate
from components.evaluate.losses import compared, losses, require_same_tokens
from components.evaluate.samples import FEWEST, MOST, Samples, draw
from components.evaluate.texts import copies, measure_texts
from components.events import progress
from components.fields import Field
from components.files import atomic_folder, read_json, refuse_foreign_folder, write_json, write_text
from components.filter import read_texts
from components.finetune.base_model import FLEDGLING, BaseModel, resolve
from components.seen import read_seen, unseen


@dataclass(frozen=True, slots=True)
class EvaluateSettings:
    """What a person can choose about evaluation. Refuses nonsense when it is built."""

    base_model: str = ""  # name or folder; "": the one that the model's training.json names
    samples: int = MOST  # in all, half of them from nothing
    seed: int = 42
    gate: Path = GATE_FILE

    def __post_init__(self) -> None:
        if not FEWEST <= self.samples <= MOST:
            raise InputError(f"{self.samples} samples were asked for", f"Ask for {FEWEST} to {MOST}.")


def evaluate(model: Path, data: Path, out: Path, settings: EvaluateSettings, champion: Champion | None = None) -> Verdict:
    """Measure `model` on the held-out posts of `data` against its base model and the `champion`, and on samples; judge by the gate.

    A model that was continued is measured without those that it knows from before.

    Raises InputError for an empty held-out set, a model that does not load or whose losses are no numbers, a base model with another
    tokenizer, or a gate that cannot be applied: never a verdict by default, and `out` stays as it was.
    """
    from components.evaluate.pages import write_pages  # the card's parts, which read the definitions of this package

    began = time.monotonic()
    gate = read_gate(settings.gate)
    held_out, train = unseen(read_texts(data, "held_out"), read_seen(model)), read_texts(data, "train")
    if not held_out:
        raise InputError(f"{model} was continued from one that knew all held-out posts", "Evaluate it on newer posts.")
    refuse_foreign_folder(out)
    base = resolve(settings.base_model or base_model_of(model))
    with progress("Evaluating", 4 + 2, "measurements") as advance:
        loaded = checkpoint.load(model)
        metrics = losses(loaded, held_out) | {"held_out_posts": float(len(held_out))}
        advance(1, "held-out loss")
        metrics |= _against_base(loaded, base, held_out, metrics["held_out_loss"])
        _require_numbers(model, metrics)
        advance(1, "the base model's")
        metrics |= compared(loaded, champion, held_out) if champion else {}
        advance(1, "the champion's")
        planted = _planted(model)
        metrics |= {"canary_exposure": canaries.exposure(loaded, *planted)} if planted else {}
        advance(1, "canaries")
        samples = draw(model, train, settings.samples, settings.seed, advance)
    found, offenders = measure_texts(samples, train, held_out, settings.seed)
    offenders["canary_exposure"] = copies(samples.texts, canaries.texts(*planted)) if planted else []
    metrics |= {**found, "evaluation_seconds": time.monotonic() - began}
    _require_numbers(model, metrics)
    verdict = judge(metrics, gate, offenders)
    with atomic_folder(out) as folder:
        _write(folder, metrics, verdict, samples)
        write_pages(folder, model, data)
    return verdict


def base_model_of(model: Path) -> str:
    """The base model that `model` was fine-tuned from, by its training.json.

    Raises InputError when it was a folder: the record keeps only its name, by which the hub may have another model.
    """
    record = read_json(model / "training.json", "finetune")
    try:
        name, revision = str(record["base_model"]["name"]), record["base_model"].get("revision")
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{model / 'training.json'} does not name a base model", "Name it with --base-model.") from error
    if revision == "" and name != FLEDGLING:
        raise InputError(f"{model} was fine-tuned from a folder called {name!r}", "Name that folder with --base-model.")
    return name


def _write(folder: Path, metrics: Mapping[str, float], verdict: Verdict, samples: Samples) -> None:
    from components.evaluate.report import report

    write_json(folder / "metrics.json", metrics)
    write_json(folder / "verdict.json", verdict.to_record())
    write_json(folder / "samples.json", samples.to_record())
    write_text(folder / "report.md", report(metrics, verdict))


def _against_base(loaded: Checkpoint, base: BaseModel, held_out: Sequence[str], loss: float) -> dict[str, float]:
    theirs = checkpoint.load(base.folder)
    require_same_tokens(loaded, theirs, base.name, held_out)
    found = losses(theirs, held_out, "base_")
    return {**found, "loss_gain": found["base_held_out_loss"] - loss}


def _planted(model: Path) -> tuple[int, int] | None:
    """How many canaries were planted in a model's training, and by which seed; None where none were, or nobody noted it."""
    planted = Field.read(model / "training.json", "finetune").get("canaries")
    if planted.value is None or not planted["count"].count():
        return None
    return planted["count"].count(), planted["seed"].count()


def _require_numbers(model: Path, metrics: Mapping[str, float]) -> None:
    """Before sampling, which a broken model cannot do, and before the gate, which must never see what is no number."""
    broken = [name for name, value in metrics.items() if not math.isfinite(value)]
    if broken:
        raise InputError(
            f"the model {model} gives {', '.join(broken)} that are not numbers", "Train it again with a lower learning rate."
        )
