"""The promotion gate: reads the thresholds of the gate file and computes a verdict. A metric that was not measured never passes."""

import contextlib
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from mynah.core.errors import InputError
from mynah.core.json_reader import finite
from mynah.core.names import nearest
from mynah.models.metric_definitions import METRICS
from mynah.models.verdict import Check, Verdict

GATE_FILE = Path(__file__).parent / "gate.yaml"
MAX_OFFENDERS = 5
NO_OFFENDERS: Mapping[str, Sequence[str]] = MappingProxyType({})
NOTHING_LEFT_OUT: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Threshold:
    """One line of the gate file."""

    metric: str
    limit: float
    at_least: bool  # else at most
    reason: str

    def holds(self, value: float) -> bool:
        """Whether `value` meets the threshold; NaN never does."""
        return value >= self.limit if self.at_least else value <= self.limit


def read_gate(path: Path = GATE_FILE) -> list[Threshold]:
    """Return the thresholds of a gate file.

    Raises:
        InputError: a line is not a threshold, names an unknown metric or occurs twice; the message names it.
    """
    try:
        thresholds = yaml.load(path.read_text("utf-8"), Loader=_UniqueKeyLoader)  # noqa: S506 - a SafeLoader
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:  # ValueError: not UTF-8, or a date of month 13
        raise InputError(f"the gate file {path} cannot be read: {error}", "Restore it.") from error
    if not isinstance(thresholds, dict) or not thresholds:
        raise InputError(f"the gate file {path} holds no thresholds", "Restore it: without thresholds nothing could be promoted.")
    return [_threshold(path, str(metric), line) for metric, line in thresholds.items()]


def judge(
    metrics: Mapping[str, float],
    gate: Sequence[Threshold],
    offenders: Mapping[str, Sequence[str]] = NO_OFFENDERS,
    left_out: Mapping[str, str] = NOTHING_LEFT_OUT,
) -> Verdict:
    """Compare metrics with the gate's thresholds.

    Args:
        metrics: the measured metrics, by name.
        gate: the thresholds.
        offenders: the samples that count against each metric, the worst first.
        left_out: metrics that do not apply to these posts, each with the reason, which the verdict states; they are not checked.

    Returns:
        The verdict.

    Raises:
        InputError: a threshold's metric was not measured or is not a finite number.
    """
    checks = []
    for threshold in gate:
        if threshold.metric in left_out:
            continue
        value = metrics.get(threshold.metric)
        if value is None or not math.isfinite(value):
            raise InputError(
                f"the gate requires {threshold.metric!r}, which is {'not a number' if value is not None else 'not measured'}",
                _missing(threshold.metric, metrics),
            )
        passed = threshold.holds(value)
        shown = () if passed else tuple(offenders.get(threshold.metric, ()))[:MAX_OFFENDERS]
        checks.append(Check(threshold.metric, value, threshold.limit, threshold.at_least, passed, threshold.reason, shown))
    gated = {threshold.metric for threshold in gate}
    return Verdict(checks, {metric: reason for metric, reason in left_out.items() if metric in gated})


def _missing(metric: str, metrics: Mapping[str, float]) -> str:
    if metric == "canary_exposure":
        return "The model's training.json has no canaries: train the model again to add them."
    return f"Known metrics: {', '.join(sorted(metrics))}."


class _UniqueKeyLoader(yaml.SafeLoader):
    """A YAML loader that rejects duplicate keys: PyYAML silently keeps the last of two thresholds for a metric."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Return the mapping of a node, as the base class does. Raises YAMLError for a duplicate key."""
        seen: set[str] = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                raise yaml.MarkedYAMLError(problem=f"{str(key.value)[:80]!r} is a duplicate key", problem_mark=key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def _threshold(path: Path, metric: str, line: object) -> Threshold:
    if metric not in METRICS:
        raise InputError(f"the gate file {path}: there is no metric {metric[:80]!r}", nearest(metric, list(METRICS)))
    if isinstance(line, dict) and set(line) in ({"at_least", "reason"}, {"at_most", "reason"}):
        at_least = "at_least" in line
        limit = line["at_least" if at_least else "at_most"]
        with contextlib.suppress(TypeError):
            return Threshold(metric, finite(limit), at_least, str(line["reason"]))
    raise InputError(
        f"the gate file {path}: {metric} is not a threshold", "Give it at_least or at_most with a number, and a reason."
    )
