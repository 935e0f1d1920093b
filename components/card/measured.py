"""The card's section on results: every metric beside the base model, the champion and the gate, then the verdict with what failed."""

from collections.abc import Mapping

from components.card.escape import markdown
from components.card.facts import Check, Facts
from components.card.tables import UNKNOWN, number, table
from components.evaluate.definitions import HIGHER, LOWER, METRICS

BESIDE = ("base_", "champion_")  # columns of the metric that they begin
APART = ("champion_gain", "champion_posts")  # not such a column: of the comparison itself
BETTER = {LOWER: "lower is better", HIGHER: "higher is better"}
LONGEST_OFFENDER = 500  # characters
MOST_OFFENDERS = 5


def results(facts: Facts) -> str:
    """The section."""
    return "\n\n".join(
        [
            "## Evaluation results",
            table(_header(facts), _rows(facts)),
            *_champion(facts.metrics),
            _verdict(facts),
            *(_failure(check) for check in facts.checks if not check.passed),
            _definitions(facts),
        ]
    )


def label_of(metric: str) -> str:
    """What people call a metric, not escaped."""
    return METRICS[metric].label if metric in METRICS else metric.replace("_", " ")


def _header(facts: Facts) -> list[str]:
    return ["Metric", "This model", "Base model", *(["Champion"] if _has_champion(facts) else []), "Needed", "Result"]


def _rows(facts: Facts) -> list[list[str]]:
    """A row per metric that is no other model's, and per check of a metric that nobody knows."""
    checks = {check.metric: check for check in facts.checks}
    measured = [metric for metric in facts.metrics if metric in APART or not metric.startswith(BESIDE)]
    strange = [metric for metric in checks if metric not in measured]
    return [_row(facts, metric, checks.get(metric)) for metric in [*measured, *strange]]


def _row(facts: Facts, metric: str, check: Check | None) -> list[str]:
    others = ["base", *(["champion"] if _has_champion(facts) else [])]
    value = facts.metrics.get(metric, check.value if check else None)
    return [
        markdown(_described(metric)),
        number(value),
        *(
            number(facts.metrics[key]) if (key := f"{other}_{metric}") in facts.metrics and key not in APART else ""
            for other in others
        ),
        _needed(check) if check else "",
        ("passed" if check.passed else "**failed**") if check else "",
    ]


def _described(metric: str) -> str:
    if metric not in METRICS:
        return label_of(metric)
    told = METRICS[metric]
    unit = "" if told.unit == told.label.lower() else told.unit
    about = ", ".join(part for part in (unit, BETTER.get(told.better, "")) if part)
    return f"{told.label} ({about})" if about else told.label


def _needed(check: Check) -> str:
    return f"at {'least' if check.at_least else 'most'} {number(check.limit)}"


def _has_champion(facts: Facts) -> bool:
    return "champion_bits_per_character" in facts.metrics


def _champion(metrics: Mapping[str, float | None]) -> list[str]:
    """The champion's figures are of fewer posts than this model's in the same table: what this model has on those."""
    bits, gain, posts = (metrics.get(f"champion_{key}") for key in ("bits_per_character", "gain", "posts"))
    if bits is None or gain is None:
        return []
    return [
        f"The champion was measured on the {number(posts)} held-out posts that neither model was trained on; "
        f"there this model takes {number(bits - gain)} bits per character."
    ]


def _verdict(facts: Facts) -> str:
    failed = ", ".join(markdown(label_of(check.metric)) for check in facts.checks if not check.passed)
    counted = number(facts.metrics.get("samples"))
    about = "" if counted == UNKNOWN else f" What it writes was judged by {counted} samples."
    if facts.passed:
        return f"It **passed** the gate: all {len(facts.checks)} checks.{about}"
    return f"It **did not pass** the gate{f': {failed}' if failed else ''}.{about}"


def _failure(check: Check) -> str:
    """A check that failed, why there is such a check, and the samples for which it was missed."""
    head = f"**{markdown(label_of(check.metric))}** is {number(check.value)}, and must be {_needed(check)}: {markdown(check.reason, 500)}."
    samples = [f"- {markdown(text, LONGEST_OFFENDER) or '(nothing)'}" for text in check.samples[:MOST_OFFENDERS]]
    return "\n".join([head, *(["", *samples] if samples else [])])


def _definitions(facts: Facts) -> str:
    """How each metric is computed, after whom, and why the gate has a limit for it; unfolded by who wants to know."""
    reasons = {check.metric: check.reason for check in facts.checks}
    rows = [
        [
            markdown(METRICS[metric].label),
            markdown(METRICS[metric].formula),
            markdown(METRICS[metric].source),
            markdown(reasons.get(metric, ""), 500),
        ]
        for metric in facts.metrics
    ]
    lines = table(["Metric", "Formula", "Source", "Why the gate asks for it"], rows, ":--")
    return f"<details>\n<summary>How each is measured</summary>\n\n{lines}\n\n</details>"
