"""Shows runs of Kubeflow Pipelines, their bots and schedules, as tables and as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from mynah.core.progress import strip_control_chars
from pipelines.cli.options import print_json

if TYPE_CHECKING:
    from rich.table import Table

    from components.finish_run.step import Outcome
    from pipelines.kubeflow.api import Kubeflow
    from pipelines.kubeflow.outcomes import Summary
    from pipelines.kubeflow.records import KubeflowRun


def show_runs(listed: "Sequence[KubeflowRun]", known: "Mapping[str, Summary]", as_json: bool) -> None:
    """Print a list of runs with what MLflow knows of them."""
    if as_json:
        print_json([run_record(run, known.get(run.run_id)) for run in listed])
        return
    from pipelines.cli.render import console

    shown = table("Run", "Bot", "State", "Outcome", "Created (UTC)")
    for run in listed:
        created = f"{run.created:%Y-%m-%d %H:%M}" if run.created else ""
        summary = known.get(run.run_id)
        bots, outcome = (summary.bots, summary.outcome) if summary else ("", "")
        shown.add_row(run.run_id[:8], strip_control_chars(bots or run.name), run.state.lower(), outcome, created)
    console().print(shown if listed else "No runs yet: `mynah submit` makes one.")


def show_run(api: "Kubeflow", run: "KubeflowRun", outcomes: "Sequence[Outcome] | None", as_json: bool) -> None:
    """Print a run with its steps, what they wait for, and what became of each bot; `outcomes` is None where that is not known."""
    from pipelines.cli.render import console
    from pipelines.kubeflow.follow import steps_of
    from pipelines.kubeflow.follow import table as steps_table

    pods = [] if run.state == "SUCCEEDED" else api.pods(run.run_id)
    reasons = {pod.step or pod.name: pod.message for pod in pods if pod.message and pod.phase in ("Pending", "Failed", "Error")}
    if as_json:
        steps = [{"step": step.name, "state": step.state, "count": dict(step.states)} for step in steps_of(run)]
        bots = None if outcomes is None else [asdict(outcome) for outcome in outcomes]
        print_json({**run_record(run), "error": run.error, "steps": steps, "reasons": reasons, "bots": bots})
        return
    console().print(steps_table(run, reasons))
    if outcomes:
        console().print(outcomes_table(outcomes))


def outcomes_table(outcomes: "Sequence[Outcome]") -> "Table":
    """Return the table of what became of each bot."""
    shown = table("Bot", "Outcome", "Version", "Held-out loss", "Time", "Cost")
    for outcome in outcomes:
        shown.add_row(
            strip_control_chars(outcome.bot), strip_control_chars(outcome.described), outcome.version, outcome.held_out_loss,
            f"{outcome.seconds:,.0f} s", f"${outcome.cost_usd:.4f}",
        )  # fmt: skip
    return shown


def sentence(outcome: "Outcome") -> str:
    """Return the outcome of a bot as a sentence without a full stop."""
    version = f"version {outcome.version} " if outcome.version and outcome.kind != "nothing new" else ""
    return strip_control_chars(f"{outcome.bot}: {version}{outcome.described.removeprefix('skipped: ')}")


def table(*headings: str) -> "Table":
    """Return an empty table whose cells are folded, not cut."""
    from rich.table import Table

    made = Table()
    for heading in headings:
        made.add_column(heading, overflow="fold")
    return made


def run_record(run: "KubeflowRun", summary: "Summary | None" = None) -> dict[str, Any]:
    """Return a run as a JSON object."""
    record = {
        "run": run.run_id, "name": run.name, "state": run.state,
        "created": run.created.isoformat() if run.created else "", "ended": run.ended.isoformat() if run.ended else "",
    }  # fmt: skip
    return {**record, "bots": summary.bots, "outcome": summary.outcome} if summary else record
