"""The recipe: every choice about fine-tuning in one typed object that refuses nonsense when it is built."""

import difflib
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from components.errors import NAME_OF_TYPE, InputError

# A date of month 13 and a number of 4,300 digits are ValueErrors to PyYAML; brackets without end exhaust its stack.
NOT_YAML = (yaml.YAMLError, ValueError, RecursionError)
SCHEDULES = ("cosine", "linear", "constant")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to fine-tune. The defaults are the preset `default`; `PRESETS` holds the others."""

    preset: str = "default"
    epochs: int = 4
    learning_rate: float = 3e-4
    schedule: str = "cosine"
    warmup: float = 0.05  # share of the steps over which the learning rate rises
    batch_size: int = 16  # posts a step, or blocks when packed
    packed: bool = False  # False: each post is a row of its own; True: posts end to end in blocks of the model's context
    dropout: float = 0.0
    weight_decay: float = 0.01  # decoupled, on matrices only (Loshchilov & Hutter 2019)
    max_grad_norm: float = 1.0
    bf16: bool = True  # bf16 autocast where the machine computes in it
    seed: int = 42

    def __post_init__(self) -> None:
        for field in fields(self):
            _require_type(field.name, getattr(self, field.name), type(field.default))
        for name, low, high in RANGES:
            value = getattr(self, name)
            if not low <= value <= high or not math.isfinite(value):
                raise InputError(
                    f"recipe: {name} is {value!r}, and must be from {low} to {high}", f"Change it with --set {name}=…"
                )
        _require_known("schedule", self.schedule, SCHEDULES)
        _require_known("preset", self.preset, tuple(PRESETS))

    def to_record(self) -> dict[str, Any]:
        """The recipe as a JSON object."""
        return asdict(self)


RANGES = (
    ("epochs", 1, 1000),
    ("learning_rate", 1e-8, 1.0),
    ("warmup", 0.0, 0.9),
    ("batch_size", 1, 4096),
    ("dropout", 0.0, 0.9),
    ("weight_decay", 0.0, 10.0),
    ("max_grad_norm", 1e-3, 1e6),
    ("seed", 0, 2**32 - 1),
)
# huggingtweets-train.py of borisdayma/huggingtweets, with what transformers' Trainer adds by itself (AdamW without decay,
# gradients clipped at 1, GPT-2's dropout of 0.1, fp32).
HUGGINGTWEETS: dict[str, Any] = {
    "epochs": 4, "learning_rate": 1.372e-4, "schedule": "cosine", "warmup": 0.0, "batch_size": 1, "packed": True,
    "dropout": 0.1, "weight_decay": 0.0, "bf16": False,
}  # fmt: skip
PRESETS: dict[str, dict[str, Any]] = {"default": {}, "huggingtweets": HUGGINGTWEETS}


def build(preset: str = "default", changes: dict[str, Any] | None = None) -> Recipe:
    """The recipe of `preset` with `changes`. Raises InputError naming a key that does not exist and the nearest that does."""
    _require_known("preset", preset, tuple(PRESETS))
    changes = changes or {}
    for key in changes:
        _require_known("key", key, tuple(field.name for field in fields(Recipe)))
    if changes.get("preset", preset) != preset:  # else the record would name a preset whose values it does not have
        raise InputError(f"recipe: the preset is {preset!r} and {changes['preset']!r}", "Name one preset.")
    return Recipe(**{"preset": preset, **PRESETS[preset], **{key: _number(key, value) for key, value in changes.items()}})


def read(path: Path | None, sets: Sequence[str] = ()) -> Recipe:
    """The recipe of a YAML file (`preset:` and changes), changed by `key=value` texts. Raises InputError for what it can't use."""
    changes = _read_yaml(path) if path else {}
    for text in sets:
        key, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"--set takes key=value, and got {text!r}", "Write for example --set epochs=2.")
        changes[key.strip()] = _parse(value, text)
    preset = changes.pop("preset", "default")
    return build(preset if isinstance(preset, str) else repr(preset), changes)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the recipe {path} cannot be read: {error}", "Name a YAML file with --recipe.") from error
    except NOT_YAML as error:
        raise InputError(
            f"the recipe {path} is not valid YAML: {' '.join(str(error).split())[:200]}", "Write `key: value` lines."
        ) from error
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise InputError(f"the recipe {path} holds no `key: value` lines", "Write for example `epochs: 2`.")
    return found


def _parse(value: str, text: str) -> object:
    try:
        return yaml.safe_load(value)
    except NOT_YAML as error:
        raise InputError(f"--set {text!r}: the value is not valid YAML", "Write for example --set epochs=2.") from error


def _number(key: str, value: object) -> object:
    """YAML reads 1e-4 as text and 1 as an integer where a fraction is meant, and Kubeflow makes every number a fraction."""
    kind = {field.name: type(field.default) for field in fields(Recipe)}.get(key)
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


def _require_known(what: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        raise InputError(
            f"recipe: there is no {what} {name!r}", f"Did you mean {near[0]!r}?" if near else f"Use one of: {', '.join(known)}."
        )
