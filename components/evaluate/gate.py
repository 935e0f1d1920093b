"""The gate: thresholds in one file, and the verdict they give. What cannot be measured never passes."""

import contextlib
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from components.errors import InputError
from components.evaluate.definitions import METRICS
from components.fields import finite
from components.files import read_json
from components.names import nearest

GATE_FILE = Path(__file__).parent / "gate.yaml"
MOST_OFFENDERS = 5
NO_OFFENDERS: Mapping[str, Sequence[str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Threshold:
    """One line of the gate file."""

    metric: str
    limit: float
    at_least: bool  # else at most
    reason: str

    def holds(self, value: float) -> bool:
        """Whether `value` is on the right side; NaN never is."""
        return value >= self.limit if self.at_least else value <= self.limit


@dataclass(frozen=True, slots=True)
class Check:
    """A threshold with the value that met or missed it, and up to five of the samples for which it was missed."""

    metric: str
    value: float
    limit: float
    at_least: bool
    passed: bool
    reason: str
    samples: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.metric} is {self.value:.3g}, and must be at {'least' if self.at_least else 'most'} {self.limit:g}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a model may be promoted, and what each threshold said."""

    checks: Sequence[Check]

    @property
    def failures(self) -> list[Check]:
        """The checks that failed."""
        return [check for check in self.checks if not check.passed]

    @property
    def passed(self) -> bool:
        """All checks passed, and there was at least one."""
        return bool(self.checks) and not self.failures

    def to_record(self) -> dict[str, Any]:
        """The verdict as verdict.json holds it."""
        return {
            "passed": self.passed,
            "failures": [asdict(check) for check in self.failures],
            "checks": [asdict(check) for check in self.checks],
        }

    @classmethod
    def read(cls, report: Path) -> "Verdict":
        """Read verdict.json of a report folder, also one without samples. Raises InputError when it is not a verdict."""
        record = read_json(report / "verdict.json", "evaluate")
        try:
            verdict = cls([_check(check) for check in record["checks"]])
            if record["passed"] is not verdict.passed:
                raise TypeError(f"passed is {record['passed']!r}, and its checks say otherwise")
            return verdict
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{report / 'verdict.json'} is not a verdict ({error})", "Run `mynah evaluate` again.") from error


def _check(record: dict[str, Any]) -> Check:
    samples = record.get("samples", [])  # older ones have none
    if not isinstance(samples, list) or not all(isinstance(each, str) for each in samples):
        raise TypeError("its samples are not texts")
    check = Check(**{**record, "samples": tuple(samples)})
    finite(check.value), finite(check.limit)
    if type(check.passed) is not bool or type(check.metric) is not str:
        raise TypeError(f"{check.metric!r} has passed {check.passed!r}")
    return check


def read_gate(path: Path = GATE_FILE) -> list[Threshold]:
    """Read the gate file. Raises InputError naming the line that is no threshold, that no metric is called so, or that stands twice."""
    try:
        found = yaml.load(path.read_text("utf-8"), Loader=_Once)  # noqa: S506 - a SafeLoader
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:  # ValueError: not UTF-8, or a date of month 13
        raise InputError(f"the gate file {path} cannot be read: {error}", "Restore it.") from error
    if not isinstance(found, dict) or not found:
        raise InputError(f"the gate file {path} holds no thresholds", "Restore it: without thresholds nothing could be promoted.")
    return [_threshold(path, str(metric), line) for metric, line in found.items()]


def judge(
    metrics: Mapping[str, float], gate: Sequence[Threshold], offenders: Mapping[str, Sequence[str]] = NO_OFFENDERS
) -> Verdict:
    """Hold `metrics` against the gate; `offenders` are the samples that count against a metric, the worst first.

    Raises InputError for a threshold on a metric that was not measured, or is no number.
    """
    checks = []
    for threshold in gate:
        value = metrics.get(threshold.metric)
        if value is None or not math.isfinite(value):
            raise InputError(
                f"the gate asks for {threshold.metric!r}, which is {'not a number' if value is not None else 'not measured'}",
                _missing(threshold.metric, metrics),
            )
        passed = threshold.holds(value)
        shown = () if passed else tuple(offenders.get(threshold.metric, ()))[:MOST_OFFENDERS]
        checks.append(Check(threshold.metric, value, threshold.limit, threshold.at_least, passed, threshold.reason, shown))
    return Verdict(checks)


def _missing(metric: str, metrics: Mapping[str, float]) -> str:
    if metric == "canary_exposure":
        return "The model's training.json names no canaries: train it again, and they are planted."
    return f"Metrics there are: {', '.join(sorted(metrics))}."


class _Once(yaml.SafeLoader):
    """YAML in which no key stands twice: of two thresholds for a metric, YAML takes the last and is silent."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """The mapping of `node`. Raises YAMLError for a key that was there before."""
        seen: set[str] = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                raise yaml.MarkedYAMLError(problem=f"{str(key.value)[:80]!r} stands there twice", problem_mark=key.start_mark)
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
