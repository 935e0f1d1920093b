"""The files from which the report's pages are made, as the steps write them."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.code.card_inputs import column, training

METRICS = {
    "held_out_loss": 4.01, "perplexity": 55.1, "bits_per_character": 1.9, "base_held_out_loss": 5.2, "base_perplexity": 181.3,
    "base_bits_per_character": 2.4, "loss_gain": 1.19, "held_out_posts": 20, "samples": 24, "distinct_1": 0.41, "distinct_2": 0.83,
    "memorised_share": 0.02, "longest_verbatim_words": 9, "style_auc": 0.731, "profanity_share": 0.02, "author_profanity_share": 0.031,
    "profanity_excess": -0.011, "answers_per_second": 21.4,
}  # fmt: skip


def check(
    metric: str, value: float | None, limit: float, passed: bool = True, at_least: bool = False, **more: object
) -> dict[str, Any]:
    """One line of the verdict."""
    line = {"metric": metric, "value": value, "limit": limit, "at_least": at_least, "passed": passed, "reason": f"why {metric}"}
    return {**line, "samples": [], **more}


def verdict(*checks: dict[str, Any]) -> dict[str, Any]:
    """verdict.json of these checks."""
    failures = [each for each in checks if not each["passed"]]
    return {"passed": bool(checks) and not failures, "failures": failures, "checks": list(checks)}


def funnel(*authors: dict[str, Any]) -> dict[str, Any]:
    """funnel.json of these authors."""
    return {"rules": "default", "authors": list(authors), "train": 40, "held_out": 20, "seed": 42}


@dataclass
class ReportInputs:
    """The three folders; change a file's content, then `write` them below a folder."""

    metrics: Any = field(default_factory=lambda: dict(METRICS))
    verdict: Any = field(
        default_factory=lambda: verdict(check("loss_gain", 1.19, 0.1, at_least=True), check("memorised_share", 0.02, 0.1))
    )
    samples: Any = field(
        default_factory=lambda: [
            {"prompt": "", "texts": [f"A bird number {place} was heard by nobody." for place in range(12)]},
            {"prompt": "My dream is", "texts": [f"My dream is to sing number {place}." for place in range(12)]},
        ]
    )
    training: Any = field(default_factory=training)
    funnel: Any = field(default_factory=lambda: funnel(column("wren_groundling")))
    train: Any = field(default_factory=lambda: [f"This is the training post {place} of a person." for place in range(40)])
    held_out: Any = field(default_factory=lambda: [f"That is the other post {place} of a person." for place in range(20)])

    def write(self, root: Path) -> tuple[Path, Path, Path]:
        """Write the files below `root`; returns the report, the model and the data folder."""
        places = {"report": ("metrics", "verdict", "samples"), "model": ("training",), "data": ("funnel",)}
        for folder, names in places.items():
            (root / folder).mkdir(parents=True, exist_ok=True)
            for name in names:
                (root / folder / f"{name}.json").write_text(json.dumps(getattr(self, name)), "utf-8")
        for part in ("train", "held_out"):
            lines = [
                json.dumps({"id": str(place), "author": "wren", "text": text}) for place, text in enumerate(getattr(self, part))
            ]
            (root / "data" / f"{part}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
        return root / "report", root / "model", root / "data"
