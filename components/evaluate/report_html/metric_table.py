"""The table of metrics against their thresholds: rows with everything already in words, and the marks of a small bar."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from components.evaluate.definitions import METRICS, Definition
from components.evaluate.pages import meanings
from components.evaluate.pages.facts import Check, Facts

UNKNOWN = Definition("", "", "", "")


@dataclass(frozen=True, slots=True)
class Bar:
    """A value beside its limit on a scale of 0 to 100: a bar from `start` that is `width` wide, and a tick at `limit`."""

    start: float
    width: float
    limit: float


@dataclass(frozen=True, slots=True)
class Row:
    """One metric in words. `base` and `champion` are "" where there is no such value; without a check the last three are None or ""."""

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


def groups(facts: Facts) -> dict[str, list[Row]]:
    """The rows by the heading they stand under, headings without a row left out; a metric that nobody foresaw is under `Others`."""
    checks = {check.metric: check for check in facts.checks}
    measured = {check.metric: check.value for check in facts.checks} | facts.metrics
    known = {metric for lines in meanings.METRICS.values() for metric in lines}
    beside = {metric for metric, partner in meanings.BESIDE.items() if partner in measured and metric not in checks}
    others = {metric: "" for metric in measured if metric not in known | beside}
    return {
        title: [_row(metric, meaning, measured, checks.get(metric)) for metric, meaning in lines.items() if metric in measured]
        for title, lines in {**meanings.METRICS, meanings.OTHERS: others}.items()
        if any(metric in measured for metric in lines)
    }


def label_of(metric: str) -> str:
    """What people call a metric."""
    return METRICS[metric].label if metric in METRICS else metric.replace("_", " ")


def figure(metric: str, value: float | None) -> str:
    """A value of `metric` for people: a share in percent, a count whole, anything else with about four digits."""
    if value is None:
        return "not measured"
    unit = METRICS.get(metric, UNKNOWN).unit
    if unit.startswith("share"):
        return f"{number(_rounded(100 * value))} %"
    if unit in ("posts", "texts", "words"):
        return f"{value:,.0f}"
    return number(value)


def number(value: float) -> str:
    """Four digits or so, without needless noughts."""
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    text = f"{value:.{1 if size >= 100 else 2 if size >= 10 else 3}f}"
    return (text.rstrip("0").rstrip(".") if float(text) or not value else f"{value:.2g}").replace("-", "−")  # noqa: RUF001 - a minus


def _rounded(percent: float) -> float:
    """To a tenth, but never to nothing: one leak in 5,000 samples is one too many where none is allowed."""
    return round(percent, 1) or percent


def limit_of(check: Check) -> str:
    """`at most 10 %`, `at least 0.1`."""
    return f"at {'least' if check.at_least else 'most'} {figure(check.metric, check.limit)}"


def margin_of(check: Check) -> str:
    """How far the value is from its limit: `0.56 to spare`, `3 points too many`."""
    if check.value is None:
        return ""
    percent = METRICS.get(check.metric, UNKNOWN).unit.startswith("share")
    away = abs(check.value - check.limit) * (100 if percent else 1)
    points = number(_rounded(away) if percent else away)
    distance = f"{points} point{'s' * (points != '1')}" if percent else points
    if check.passed:
        return f"{distance} to spare" if away else "exactly at the limit"
    return f"{distance} too {'low' if check.at_least else 'high'}"


def bar_of(metric: str, value: float, limit: float) -> Bar:
    """The marks of a bar from 0, or from the metric's lowest value, to a little beyond the larger of value and limit."""
    bounds = re.search(r"(-?[\d.]+) to (-?[\d.]+)$", METRICS.get(metric, UNKNOWN).unit)
    lowest, highest = (float(bound) for bound in bounds.groups()) if bounds else (float("-inf"), float("inf"))
    low = min(max(lowest, min(0.0, 1.25 * value, 1.25 * limit)), value, limit)
    high = max(min(highest, 1.25 * max(value, limit, 0.0)), value, limit)
    span = high - low or 1.0
    zero, at = (max(low, 0.0) - low) / span, (value - low) / span
    return Bar(100 * min(zero, at), 100 * abs(at - zero), 100 * (limit - low) / span)


def _row(metric: str, meaning: str, measured: Mapping[str, float | None], check: Check | None) -> Row:
    definition, value = METRICS.get(metric, UNKNOWN), measured[metric]
    unit = "" if definition.unit.startswith("share") else re.sub(r", -?[\d.]+ to .*", "", definition.unit)
    row = Row(
        label=label_of(metric),
        meaning=f"{meaning}{_beside(metric, measured)}",
        value=figure(metric, value),
        unit=unit,
        base=_compared("base", metric, measured),
        champion=_compared("champion", metric, measured),
        formula=definition.formula,
        source=definition.source,
    )
    if check is None:
        return row
    bar = bar_of(metric, check.value, check.limit) if check.value is not None else None
    return replace(row, passed=check.passed, limit=limit_of(check), margin=margin_of(check), bar=bar)


def _compared(model: str, metric: str, measured: Mapping[str, float | None]) -> str:
    """The base model's or the champion's value of the same metric."""
    found = measured.get(f"{model}_{metric}")
    return "" if found is None else figure(metric, found)


def _beside(metric: str, measured: Mapping[str, float | None]) -> str:
    """What else belongs in a metric's line."""
    author, posts = measured.get(f"author_{metric}"), measured.get("champion_posts")
    gain, champion = measured.get("champion_gain"), measured.get("champion_bits_per_character")
    if author is not None:
        return f" Of its author's posts, {figure(metric, author)} do."
    if metric == "champion_gain" and posts is not None:
        return f" Measured on {posts:,.0f} posts."
    if metric == "bits_per_character" and gain is not None and champion is not None:
        return f" On the posts that neither it nor the champion has seen, it takes {number(champion - gain)}."
    return ""
