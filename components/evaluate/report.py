"""The report as Markdown, for Kubeflow's page and for who reads files: the verdict, each check, what offended, every metric."""

from collections.abc import Mapping

from components.card.escape import markdown
from components.evaluate.definitions import METRICS
from components.evaluate.gate import Check, Verdict

LONGEST_SAMPLE = 300  # characters that are shown of one


def report(metrics: Mapping[str, float], verdict: Verdict) -> str:
    """Markdown without unescaped author text."""
    checks = "\n".join(
        f"- {'pass' if check.passed else '**FAIL**'}: {markdown(str(check))}{_samples(check)}" for check in verdict.checks
    )
    rows = "\n".join(_row(name, value) for name, value in metrics.items())
    said = "passed" if verdict.passed else "not passed"
    return f"# Verdict: {said}\n\n{checks}\n\n| metric | value | unit | better | what it is |\n|---|---|---|---|---|\n{rows}\n"


def _samples(check: Check) -> str:
    return "".join(f"\n    - {markdown(text, LONGEST_SAMPLE) or '(nothing)'}" for text in check.samples)


def _row(name: str, value: float) -> str:
    told = METRICS[name]
    return f"| {markdown(told.label)} | {value:.4g} | {markdown(told.unit)} | {told.better} | {markdown(told.formula)} |"
