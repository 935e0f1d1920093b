"""The recipe: all settings of fine-tuning in one typed object, validated when it is built."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from mynah.core.errors import NAME_OF_TYPE, InputError
from mynah.core.names import nearest

# PyYAML raises ValueError for a date of month 13 or a number of 4,300 digits, and RecursionError for deep nesting.
NOT_YAML = (yaml.YAMLError, ValueError, RecursionError)
SCHEDULES = ("cosine", "linear", "constant")


EFFORTS: dict[str, dict[str, Any]] = {
    "quick": {"patience": 0},
    "standard": {"patience": 2},
    "best": {"patience": 3},
}
PACKINGS = ("posts", "stream")


@dataclass(frozen=True, slots=True)
class Recipe:
    """The settings of fine-tuning. The defaults are the preset `default` at the effort `standard`; `PRESETS` and `EFFORTS` hold others.

    A 0 in a field named in `DERIVED` is derived from the model and the texts when training starts (`derived_settings.derive`).
    """

    preset: str = "default"
    effort: str = "standard"
    epochs: int = 0
    patience: int = 2  # epochs without a lower held-out loss after which training stops; 0: never
    learning_rate: float = 0.0
    schedule: str = "cosine"
    warmup: float = 0.05  # share of the steps over which the learning rate rises
    batch_tokens: int = 0  # predicted tokens per optimizer step
    micro_batch_tokens: int = 0  # tokens of a batch per forward pass; gradients are accumulated over the batch
    block: int = 0  # tokens per row
    packing: str = "posts"  # posts: several per row, with attention within each; stream: concatenated, as in huggingtweets
    dropout: float = 0.0
    beta2: float = 0.0  # of AdamW: how slowly its mean of squared gradients changes
    weight_decay: float = 0.01  # decoupled, on matrices only (Loshchilov & Hutter 2019)
    max_grad_norm: float = 1.0
    bf16: bool = True  # bf16 autocast, on hardware that supports it
    compile: bool = False  # use torch.compile: a minute at the start, then faster steps on a GPU
    lora_rank: int = (
        0  # of low-rank adapters (Hu et al. 2021), kept by themselves beside the base model's name; 0 trains all weights
    )
    merge: bool = False  # adapters are merged into a full model at the end
    # Shares of an epoch's characters by author; authors without one divide the rest.
    weights: dict[str, float] = field(default_factory=dict)
    replay: float = 100.0  # in continued training, replayed characters of old posts per character of new ones
    canaries: int = 4  # invented sentences added to the training texts, by which evaluation measures memorisation
    seed: int = 42

    def __post_init__(self) -> None:
        for name, kind in KINDS.items():
            _require_type(name, getattr(self, name), kind)
        for name, low, high in RANGES:
            value = getattr(self, name)
            if not (low <= value <= high or (value == 0 and name in DERIVED)) or not math.isfinite(value):
                raise InputError(
                    f"recipe: {name} is {value!r}, and must be from {low} to {high}{WHY.get(name, '')}",
                    f"Change it with --set {name}=…",
                )
        for name, known in (
            ("schedule", SCHEDULES),
            ("packing", PACKINGS),
            ("effort", tuple(EFFORTS)),
            ("preset", tuple(PRESETS)),
        ):
            _require_known(name, getattr(self, name), known)
        for author, share in self.weights.items():
            if not isinstance(author, str) or type(share) is not float or not 0 <= share <= 1:
                raise InputError(
                    f"recipe: the weight of {author!r} is {share!r}, and must be from 0 to 1", "Write --weight ann=0.7."
                )

    def to_record(self) -> dict[str, Any]:
        """Return the recipe as a JSON object, without settings that are still to be derived."""
        return {key: value for key, value in asdict(self).items() if value or key not in DERIVED}


RECIPE_FILE = "recipe.yaml"  # what a search found, in its folder
DERIVED = ("epochs", "learning_rate", "beta2", "batch_tokens", "micro_batch_tokens", "block")
KINDS = {field_.name: dict if field_.name == "weights" else type(field_.default) for field_ in fields(Recipe)}
RANGES = (
    ("epochs", 1, 1000),
    ("patience", 0, 1000),
    ("learning_rate", 1e-8, 1.0),
    ("warmup", 0.0, 0.9),
    ("batch_tokens", 16, 2**24),
    ("micro_batch_tokens", 16, 2**24),
    ("block", 16, 2**16),
    ("beta2", 0.5, 0.99999),
    ("dropout", 0.0, 0.9),
    ("weight_decay", 0.0, 10.0),
    ("max_grad_norm", 1e-3, 1e6),
    ("lora_rank", 0, 1024),
    ("replay", 0.0, 100.0),
    ("canaries", 1, 64),
    ("seed", 0, 2**32 - 1),
)
WHY = {"canaries": ": the gate needs their exposure, and passes no bot without it"}
# huggingtweets-train.py of https://github.com/borisdayma/huggingtweets, with the defaults of transformers' Trainer (AdamW without
# decay, gradients clipped at 1, GPT-2's dropout of 0.1, fp32): one block of GPT-2's context per step, without early stopping.
HUGGINGTWEETS: dict[str, Any] = {
    "epochs": 4, "patience": 0, "learning_rate": 1.372e-4, "schedule": "cosine", "warmup": 0.0, "batch_tokens": 1024,
    "packing": "stream", "dropout": 0.1, "beta2": 0.999, "weight_decay": 0.0, "bf16": False,
}  # fmt: skip
PRESETS: dict[str, dict[str, Any]] = {"default": {}, "huggingtweets": HUGGINGTWEETS}


def build(preset: str = "default", changes: dict[str, Any] | None = None) -> Recipe:
    """Return a preset's recipe with changes. Raises InputError for an unknown key, naming the nearest known one."""
    _require_known("preset", preset, tuple(PRESETS))
    changes = changes or {}
    for key in changes:
        _require_known("key", key, tuple(KINDS))
    if changes.get("epochs") == 0:  # in a recipe 0 stands for what is derived
        raise InputError("recipe: epochs is 0, and must be from 1 to 1000", "Leave it out, or change it with --set epochs=…")
    if changes.get("preset", preset) != preset:  # the record would name a preset whose values it does not have
        raise InputError(f"recipe: the preset is {preset!r} and {changes['preset']!r}", "Name one preset.")
    effort = changes.get("effort", "standard")
    _require_known("effort", effort, tuple(EFFORTS))
    values = {key: _number(key, value) for key, value in changes.items()}
    return Recipe(**{"preset": preset, **EFFORTS[effort], **PRESETS[preset], **values})


def read(
    path: Path | None, assignments: Sequence[str] | None = (), effort: str | None = None, weights: Sequence[str] | None = ()
) -> Recipe:
    """Return the recipe of a YAML file and command-line options.

    Args:
        path: a YAML file with `preset:` and changes to it, or None.
        assignments: `key=value` texts.
        effort: the effort, or None.
        weights: `author=share` texts.

    Raises:
        InputError: one of them is invalid.
    """
    changes = _read_yaml(path) if path else {}
    for text in assignments or ():
        key, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"--set takes key=value, and got {text!r}", "Write for example --set epochs=2.")
        changes[key.strip()] = _parse(value, text)
    if effort:
        changes["effort"] = effort
    for text in weights or ():
        author, equals, value = text.rpartition("=")
        if not equals or not author.strip("@ "):
            raise InputError(f"--weight takes author=share, and got {text!r}", "Write for example --weight ann=0.7.")
        changes["weights"] = {**changes.get("weights", {}), author.strip("@ "): _parse(value, text, "--weight ann=0.7")}
    preset = changes.pop("preset", "default")
    return build(preset if isinstance(preset, str) else repr(preset), changes)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the recipe {path} cannot be read: {error}", "Name a YAML file with --recipe.") from error
    except NOT_YAML as error:
        raise InputError(
            f"the recipe {path} is not valid YAML: {' '.join(str(error).split())[:200]}", "Write `key: value` lines."
        ) from error
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise InputError(f"the recipe {path} has no `key: value` lines", "Write for example `epochs: 2`.")
    return content


def _parse(value: str, text: str, example: str = "--set epochs=2") -> object:
    try:
        return yaml.safe_load(value)
    except NOT_YAML as error:
        raise InputError(f"{text!r}: the value is not valid YAML", f"Write for example {example}.") from error


def _number(key: str, value: object) -> object:
    """Convert a number to its setting's type: YAML reads 1e-4 as text and 1 as an integer, and Kubeflow sends every number as a float."""
    if key == "weights" and isinstance(value, dict):
        return {author: _as(float, share) for author, share in value.items()}
    return _as(KINDS.get(key), value)


def _as(kind: type | None, value: object) -> object:
    """Return `value` as a number of `kind`, int or float, if it is one; otherwise unchanged."""
    if kind not in (int, float) or not isinstance(value, str | int | float) or isinstance(value, bool):
        return value
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return value
    if kind is float:
        return number
    return int(number) if number.is_integer() else value


def _require_type(name: str, value: object, kind: type) -> None:
    if type(value) is not kind:
        raise InputError(f"recipe: {name} is {value!r:.80}, and must be {NAME_OF_TYPE[kind]}", f"Change it with --set {name}=…")


def _require_known(what: str, name: object, known: Sequence[str]) -> None:
    if name not in known:
        raise InputError(f"recipe: there is no {what} {name!r:.100}", nearest(str(name), known))
