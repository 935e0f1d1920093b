"""Prints results as tables on stdout, with rich."""

import contextlib
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mynah.data.funnel import Funnel
from pipelines.local.outcome import Outcome

PIPE_COLUMNS = 100  # the width of output that is not a terminal


def console() -> Console:
    """Return a console on stdout that does not interpret markup, because names and posts are untrusted text."""
    return Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else PIPE_COLUMNS)


def show_funnel(funnel: Funnel) -> None:
    """Print a funnel as a table with a column per author."""
    table = Table(title=f"Funnel (rules: {funnel.rules})", title_justify="left")
    table.add_column("")
    for author in funnel.authors:
        table.add_column(Text(f"@{author.author}"), justify="right")
    for label, counts in funnel.rows():
        table.add_row(label, *(f"{count:,}" for count in counts))
    table.add_row("Characters kept", *(f"{author.kept_characters:,}" for author in funnel.authors))
    console().print(table)
    console().print(f"{funnel.train:,} to train on, {funnel.held_out:,} held out", style="dim")


def show_outcome(outcome: Outcome, workdir: Path) -> None:
    """Print the results of a pipeline run, its files, and the next commands.

    Args:
        outcome: the run's outcome.
        workdir: the work folder.
    """
    out = console()
    show_funnel(outcome.funnel)
    metrics = outcome.metrics
    out.print(
        f"\nHeld-out loss {metrics['base_held_out_loss']:.3f} (base model) → {metrics['held_out_loss']:.3f}, "
        f"{metrics['base_bits_per_character']:.3f} → {metrics['bits_per_character']:.3f} bits per character"
    )
    version = f"version {outcome.version}" if outcome.version else "has no new version"
    out.print(f"{outcome.name} {version}: {outcome.decision}, {outcome.seconds:.0f} s", style="bold")
    where = "" if workdir == Path.home() / ".mynah" else f" --workdir {shlex.quote(str(workdir))}"
    out.print(f"\nCard         {outcome.folder / 'card' / 'README.md'}", soft_wrap=True)
    out.print(f"Picture      {outcome.folder / 'card' / 'predictions.png'}", soft_wrap=True)
    out.print(f"Report       {outcome.folder / 'report' / 'report.md'}", soft_wrap=True)
    if outcome.promoted:
        out.print(f'Try it       {program("mynah")} generate {outcome.name} "My dream is" -n 5{where}', soft_wrap=True)
        out.print(f"Serve it     {program('mynah')} serve{where}", soft_wrap=True)
    out.print(f"See the runs {mlflow_command(workdir)}", soft_wrap=True)


def program(name: str) -> str:
    """Return the command for a program of this Python installation: its name when PATH finds it, otherwise its path."""
    here = Path(sys.executable).parent / name
    on_path = shutil.which(name)
    if on_path and Path(on_path).resolve() == here.resolve():
        return name
    with contextlib.suppress(ValueError):
        return shlex.quote(str(here.relative_to(Path.cwd())))
    return shlex.quote(str(here))


def mlflow_command(workdir: Path) -> str:
    """Return the command that shows the work folder's runs in MLflow's UI."""
    port = " --port 5001" if sys.platform == "darwin" else ""  # on macOS, AirPlay listens on MLflow's default port 5000
    return f"{program('mlflow')} ui --backend-store-uri {shlex.quote(f'sqlite:///{workdir.resolve()}/mlflow.db')}{port}"


def outcome_record(outcome: Outcome) -> dict[str, Any]:
    """Return the outcome as a JSON object."""
    return {
        "name": outcome.name, "version": outcome.version or None, "promoted": outcome.promoted, "decision": outcome.decision,
        "folder": str(outcome.folder), "mlflow_run": outcome.mlflow_run, "seconds": round(outcome.seconds, 1),
        "metrics": outcome.metrics, "funnel": outcome.funnel.to_record(), "samples": [group.to_record() for group in outcome.samples],
        **({"continual": outcome.training.to_record()["continual"]} if outcome.continual else {}),
    }  # fmt: skip
