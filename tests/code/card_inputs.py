"""The folders that the card step reads, as the steps before it write them."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


def source(author: str, **changes: object) -> dict[str, Any]:
    """One entry of sources.json."""
    return {
        "source": f"archive:{author}.zip",
        "kind": "x-export",
        "author": author,
        "display_name": "Wren Groundling",
        "bio": "Small bird, long sentences.",
        "posts": 1700,
        "first": "2019-04-01T08:00:00+00:00",
        "last": "2023-06-30T21:15:00+00:00",
        "sha256": "ab" * 32,
        "fetched_at": "2024-01-02T03:04:05+00:00",
        "basis": "own posts",
        "avatar": "",
    } | changes


def column(author: str, downloaded: int = 1700, **dropped: int) -> dict[str, Any]:
    """One author's column of funnel.json, which adds up."""
    dropped = dropped or {"retweet": 120, "short": 90, "duplicate": 40}
    kept = downloaded - sum(dropped.values())
    characters = kept * 68
    return {
        "author": author,
        "downloaded": downloaded,
        "dropped": dropped,
        "kept": kept,
        "kept_characters": characters,
        "language": "en",
    }


def training(**changes: object) -> dict[str, Any]:
    """training.json."""
    return {
        "recipe": {"preset": "default", "epochs": 4, "learning_rate": 5e-4, "schedule": "cosine"},
        "base_model": {"name": "fledgling", "digest": "cd" * 32},
        "data_digest": "ef" * 32,
        "held_out_digest": "01" * 32,
        "posts": 1305,
        "tokens": 40000,
        "steps": 328,
        "device": "cpu",
        "precision": "bf16",
        "seconds": 31.2,
        "tokens_per_second": 5100.0,
        "history": [
            {"epoch": 0, "train_loss": None, "held_out_loss": 5.2},
            {"epoch": 1, "train_loss": 4.4, "held_out_loss": 4.1},
            {"epoch": 2, "train_loss": 4.05, "held_out_loss": 4.01},
        ],
        "best_epoch": 2,
        "versions": {"torch": "2.13.0+cpu", "transformers": "5.17.0", "mynah": "0.1.0"},
    } | changes


def continual(*authors: str, **changes: object) -> dict[str, Any]:
    """The part "continual" of training.json: going on from version 1 was better, and it knew posts of `authors`."""
    return {
        "from": 1,
        "chosen": "continue",
        "beats": True,
        "new_posts": 60,
        "replayed_posts": 120,
        "gone_posts": 0,
        "held_out_posts": 30,
        "held_out_left_out": 0,
        "loss": {"continue": 3.9, "start over": 4.0, "champion": 4.1},
        "seconds": {"continue": 45.0, "start over": 85.0},
        "tokens": {"continue": 9000, "start over": 20000},
        "authors": list(authors),
    } | changes


def metrics(**changes: object) -> dict[str, Any]:
    """metrics.json."""
    return {
        "held_out_loss": 4.01,
        "base_held_out_loss": 5.2,
        "bits_per_character": 1.9,
        "base_bits_per_character": 2.4,
        "perplexity": 55.1,
        "distinct_1": 0.41,
        "distinct_2": 0.83,
        "memorised_share": 0.02,
        "samples": 50,
    } | changes


def verdict(passed: bool = True) -> dict[str, Any]:
    """verdict.json with one check."""
    reason = "the loss fell by more than the gate asks" if passed else "the loss fell too little"
    check = {
        "metric": "loss_gain",
        "value": 0.9 if passed else 0.05,
        "limit": 0.1,
        "at_least": True,
        "passed": passed,
        "reason": reason,
        "samples": [] if passed else ["My dream is to say one thing.", "I like to say one thing."],
    }
    return {"passed": passed, "checks": [check], "failures": [] if passed else [check]}


def samples(*texts: str, prompt: str = "My dream is") -> list[dict[str, Any]]:
    """samples.json with one prompt."""
    return [{"prompt": prompt, "texts": list(texts or [f"{prompt} to sing number {place}." for place in range(1, 6)])}]


@dataclass
class CardInputFiles:
    """The three folders; change a file's content, then `write` them below a folder."""

    sources: Any = field(default_factory=lambda: [source("wren_groundling")])
    funnel: Any = field(
        default_factory=lambda: {
            "rules": "default",
            "authors": [column("wren_groundling")],
            "train": 1305,
            "held_out": 145,
            "seed": 42,
        }
    )
    training: Any = field(default_factory=training)
    metrics: Any = field(default_factory=metrics)
    verdict: Any = field(default_factory=verdict)
    samples: Any = field(default_factory=samples)

    def write(self, root: Path) -> tuple[Path, Path, Path]:
        """Write the files below `root`; returns the model, the data and the report folder."""
        places = {"data": ("sources", "funnel"), "model": ("training",), "report": ("metrics", "verdict", "samples")}
        for folder, names in places.items():
            (root / folder).mkdir(parents=True, exist_ok=True)
            for name in names:
                (root / folder / f"{name}.json").write_text(json.dumps(getattr(self, name)), "utf-8")
        return root / "model", root / "data", root / "report"
