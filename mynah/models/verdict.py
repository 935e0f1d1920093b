"""verdict.json: each threshold of the gate with the value that met or missed it, as evaluation writes it and promotion reads it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from mynah.core.errors import InputError
from mynah.core.files import write_json
from mynah.core.json_reader import JsonField

VERDICT_FILE = "verdict.json"  # in a folder that `mynah evaluate` wrote


@dataclass(frozen=True, slots=True)
class Check:
    """A threshold with the value that met or missed it, and up to five of the samples for which it was missed.

    Attributes:
        metric: The metric's name (mynah.models.metric_definitions).
        value: Its value; None where it could not be measured, and then the check failed.
        limit: The threshold.
        at_least: Whether `limit` is the lowest value that passes; else it is the highest.
        passed: Whether the value met the threshold.
        reason: Why the gate has this threshold.
        samples: Samples for which the threshold was missed, the worst first.
    """

    metric: str
    value: float | None
    limit: float
    at_least: bool
    passed: bool
    reason: str
    samples: tuple[str, ...] = ()

    def __str__(self) -> str:
        value = "not measured" if self.value is None else f"{self.value:.3g}"
        return f"{self.metric} is {value}, and must be at {'least' if self.at_least else 'most'} {self.limit:g}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a model may be promoted, and the result of each threshold.

    Attributes:
        checks: The thresholds that were applied.
        left_out: The metrics whose thresholds were not, since these posts have no measure of them, each with why.
    """

    checks: Sequence[Check]
    left_out: Mapping[str, str] = field(default_factory=dict)

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
            "left_out": dict(self.left_out),
        }

    def write(self, report: Path) -> None:
        """Write verdict.json into the folder `report`. Raises PlatformError when the disk refuses."""
        write_json(report / VERDICT_FILE, self.to_record())

    @classmethod
    def read(cls, report: Path) -> "Verdict":
        """Read verdict.json of a report folder, also one without samples.

        Raises:
            InputError: The file is missing, has another shape or a field that no check has, or contradicts itself. A verdict
                that cannot be read lets no model through.
        """
        content = JsonField.read(report / VERDICT_FILE, "evaluate")
        try:
            left_out = content.get("left_out")  # older ones have none
            reasons = {} if left_out.value is None else {metric: reason.text() for metric, reason in left_out.pairs()}
            verdict = cls([_check(check) for check in content["checks"].list()], reasons)
            passed = content["passed"].flag()
            if passed is not verdict.passed:
                raise content.wrong(f"says {passed} at 'passed', and its checks say otherwise")
        except InputError as error:
            raise InputError(f"{error.problem}: it is not a verdict", error.fix) from error
        return verdict


def _check(field: JsonField) -> Check:
    samples = field.get("samples")  # older ones have none
    check = Check(
        metric=_text(field["metric"]),
        value=field["value"].maybe_number(),
        limit=field["limit"].number(),
        at_least=field["at_least"].flag(),
        passed=field["passed"].flag(),
        reason=field["reason"].text(),
        samples=() if samples.value is None else tuple(_text(text) for text in samples.list()),
    )
    unknown = sorted({name for name, _ in field.pairs()} - {each.name for each in fields(Check)})
    if unknown:
        raise field.wrong(f"has the unknown field {unknown[0][:60]!r} at {field.key!r}")
    if check.passed and check.value is None:
        raise field.wrong(f"says True at '{field.key}.passed', where nothing was measured")
    return check


def _text(field: JsonField) -> str:
    """A string, not null."""
    if field.value is None:
        raise field.wrong(f"has None at {field.key!r}, where a text belongs")
    return field.text()
