"""`mynah sweep`: runs the whole pipeline on this machine with a search for the recipe, and prints its result."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from mynah.core.progress import strip_control_chars
from pipelines.cli.options import DEFAULT_WORKDIR, Json, Workdir, print_json, require_promoted
from pipelines.flat_signature import MadeBy, flatten
from pipelines.run_spec import RunSpec, read_searched_recipe, search

if TYPE_CHECKING:
    from pipelines.local.outcome import Outcome

SearchedRun = Annotated[
    RunSpec, MadeBy(RunSpec, recipe=MadeBy(read_searched_recipe), sweep=MadeBy(search), continue_training=None)
]


@flatten
def sweep(spec: SearchedRun, workdir: Workdir = DEFAULT_WORKDIR, as_json: Json = False) -> None:
    """Search for the best recipe for the posts, and make the bot with it. Values that you --set are not varied."""
    from pipelines.cli.render import outcome_record, show_outcome
    from pipelines.local.launcher import launch

    outcome = launch(spec, workdir)
    if as_json:
        print_json({**outcome_record(outcome), "search": search_of(outcome)})
    else:
        show_search(search_of(outcome), outcome.folder)
        show_outcome(outcome, workdir)
    require_promoted(outcome)


def search_of(outcome: "Outcome") -> dict[str, Any]:
    """Return the trials of a sweep and the number of the best one."""
    from components.sweep.best_trial import TRIALS_FILE
    from mynah.core.files import read_json

    return dict(read_json(outcome.folder / "search" / TRIALS_FILE, "sweep"))


def show_search(search: dict[str, Any], folder: Path) -> None:
    """Print the trials as a table, and the paths of the plot and the recipe.

    Args:
        search: the trials, as `search_of` returns them.
        folder: the run's folder.
    """
    from rich.table import Table

    from pipelines.cli.render import console

    out, keys = console(), list(next(trial["searched"] for trial in search["trials"] if trial["number"] == search["best"]))
    table = Table(title="Trials, the best first", title_justify="left")
    for heading in ("", "Held-out loss", "State", *(key.replace("_", " ") for key in keys)):
        table.add_column(heading, justify="left" if heading in ("State", "schedule") else "right", no_wrap=heading == "State")
    for trial in sorted(search["trials"], key=_rank):
        loss = "" if trial["held_out_loss"] is None else f"{trial['held_out_loss']:.3f}"
        values = [_text(trial["searched"].get(key, "")) for key in keys]
        table.add_row(
            str(trial["number"]), loss, trial["state"], *values, style="bold" if trial["number"] == search["best"] else None
        )
    out.print(table)
    for trial in search["trials"]:
        if trial["cause"]:
            out.print(strip_control_chars(f"{trial['number']}: {trial['cause']}"), style="dim")
    if kept := [str(trial["number"]) for trial in search["trials"] if trial.get("kept_from")]:
        out.print(f"Kept from an earlier search of the same inputs: {', '.join(kept)}", style="dim")
    if mattered := sorted(search["importance"].items(), key=lambda item: -item[1]):
        out.print(f"What mattered: {', '.join(f'{key} {share:.0%}' for key, share in mattered)}", style="dim")
    out.print(
        f"\nThe search   {folder / 'search' / 'search.png'} (in MLflow: the run's step choose, artifact search)",
        soft_wrap=True,
    )
    out.print(f"The recipe   {folder / 'search' / 'recipe.yaml'} (for --recipe)\n", soft_wrap=True)


def _rank(row: dict[str, Any]) -> tuple[int, float]:
    """Return the sort key: completed trials by their loss, then pruned ones, then the rest."""
    states = ("completed", "pruned")
    group = states.index(row["state"]) if row["state"] in states else len(states)
    return group, row["held_out_loss"] if row["held_out_loss"] is not None else float("inf")


def _text(value: object) -> str:
    return f"{value:,.3g}" if isinstance(value, float) else str(value)
