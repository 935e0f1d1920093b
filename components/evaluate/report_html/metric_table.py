"""The table of metrics and thresholds: rows of formatted text, with the coordinates of a small bar."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from components.evaluate.report_html import metric_explanations
from components.evaluate.report_html.inputs import ReportInputs
from mynah.models.metric_definitions import METRICS, Metric
from mynah.models.verdict import Check

UNKNOWN = Metric("", "", "", "")


@dataclass(frozen=True, slots=True)
class Bar:
    """The coordinates of a value and its limit, in percent: a bar from `start` that is `width` wide, and a tick at `limit`."""

    start: float
    width: float
    limit: float


@dataclass(frozen=True, slots=True)
class Row:
    """One metric, formatted. `base` and `champion` are "" without such a value; `passed`, `limit`, `margin` and `bar` need a check."""

    label: str
    meaning: str
    value: str
    unit: str
    base: str
    champion: str
    formula: str
    source: str
    passed: bool | None = None
    limit: str = ""
    margin: str = ""
    bar: Bar | None = None


def groups(inputs: ReportInputs) -> dict[str, list[Row]]:
    """Return the rows by heading, without empty headings; metrics without an explanation are under `Others`."""
    checks = {check.metric: check for check in inputs.verdict.checks}
    measured = {check.metric: check.value for check in inputs.verdict.checks} | dict(inputs.metrics)
    known = {metric for lines in metric_explanations.METRICS.values() for metric in lines}
    merged = {metric for metric, partner in metric_explanations.IN_ROW_OF.items() if partner in measured and metric not in checks}
    others = {metric: "" for metric in measured if metric not in known | merged}
    return {
        title: [_row(metric, meaning, measured, checks.get(metric)) for metric, meaning in lines.items() if metric in measured]
        for title, lines in {**metric_explanations.METRICS, metric_explanations.OTHERS: others}.items()
        if any(metric in measured for metric in lines)
    }


def label_of(metric: str) -> str:
    """Return the label of a metric."""
    return METRICS[metric].label if metric in METRICS else metric.replace("_", " ")


def figure(metric: str, value: float | None) -> str:
    """Format a metric's value: a share in percent, a count without decimals, other values with about four digits.

    Args:
        metric: the metric's name.
        value: its value, or None when it was not measured.
    """
    if value is None:
        return "not measured"
    unit = METRICS.get(metric, UNKNOWN).unit
    if unit.startswith("share"):
        return f"{number(_rounded(100 * value))} %"
    if unit in ("posts", "texts", "words"):
        return f"{value:,.0f}"
    return number(value)


def number(value: float) -> str:
    """Format a number with about four digits and without trailing zeros."""
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    text = f"{value:.{1 if size >= 100 else 2 if size >= 10 else 3}f}"
    return (text.rstrip("0").rstrip(".") if float(text) or not value else f"{value:.2g}").replace("-", "−")  # noqa: RUF001 - a minus sign, not a hyphen


def _rounded(percent: float) -> float:
    """Round to a tenth, but never to zero: with a limit of zero, one leak in 5,000 samples must not read as none."""
    return round(percent, 1) or percent


def limit_of(check: Check) -> str:
    """Format a check's limit, such as `at most 10 %` or `at least 0.1`."""
    return f"at {'least' if check.at_least else 'most'} {figure(check.metric, check.limit)}"


def margin_of(check: Check) -> str:
    """Format the distance of a value from its limit, such as `0.56 to spare` or `3 points too high`."""
    if check.value is None:
        return ""
    percent = METRICS.get(check.metric, UNKNOWN).unit.startswith("share")
    difference = abs(check.value - check.limit) * (100 if percent else 1)
    points = number(_rounded(difference) if percent else difference)
    distance = f"{points} point{'s' * (points != '1')}" if percent else points
    if check.passed:
        return f"{distance} to spare" if difference else "exactly at the limit"
    return f"{distance} too {'low' if check.at_least else 'high'}"


def bar_of(metric: str, value: float, limit: float) -> Bar:
    """Return a bar on a scale from 0, or the metric's lowest value, to slightly beyond the larger of value and limit.

    Args:
        metric: the metric's name; the range in its unit bounds the scale.
        value: the metric's value.
        limit: its threshold.
    """
    bounds = re.search(r"(-?[\d.]+) to (-?[\d.]+)$", METRICS.get(metric, UNKNOWN).unit)
    lowest, highest = (float(bound) for bound in bounds.groups()) if bounds else (float("-inf"), float("inf"))
    low = min(max(lowest, min(0.0, 1.25 * value, 1.25 * limit)), value, limit)
    high = max(min(highest, 1.25 * max(value, limit, 0.0)), value, limit)
    span = high - low or 1.0
    zero, end = (max(low, 0.0) - low) / span, (value - low) / span
    return Bar(100 * min(zero, end), 100 * abs(end - zero), 100 * (limit - low) / span)


def _row(metric: str, meaning: str, measured: Mapping[str, float | None], check: Check | None) -> Row:
    definition, value = METRICS.get(metric, UNKNOWN), measured[metric]
    unit = "" if definition.unit.startswith("share") else re.sub(r", -?[\d.]+ to .*", "", definition.unit)
    row = Row(
        label=label_of(metric),
        meaning=f"{meaning}{_related_values(metric, measured)}",
        value=figure(metric, value),
        unit=unit,
        base=_value_of("base", metric, measured),
        champion=_value_of("champion", metric, measured),
        formula=definition.formula,
        source=definition.source,
    )
    if check is None:
        return row
    bar = bar_of(metric, check.value, check.limit) if check.value is not None else None
    return replace(row, passed=check.passed, limit=limit_of(check), margin=margin_of(check), bar=bar)


def _value_of(model: str, metric: str, measured: Mapping[str, float | None]) -> str:
    """Format the value of a metric of another model, "base" or "champion"; "" without one."""
    value = measured.get(f"{model}_{metric}")
    return "" if value is None else figure(metric, value)


def _related_values(metric: str, measured: Mapping[str, float | None]) -> str:
    """Return a sentence with the values of metrics that are shown in this metric's row; "" without any."""
    author, posts = measured.get(f"author_{metric}"), measured.get("champion_posts")
    gain, champion = measured.get("champion_gain"), measured.get("champion_bits_per_character")
    if metric == "made_up_share" and author is not None:
        return f" Of its author's words, {figure(metric, author)} are as new."
    if author is not None:
        return f" Of its author's posts, {figure(metric, author)} do."
    if metric == "champion_gain" and posts is not None:
        return f" Measured on {posts:,.0f} posts."
    if metric == "bits_per_character" and gain is not None and champion is not None:
        return f" On the posts that neither it nor the champion has seen, it takes {number(champion - gain)}."
    return ""
