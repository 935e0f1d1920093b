"""`mynah costs`: the costs of bots' runs and steps, and of their answers."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mynah.core.progress import waiting
from pipelines.cli.options import DEFAULT_WORKDIR, Json, Workdir, existing, print_json

if TYPE_CHECKING:
    from mynah.registry.versions import Bot
    from mynah.tracking.costs import RunCost


def costs(
    name: Annotated[str, typer.Argument(help="A bot, to show its runs with their steps.", show_default=False)] = "",
    workdir: Workdir = DEFAULT_WORKDIR,
    as_json: Json = False,
) -> None:
    """Show the costs of bots: of all runs, including failed ones, and of a thousand answers of the champion."""
    with waiting("Adding up"):
        from mynah.registry.registry import Registry
        from mynah.tracking.costs import run_costs
        from mynah.tracking.open import open_store

        store = open_store(existing(workdir))
        registry = Registry(store)
        runs = run_costs(store, name)
        if name and not runs:
            registry.bot(name)  # raises an error that names the most similar bot
        bots = [] if name else registry.bots()
    if as_json:
        print_json(run_records(runs) if name else bot_records(bots, runs))
    elif name:
        _show_runs(name, runs)
    else:
        _show_bots(bot_records(bots, runs))


def bot_records(bots: "Sequence[Bot]", runs: "Sequence[RunCost]") -> list[dict[str, Any]]:
    """Return a JSON object per bot: the totals of its runs, and the cost of a thousand answers of its champion, or None.

    Args:
        bots: the bots of the registry.
        runs: the costs of their runs; a bot can have runs without being registered.
    """
    names = dict.fromkeys([*(bot.name for bot in bots), *(run.bot for run in runs)])
    champions = {bot.name: bot.champion for bot in bots}
    records = []
    for name in names:
        bot_runs = [run for run in runs if run.bot == name]
        champion = champions.get(name)
        records.append(
            {
                "name": name, "runs": len(bot_runs), "seconds": round(sum(run.seconds for run in bot_runs), 3),
                "cost_usd": round(sum(run.usd for run in bot_runs), 6),
                "usd_per_1000_answers": champion.number("mynah.usd_per_1000_answers") if champion else None,
            }
        )  # fmt: skip
    return records


def run_records(runs: "Sequence[RunCost]") -> list[dict[str, Any]]:
    """Return a JSON object per run, with its steps."""
    return [
        {
            "run": run.run, "status": run.status, "started": datetime.fromtimestamp(run.started, UTC).isoformat(timespec="seconds"),
            "seconds": round(run.seconds, 3), "cost_usd": round(run.usd, 6),
            "steps": [
                {"step": step.step, "node": step.node, "seconds": round(step.seconds, 3), "cost_usd": round(step.usd, 6)}
                for step in run.steps
            ],
        }
        for run in runs
    ]  # fmt: skip


def _show_bots(records: Sequence[dict[str, Any]]) -> None:
    from rich.table import Table

    from pipelines.cli.render import console

    table = Table()
    for heading in ("Bot", "Runs", "Time", "Cost", "1,000 answers"):
        table.add_column(heading, justify="left" if heading == "Bot" else "right")
    for record in records:
        answers = record["usd_per_1000_answers"]
        table.add_row(
            record["name"], str(record["runs"]), f"{record['seconds']:,.0f} s", _usd(record["cost_usd"]),
            "" if answers is None else _usd(answers),
        )  # fmt: skip
    console().print(table)


def _show_runs(name: str, runs: "Sequence[RunCost]") -> None:
    from rich.table import Table

    from pipelines.cli.render import console

    table = Table(title=f"{name}: {_usd(sum(run.usd for run in runs))} in all", title_justify="left")
    for heading in ("Started (UTC)", "Run", "Step", "Node", "Time", "Cost"):
        table.add_column(heading, justify="right" if heading in ("Time", "Cost") else "left")
    for run in runs:
        started = f"{datetime.fromtimestamp(run.started, UTC):%Y-%m-%d %H:%M}"
        for step in run.steps:
            table.add_row("", "", step.step, step.node, f"{step.seconds:,.0f} s", _usd(step.usd))
        table.add_row(started, run.run[:8], run.status.lower(), "", f"{run.seconds:,.0f} s", _usd(run.usd), end_section=True)
    console().print(table)


def _usd(amount: float) -> str:
    return f"${amount:,.2f}" if amount >= 1 else f"${amount:.4f}"
