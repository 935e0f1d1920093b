"""Results for people: tables by rich on stdout."""

import contextlib
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from components.filter.funnel import rows
from pipelines.launch import Outcome

NARROWEST = 100  # columns of a pipe, where nobody said how wide it is


def console() -> Console:
    """A console on stdout that never reads markup in what it prints: names and posts are foreign text."""
    return Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else NARROWEST)


def show_funnel(funnel: dict[str, Any]) -> None:
    """The funnel as a table with a column per author."""
    table = Table(title=f"Funnel (rules: {funnel['rules']})", title_justify="left")
    table.add_column("")
    for author in funnel["authors"]:
        table.add_column(Text(f"@{author['author']}"), justify="right")
    for label, counts in rows(funnel):
        table.add_row(label, *(f"{count:,}" for count in counts))
    table.add_row("Characters kept", *(f"{author['kept_characters']:,}" for author in funnel["authors"]))
    console().print(table)
    console().print(f"{funnel['train']:,} to train on, {funnel['held_out']:,} held out", style="dim")


def show_outcome(outcome: Outcome, workdir: Path) -> None:
    """What a pipeline run did, where things lie, and what to do next."""
    out = console()
    show_funnel(outcome.funnel)
    metrics = outcome.metrics
    out.print(
        f"\nHeld-out loss {metrics['base_held_out_loss']:.3f} (base model) → {metrics['held_out_loss']:.3f}, "
        f"{metrics['base_bits_per_character']:.3f} → {metrics['bits_per_character']:.3f} bits per character"
    )
    out.print(f"{outcome.name} version {outcome.version}: {outcome.decision}, {outcome.seconds:.0f} s", style="bold")
    where = "" if workdir == Path.home() / ".mynah" else f" --workdir {shlex.quote(str(workdir))}"
    out.print(f"\nCard         {outcome.folder / 'card' / 'README.md'}", soft_wrap=True)
    out.print(f"Picture      {outcome.folder / 'card' / 'predictions.png'}", soft_wrap=True)
    out.print(f"Report       {outcome.folder / 'report' / 'report.md'}", soft_wrap=True)
    if outcome.promoted:
        out.print(f'Try it       {program("mynah")} generate {outcome.name} "My dream is" -n 5{where}', soft_wrap=True)
        out.print(f"Serve it     {program('mynah')} serve{where}", soft_wrap=True)
    out.print(f"See the runs {mlflow_command(workdir)}", soft_wrap=True)


def program(name: str) -> str:
    """How to call a program of this Python's from the current folder: by its name where PATH finds it, else by its path."""
    here = Path(sys.executable).parent / name
    found = shutil.which(name)
    if found and Path(found).resolve() == here.resolve():
        return name
    with contextlib.suppress(ValueError):
        return shlex.quote(str(here.relative_to(Path.cwd())))
    return shlex.quote(str(here))


def mlflow_command(workdir: Path) -> str:
    """The command that shows the work folder's runs in MLflow's page."""
    return f"{program('mlflow')} ui --backend-store-uri {shlex.quote(f'sqlite:///{workdir.resolve()}/mlflow.db')}"


def outcome_record(outcome: Outcome) -> dict[str, Any]:
    """The outcome as a JSON object."""
    return {
        "name": outcome.name, "version": outcome.version, "promoted": outcome.promoted, "decision": outcome.decision,
        "folder": str(outcome.folder), "mlflow_run": outcome.mlflow_run, "seconds": round(outcome.seconds, 1),
        "metrics": outcome.metrics, "funnel": outcome.funnel, "samples": outcome.samples,
        **({"continual": outcome.continual} if outcome.continual else {}),
    }  # fmt: skip
