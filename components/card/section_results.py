"""The card's section on results: every metric with those of base model and champion and its limit, then the verdict and failed checks."""

from collections.abc import Mapping

from components.card.inputs import CardInputs
from components.card.markdown_table import UNKNOWN, number, table
from mynah.data.markdown import code, markdown
from mynah.models.evaluation_record import SamplingMachine
from mynah.models.metric_definitions import HIGHER, LOWER, METRICS
from mynah.models.verdict import Check

BESIDE = ("base_", "champion_")  # prefixes of metrics that are columns of another metric's row
APART = ("champion_gain", "champion_posts")  # metrics of the comparison itself, which have rows of their own
BETTER = {LOWER: "lower is better", HIGHER: "higher is better"}
MAX_OFFENDER_LENGTH = 500  # characters
MAX_OFFENDERS = 5


def results(inputs: CardInputs) -> str:
    """Return the section."""
    return "\n\n".join(
        [
            "## Evaluation results",
            table(_header(inputs), _rows(inputs)),
            *_champion(inputs.metrics),
            _verdict(inputs),
            *(_failure(check) for check in inputs.verdict.failures),
            _definitions(inputs),
        ]
    )


def label_of(metric: str) -> str:
    """Return the metric's label, unescaped."""
    return METRICS[metric].label if metric in METRICS else metric.replace("_", " ")


def _header(inputs: CardInputs) -> list[str]:
    return ["Metric", "This model", "Base model", *(["Champion"] if _has_champion(inputs) else []), "Needed", "Result"]


def _rows(inputs: CardInputs) -> list[list[str]]:
    """Return a row for each metric of this model, and for each check of an unknown metric."""
    checks = {check.metric: check for check in inputs.verdict.checks}
    measured = [metric for metric in inputs.metrics if metric in APART or not metric.startswith(BESIDE)]
    unknown = [metric for metric in checks if metric not in measured]
    return [_row(inputs, metric, checks.get(metric)) for metric in [*measured, *unknown]]


def _row(inputs: CardInputs, metric: str, check: Check | None) -> list[str]:
    others = ["base", *(["champion"] if _has_champion(inputs) else [])]
    value = inputs.metrics.get(metric, check.value if check else None)
    return [
        markdown(_described(metric)),
        number(value),
        *(
            number(inputs.metrics[key]) if (key := f"{other}_{metric}") in inputs.metrics and key not in APART else ""
            for other in others
        ),
        _needed(check) if check else "",
        ("passed" if check.passed else "**failed**") if check else "",
    ]


def _described(metric: str) -> str:
    if metric not in METRICS:
        return label_of(metric)
    definition = METRICS[metric]
    unit = "" if definition.unit == definition.label.lower() else definition.unit
    about = ", ".join(part for part in (unit, BETTER.get(definition.better, "")) if part)
    return f"{definition.label} ({about})" if about else definition.label


def _needed(check: Check) -> str:
    return f"at {'least' if check.at_least else 'most'} {number(check.limit)}"


def _has_champion(inputs: CardInputs) -> bool:
    return "champion_bits_per_character" in inputs.metrics


def _champion(metrics: Mapping[str, float | None]) -> list[str]:
    """Return a note on the champion's figures, which are of fewer posts than this model's in the same table."""
    bits, gain, posts = (metrics.get(f"champion_{key}") for key in ("bits_per_character", "gain", "posts"))
    if bits is None or gain is None:
        return []
    return [
        f"The champion was measured on the {number(posts)} held-out posts that neither model was trained on; "
        f"there this model takes {number(bits - gain)} bits per character."
    ]


def _verdict(inputs: CardInputs) -> str:
    failed = ", ".join(markdown(label_of(check.metric)) for check in inputs.verdict.failures)
    counted = number(inputs.metrics.get("samples"))
    about = "" if counted == UNKNOWN else f" What it writes was judged by {counted} samples{_written_by(inputs.machine)}."
    about += "".join(
        f" {markdown(label_of(metric))}: left out, for {markdown(why)}." for metric, why in inputs.verdict.left_out.items()
    )
    if inputs.verdict.passed:
        return f"It **passed** the gate: all {len(inputs.verdict.checks)} checks.{about}"
    return f"It **did not pass** the gate{f': {failed}' if failed else ''}.{about}"


def _written_by(machine: SamplingMachine | None) -> str:
    """Return the decoder's kernels: those of another machine round differently and can generate other samples for a seed."""
    if not machine:
        return ""
    return f", which {code(machine.kernels)} wrote ({markdown(machine.weights)} weights, on {markdown(machine.processor)})"


def _failure(check: Check) -> str:
    """Return a failed check with its reason and the samples that count against it."""
    head = f"**{markdown(label_of(check.metric))}** is {number(check.value)}, and must be {_needed(check)}: {markdown(check.reason, 500)}."
    samples = [f"- {markdown(text, MAX_OFFENDER_LENGTH) or '(nothing)'}" for text in check.samples[:MAX_OFFENDERS]]
    return "\n".join([head, *(["", *samples] if samples else [])])


def _definitions(inputs: CardInputs) -> str:
    """Return the folded table of each metric's formula, source and the reason for its limit."""
    reasons = {check.metric: check.reason for check in inputs.verdict.checks}
    rows = [
        [
            markdown(METRICS[metric].label),
            markdown(METRICS[metric].formula),
            markdown(METRICS[metric].source),
            markdown(reasons.get(metric, ""), 500),
        ]
        for metric in inputs.metrics
    ]
    lines = table(["Metric", "Formula", "Source", "Why the gate has a limit"], rows, ":--")
    return f"<details>\n<summary>How each is measured</summary>\n\n{lines}\n\n</details>"
