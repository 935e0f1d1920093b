"""The commands for schedules: what `mynah submit --schedule` and `mynah fleet --schedule` made."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mynah.core.errors import InputError
from mynah.core.progress import strip_control_chars
from pipelines.cli.connect import connect
from pipelines.cli.options import Json, print_json, result
from pipelines.flat_signature import flatten
from pipelines.kubeflow.cluster_spec import Connection

if TYPE_CHECKING:
    from pipelines.kubeflow.api import Kubeflow
    from pipelines.kubeflow.outcomes import Summary
    from pipelines.kubeflow.records import KubeflowRun, RecurringRun

app = typer.Typer(no_args_is_help=False, rich_markup_mode=None)
ScheduleId = Annotated[str, typer.Argument(metavar="ID", help="The schedule's id or the start of it.")]
RUNS_SEARCHED = 1000  # the newest, for the last run of each schedule
UNKNOWN = "unknown"


@app.callback(invoke_without_command=True)
@flatten
def schedules(context: typer.Context, *, connection: Connection, as_json: Json = False) -> None:
    """List the schedules, with the bot, when it comes next, and what became of its last run."""
    if context.invoked_subcommand:
        return
    from datetime import UTC, datetime

    from pipelines.cli.render import console
    from pipelines.cli.render_runs import table

    records = _records(connect(connection), datetime.now(UTC))
    if as_json:
        print_json(records)
        return
    shown = table("Schedule", "Bot", "When", "Next (UTC)", "Last run", "Last outcome")
    for record in records:
        when = record["next"][:16].replace("T", " ") if record["enabled"] else "paused"
        shown.add_row(record["schedule"][:8], record["bot"], record["when"], when, record["last_run"][:8], record["last_outcome"])
    console().print(shown if records else 'No schedules: `mynah submit --schedule "0 3 * * 1"` makes one.')


@app.command()
@flatten
def pause(schedule: ScheduleId, *, connection: Connection, as_json: Json = False) -> None:
    """Pause a schedule: it starts no run until it is resumed."""
    _change(connect(connection), schedule, "disable", "paused", as_json)


@app.command()
@flatten
def resume(schedule: ScheduleId, *, connection: Connection, as_json: Json = False) -> None:
    """Resume a schedule; times that were missed are not made up for."""
    _change(connect(connection), schedule, "enable", "resumed", as_json)


@app.command()
@flatten
def remove(schedule: ScheduleId, *, connection: Connection, as_json: Json = False) -> None:
    """Remove a schedule; its runs and bots stay."""
    _change(connect(connection), schedule, "delete", "removed", as_json)


def _change(api: "Kubeflow", text: str, action: Literal["enable", "disable", "delete"], done: str, as_json: bool) -> None:
    found = [each for each in api.recurring_runs() if text and each.recurring_id.startswith(text)]
    if len(found) != 1:
        problem = f"several schedules begin with {text[:40]!r}" if found else f"there is no schedule {text[:40]!r}"
        raise InputError(f"{problem} at {api.host}", "See `mynah schedules`.")
    api.change_recurring_run(found[0].recurring_id, action)
    result({"schedule": found[0].recurring_id, "state": done}, f"{found[0].recurring_id} is {done}", as_json)


def _records(api: "Kubeflow", now: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - datetime, imported where it is used
    from pipelines.kubeflow.cron import in_words, next_time
    from pipelines.kubeflow.outcomes import summaries

    found = api.recurring_runs()
    runs = api.runs(RUNS_SEARCHED) if found else []
    last = {run.recurring_run: run for run in reversed(runs) if run.recurring_run}
    known = summaries(list(last.values()))
    records = []
    for each in found:
        run = last.get(each.recurring_id)
        summary = known.get(run.run_id) if run else None
        cron = f"{each.cron} *" if len(each.cron.split()) == 5 else each.cron  # as Kubeflow reads five fields: seconds first
        following = next_time(cron, now) if each.is_enabled else None
        records.append({
            "schedule": each.recurring_id, "bot": _bot(each, runs, summary), "cron": each.cron, "when": in_words(cron),
            "enabled": each.is_enabled, "next": following.isoformat() if following else "",
            "last_run": run.run_id if run else "", "last_outcome": _outcome(run, summary),
        })  # fmt: skip
    return records


def _outcome(run: "KubeflowRun | None", summary: "Summary | None") -> str:
    if not run:
        return "none yet"
    if summary and summary.outcome:
        return summary.outcome
    return UNKNOWN if run.state == "SUCCEEDED" else run.state.lower()


def _bot(schedule: "RecurringRun", runs: "Sequence[KubeflowRun]", summary: "Summary | None") -> str:
    """Return the bot's name from MLflow, from its specification in the bucket, or from the parameters of earlier versions."""
    from pipelines.kubeflow.logs import bot_of, files_of

    if summary and summary.bots:
        return strip_control_chars(summary.bots)
    files = files_of(schedule.parameters)
    names = [bot_of(each) for each in files[:3]]
    if not files:
        bots = schedule.parameters.get("bots")
        names = [str(schedule.parameters.get("name") or "")] if not isinstance(bots, list) else [str(len(bots)) + " bots"]
    return strip_control_chars(", ".join(filter(None, names))) or UNKNOWN


COMMANDS: dict[str, Callable[..., None]] = {"pause": pause, "resume": resume, "remove": remove}
