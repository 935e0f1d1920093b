"""Writes the report as Markdown: the verdict, the checks with the samples that count against them, and all metrics."""

from collections.abc import Mapping

from mynah.data.markdown import markdown
from mynah.models.metric_definitions import METRICS
from mynah.models.verdict import Check, Verdict

MAX_SAMPLE_LENGTH = 300  # characters of a sample that are shown


def report(metrics: Mapping[str, float], verdict: Verdict) -> str:
    """Return the report as Markdown; text of the author and of samples is escaped.

    Args:
        metrics: the measured metrics, by name.
        verdict: the gate's verdict.
    """
    checks = "\n".join(
        f"- {'pass' if check.passed else '**FAIL**'}: {markdown(str(check))}{_samples(check)}" for check in verdict.checks
    )
    left_out = "".join(f"\n- left out: {markdown(metric)}: {markdown(reason)}" for metric, reason in verdict.left_out.items())
    rows = "\n".join(_row(name, value) for name, value in metrics.items())
    result = "passed" if verdict.passed else "not passed"
    return f"# Verdict: {result}\n\n{checks}{left_out}\n\n| metric | value | unit | better | what it is |\n|---|---|---|---|---|\n{rows}\n"


def _samples(check: Check) -> str:
    return "".join(f"\n    - {markdown(text, MAX_SAMPLE_LENGTH) or '(nothing)'}" for text in check.samples)


def _row(name: str, value: float) -> str:
    definition = METRICS[name]
    return f"| {markdown(definition.label)} | {value:.4g} | {markdown(definition.unit)} | {definition.better} | {markdown(definition.formula)} |"
