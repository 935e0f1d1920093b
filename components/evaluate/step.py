"""The evaluate step: measures a fine-tuned model and writes a report with metrics, samples and the gate's verdict.

It writes metrics.json, verdict.json, samples.json, machine.json, report.md, report.html and blind.html into its output folder.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.evaluate.champion_comparison import Champion
from components.evaluate.gate import GATE_FILE, judge, read_gate
from components.evaluate.loss_metrics import champion_metrics, losses, require_same_tokens
from components.evaluate.made_up_words import why_left_out
from components.evaluate.report_html.pages import write_pages
from components.evaluate.report_markdown import report
from components.evaluate.sample_metrics import measure_texts, memorised_texts
from components.evaluate.samples import MAX_SAMPLES, MIN_SAMPLES, Samples, generate_samples
from components.evaluate.word_order import NO_ORDER, WordOrder, word_order
from mynah.core.errors import InputError
from mynah.core.files import atomic_folder, refuse_foreign_folder, write_text
from mynah.core.progress import Advance, progress
from mynah.data.datasets import read_texts
from mynah.data.funnel import Funnel
from mynah.data.text_digests import read_seen, unseen
from mynah.decoding.requirements import require_kernels
from mynah.models import canaries, checkpoint
from mynah.models.base_models import named_path, resolve
from mynah.models.checkpoint import Checkpoint
from mynah.models.evaluation_record import REPORT_FILE, Metrics, write_samples
from mynah.models.verdict import Verdict
from mynah.training.training_record import TrainingRecord


@dataclass(frozen=True, slots=True)
class EvaluateSettings:
    """The settings of an evaluation. Raises InputError for an invalid value."""

    base_model: str = ""  # name or folder; "": the one that the model's training.json names
    samples: int = MAX_SAMPLES  # half of them without a prompt
    seed: int = 42
    gate: Path = GATE_FILE

    def __post_init__(self) -> None:
        if not MIN_SAMPLES <= self.samples <= MAX_SAMPLES:
            raise InputError(f"samples is {self.samples}", f"Use {MIN_SAMPLES} to {MAX_SAMPLES} samples.")


def evaluate(model: Path, data: Path, out: Path, settings: EvaluateSettings, champion: Champion | None = None) -> Verdict:
    """Measure a model on held-out posts and on samples, compare it with its base model and the champion, and apply the gate.

    Held-out posts that a continued model was trained on before are left out. After an error there is no verdict, and `out` is unchanged.

    Args:
        model: the finetune step's checkpoint.
        data: the filter step's texts.
        out: the report's folder, which is written.
        settings: the base model, the number of samples, the seed and the gate.
        champion: the model to compare with, or None.

    Returns:
        The verdict.

    Raises:
        InputError: the held-out set is empty, the model does not load or its losses are not finite, the base model has another tokenizer,
            the gate cannot be applied, or `out` overlaps an input or must not be replaced.
    """
    started = time.monotonic()
    inputs = [model, data, settings.gate, *named_path(settings.base_model), *([champion.folder] if champion else [])]
    refuse_foreign_folder(out, inputs)
    require_kernels()
    gate = read_gate(settings.gate)
    held_out, train = _held_out(data, model), read_texts(data, "train")
    languages = Funnel.read(data).languages
    training = TrainingRecord.read(model)
    planted = training.canaries if training.canaries and training.canaries.count else None
    base = resolve(settings.base_model or _base_model(model, training))
    with progress("Evaluating", 5 + 2, "measurements") as advance:
        loaded, base_model = checkpoint.load(model), checkpoint.load(base.folder)
        require_same_tokens(loaded, base_model, base.name, held_out)
        metrics = _losses(loaded, base_model, champion, held_out, advance)
        metrics |= {"canary_exposure": canaries.exposure(loaded, planted.count, planted.seed)} if planted else {}
        advance(1, "canaries")
        samples = generate_samples(model, train, settings.samples, settings.seed, advance)
        order = word_order(base_model, samples.texts, held_out, settings.seed)
        advance(1, "the order of words")
    listed = () if why_left_out(languages) else languages
    sample_metrics, offenders = measure_texts(samples, train, held_out, settings.seed, listed, order)
    offenders["canary_exposure"] = memorised_texts(samples.texts, canaries.texts(planted.count, planted.seed)) if planted else []
    metrics |= {**sample_metrics, "evaluation_seconds": time.monotonic() - started}
    _require_numbers(model, metrics)
    verdict = judge(metrics, gate, offenders, _left_out(languages, order))
    with atomic_folder(out, inputs) as folder:
        _write(folder, metrics, verdict, samples)
        write_pages(folder, model, data)
    return verdict


def _held_out(data: Path, model: Path) -> list[str]:
    """Return the held-out posts that the model does not know from its parent. Raises InputError for none."""
    held_out = unseen(read_texts(data, "held_out"), read_seen(model))
    if not held_out:
        raise InputError(
            f"{model} was continued from a model that was trained on all held-out posts", "Evaluate it on newer posts."
        )
    return list(held_out)


def _base_model(model: Path, training: TrainingRecord) -> str:
    """Return the name of the base model that a model was fine-tuned from.

    Args:
        model: the model's folder, for the message.
        training: its training record.

    Raises:
        InputError: the base model was a folder or file; the record has only its name, which may be another model's on the hub.
    """
    base = training.base_model
    if base.is_folder:
        raise InputError(f"{model} was fine-tuned from a folder or file called {base.name!r}", "Name it with --base-model.")
    return base.name


def _left_out(languages: Sequence[str], order: WordOrder | None) -> dict[str, str]:
    """The metrics that these posts have no measure of, with why."""
    why = why_left_out(languages)
    made_up = {"made_up_excess": why, "made_up_share": why, "author_made_up_share": why} if why else {}
    return made_up if order else {**made_up, "word_order_share": NO_ORDER}


def _write(folder: Path, metrics: Mapping[str, float], verdict: Verdict, samples: Samples) -> None:
    Metrics(metrics).write(folder)
    verdict.write(folder)
    write_samples(folder, samples.by_prompt)
    if samples.machine:
        samples.machine.write(folder)
    write_text(folder / REPORT_FILE, report(metrics, verdict))


def _losses(
    loaded: Checkpoint, base_model: Checkpoint, champion: Champion | None, held_out: Sequence[str], advance: Advance
) -> dict[str, float]:
    """Return the losses of the model, its base model and the champion on held-out posts. Raises InputError for losses that are not finite."""
    metrics = losses(loaded, held_out) | {"held_out_posts": float(len(held_out))}
    advance(1, "held-out loss")
    metrics |= losses(base_model, held_out, "base_")
    metrics["loss_gain"] = metrics["base_held_out_loss"] - metrics["held_out_loss"]
    _require_numbers(loaded.folder, metrics)
    advance(1, "the base model's")
    metrics |= champion_metrics(loaded, champion, held_out) if champion else {}
    advance(1, "the champion's")
    return metrics


def _require_numbers(model: Path, metrics: Mapping[str, float]) -> None:
    """Raise InputError for metrics that are not finite: a model with such losses cannot be sampled, and the gate needs numbers."""
    broken = [name for name, value in metrics.items() if not math.isfinite(value)]
    if broken:
        raise InputError(
            f"the model {model} gives {', '.join(broken)}, which are not finite numbers",
            "Train it again with a lower learning rate.",
        )
