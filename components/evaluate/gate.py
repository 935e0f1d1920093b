"""The gate: thresholds in one file, and the verdict they give. What cannot be measured never passes."""

import contextlib
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from components.errors import InputError
from components.files import read_json

GATE_FILE = Path(__file__).parent / "gate.yaml"


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
    """A threshold with the value that met or missed it."""

    metric: str
    value: float
    limit: float
    at_least: bool
    passed: bool
    reason: str

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
            "failures": [check.metric for check in self.failures],
            "checks": [asdict(c) for c in self.checks],
        }

    @classmethod
    def read(cls, report: Path) -> "Verdict":
        """Read verdict.json of a report folder. Raises InputError when it is not a verdict."""
        record = read_json(report / "verdict.json", "evaluate")
        try:
            verdict = cls([_check(check) for check in record["checks"]])
            if record["passed"] is not verdict.passed:
                raise TypeError(f"passed is {record['passed']!r}, and its checks say otherwise")
            return verdict
        except (KeyError, TypeError) as error:
            raise InputError(f"{report / 'verdict.json'} is not a verdict ({error})", "Run `mynah evaluate` again.") from error


def finite(value: object) -> float:
    """`value` as a number. Raises TypeError when it is none, or not a finite one."""
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max:
        return float(value)
    raise TypeError(f"{str(value)[:40]!r} is not a finite number")


def _check(record: dict[str, Any]) -> Check:
    check = Check(**record)
    finite(check.value), finite(check.limit)
    if type(check.passed) is not bool or type(check.metric) is not str:
        raise TypeError(f"{check.metric!r} has passed {check.passed!r}")
    return check


def read_gate(path: Path = GATE_FILE) -> list[Threshold]:
    """Read the gate file. Raises InputError naming the line that is not a threshold."""
    try:
        found = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:  # ValueError: not UTF-8, or a date of month 13
        raise InputError(f"the gate file {path} cannot be read: {error}", "Restore it.") from error
    if not isinstance(found, dict) or not found:
        raise InputError(f"the gate file {path} holds no thresholds", "Restore it: without thresholds nothing could be promoted.")
    return [_threshold(path, str(metric), line) for metric, line in found.items()]


def judge(metrics: Mapping[str, float], gate: Sequence[Threshold]) -> Verdict:
    """Hold `metrics` against the gate. Raises InputError for a threshold on a metric that was not measured, or is no number."""
    checks = []
    for threshold in gate:
        value = metrics.get(threshold.metric)
        if value is None or not math.isfinite(value):
            raise InputError(
                f"the gate asks for {threshold.metric!r}, which is {'not a number' if value is not None else 'not measured'}",
                f"Metrics there are: {', '.join(sorted(metrics))}.",
            )
        checks.append(
            Check(threshold.metric, value, threshold.limit, threshold.at_least, threshold.holds(value), threshold.reason)
        )
    return Verdict(checks)


def _threshold(path: Path, metric: str, line: object) -> Threshold:
    if isinstance(line, dict) and set(line) in ({"at_least", "reason"}, {"at_most", "reason"}):
        at_least = "at_least" in line
        limit = line["at_least" if at_least else "at_most"]
        with contextlib.suppress(TypeError):
            return Threshold(metric, finite(limit), at_least, str(line["reason"]))
    raise InputError(
        f"the gate file {path}: {metric} is not a threshold", "Give it at_least or at_most with a number, and a reason."
    )
