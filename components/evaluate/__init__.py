"""evaluate: a fine-tuned model and its data in, a report with metrics, samples and the gate's verdict out.

Writes metrics.json, verdict.json, samples.json and report.md into its output folder.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components import checkpoint
from components.checkpoint import Checkpoint
from components.errors import InputError
from components.evaluate.gate import GATE_FILE, Verdict, judge, read_gate
from components.evaluate.metrics import Memory, distinct
from components.events import progress
from components.files import atomic_folder, read_json, refuse_foreign_folder, write_json, write_text
from components.filter import read_texts
from components.finetune.base_model import FLEDGLING, resolve
from components.seen import read_seen, unseen

PROMPTS = ("My dream is", "I like", "My favourite thing is", "")


@dataclass(frozen=True, slots=True)
class EvaluateSettings:
    """What a person can choose about evaluation."""

    base_model: str = ""  # name or folder; "": the one that the model's training.json names
    samples: int = 60  # in all, shared among the prompts
    seed: int = 42
    gate: Path = GATE_FILE


def evaluate(model: Path, data: Path, out: Path, settings: EvaluateSettings) -> Verdict:
    """Measure `model` on the held-out posts of `data` against its base model and on samples, and judge it by the gate.

    A model that was continued is measured without those that it knows from before.

    Raises InputError for an empty held-out set, a model that does not load, or a gate that cannot be applied: never a
    verdict by default.
    """
    gate = read_gate(settings.gate)
    held_out, train = unseen(read_texts(data, "held_out"), read_seen(model)), read_texts(data, "train")
    if not held_out:
        raise InputError(f"{model} was continued from one that knew all held-out posts", "Evaluate it on newer posts.")
    refuse_foreign_folder(out)
    base = resolve(settings.base_model or base_model_of(model))
    with progress("Evaluating", 2 + len(PROMPTS), "measurements") as advance:
        loaded = checkpoint.load(model)
        metrics = _losses(loaded, "", held_out)
        advance(1, "held-out loss")
        metrics |= _losses(checkpoint.load(base.folder), "base_", held_out)
        metrics["loss_gain"] = metrics["base_held_out_loss"] - metrics["held_out_loss"]
        _require_numbers(model, metrics)
        advance(1, "the base model's")
        samples, began = [], time.monotonic()
        for prompt in PROMPTS:
            samples.append(_sample(loaded, prompt, settings))
            advance(1, "samples")
        seconds = time.monotonic() - began
    texts = [text for group in samples for text in group["texts"]]
    metrics |= {**sample_metrics(texts, train), "answers_per_second": len(texts) / seconds}
    verdict = judge(metrics, gate)
    with atomic_folder(out) as folder:
        write_json(folder / "metrics.json", metrics)
        write_json(folder / "verdict.json", verdict.to_record())
        write_json(folder / "samples.json", samples)
        write_text(folder / "report.md", report(metrics, verdict))
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


def sample_metrics(texts: Sequence[str], train: Sequence[str]) -> dict[str, float]:
    """Diversity and memorisation of samples: distinct_1, distinct_2, memorised_share, longest_verbatim_words."""
    memory = Memory(train)
    return {
        "samples": float(len(texts)),
        "distinct_1": distinct(texts, 1),
        "distinct_2": distinct(texts, 2),
        "memorised_share": sum(memory.memorised(text) for text in texts) / len(texts),
        "longest_verbatim_words": float(max(len(memory.longest_run(text)) for text in texts)),
    }


def _require_numbers(model: Path, metrics: dict[str, float]) -> None:
    """Before sampling, which a broken model cannot do, and before the gate, which must never see what is no number."""
    broken = [name for name, value in metrics.items() if not math.isfinite(value)]
    if broken:
        raise InputError(
            f"the model {model} gives {', '.join(broken)} that are not numbers", "Train it again with a lower learning rate."
        )


def report(metrics: dict[str, float], verdict: Verdict) -> str:
    """The report as Markdown: the verdict, each check, every metric."""
    checks = "\n".join(f"- {'pass' if check.passed else '**FAIL**'}: {check}" for check in verdict.checks)
    table = "\n".join(f"| {name} | {value:.4g} |" for name, value in metrics.items())
    return f"# Verdict: {'passed' if verdict.passed else 'not passed'}\n\n{checks}\n\n| metric | value |\n|---|---|\n{table}\n"


def _losses(loaded: Checkpoint, prefix: str, texts: Sequence[str]) -> dict[str, float]:
    from components.scoring import score

    found = score(loaded, texts)
    return {
        f"{prefix}held_out_loss": found.loss,
        f"{prefix}perplexity": found.perplexity,
        f"{prefix}bits_per_character": found.bits_per_character,
    }


def _sample(loaded: Checkpoint, prompt: str, settings: EvaluateSettings) -> dict[str, Any]:
    from components.generation import Sampling, generate

    count = max(5, settings.samples // len(PROMPTS))
    return {"prompt": prompt, "texts": generate(loaded, prompt, Sampling(n=count, max_tokens=60, seed=settings.seed))}
