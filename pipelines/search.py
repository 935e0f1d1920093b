"""`mynah sweep`: the whole pipeline on this machine, with a search for the recipe; and how its result is shown."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from components.errors import GateRefused
from components.events import visible
from pipelines.options import (
    DEFAULT_WORKDIR,
    BaseModel,
    Basis,
    Budget,
    Effort,
    Json,
    Limit,
    MaxCost,
    Name,
    RecipeFile,
    Rules,
    Sets,
    Sources,
    Weights,
    Workdir,
    Yes,
    cost,
    print_json,
)

if TYPE_CHECKING:
    from pipelines.launch import Outcome

Trials = Annotated[int, typer.Option(help="How many recipes to try.")]
SpaceName = Annotated[
    str, typer.Option("--space", help="default, or huggingtweets: the original's; unless told, that of the recipe's preset.")
]
Minutes = Annotated[
    float, typer.Option(help="For the whole run: no trial begins when the rest is needed for the bot itself; 0: no limit.")
]


def sweep(
    name: Name,
    sources: Sources,
    basis: Basis = "",
    trials: Trials = 12,
    space: SpaceName = "",
    base_model: BaseModel = "fledgling",
    rules: Rules = "default",
    recipe: RecipeFile = None,
    effort: Effort = None,
    weights: Weights = None,
    sets: Sets = None,
    limit: Limit = 0,
    budget: Budget = 0.0,
    minutes: Minutes = 0.0,
    max_cost: MaxCost = 0.0,
    yes: Yes = False,
    workdir: Workdir = DEFAULT_WORKDIR,
    as_json: Json = False,
) -> None:
    """Search the recipe that suits the posts, and make the bot with the best. What you --set stays as it is."""
    from components.sweep import Sweep
    from components.sweep.space import recipe_for
    from pipelines.launch import Order, launch
    from pipelines.show import outcome_record, show_outcome

    start = recipe_for(space, recipe, sets, effort, weights)
    order = Order(
        name, sources, workdir, base_model, rules, start, limit, budget, sweep=Sweep(trials, start.preset, minutes), basis=basis,
        max_cost=cost(max_cost, yes),
    )  # fmt: skip
    outcome = launch(order)
    if as_json:
        print_json({**outcome_record(outcome), "search": search_of(outcome)})
    else:
        show_search(search_of(outcome), outcome.folder)
        show_outcome(outcome, workdir)
    if not outcome.promoted:
        raise GateRefused(
            f"{name} version {outcome.version} was not promoted: {outcome.decision.removeprefix('refused: ')}",
            f"See {outcome.folder / 'report' / 'report.md'}.",
        )


def search_of(outcome: "Outcome") -> dict[str, Any]:
    """The trials of a sweep, and which was the best."""
    from components.files import read_json

    return dict(read_json(outcome.folder / "search" / "trials.json", "sweep"))


def show_search(search: dict[str, Any], folder: Path) -> None:
    """The trials as a table, and where the picture and the recipe lie: `folder` is the run's."""
    from rich.table import Table

    from pipelines.show import console

    out, keys = console(), list(next(each["searched"] for each in search["trials"] if each["number"] == search["best"]))
    table = Table(title="Trials, the best first", title_justify="left")
    for heading in ("", "Held-out loss", "State", *(key.replace("_", " ") for key in keys)):
        table.add_column(heading, justify="left" if heading in ("State", "schedule") else "right", no_wrap=heading == "State")
    for each in sorted(search["trials"], key=_rank):
        loss = "" if each["held_out_loss"] is None else f"{each['held_out_loss']:.3f}"
        values = [_told(each["searched"].get(key, "")) for key in keys]
        table.add_row(
            str(each["number"]), loss, each["state"], *values, style="bold" if each["number"] == search["best"] else None
        )
    out.print(table)
    for each in search["trials"]:
        if each["cause"]:
            out.print(visible(f"{each['number']}: {each['cause']}"), style="dim")
    if mattered := sorted(search["importance"].items(), key=lambda item: -item[1]):
        out.print(f"What mattered: {', '.join(f'{key} {share:.0%}' for key, share in mattered)}", style="dim")
    out.print(
        f"\nThe search   {folder / 'search' / 'search.png'} (in MLflow: the run's step choose, artifact search)",
        soft_wrap=True,
    )
    out.print(f"The recipe   {folder / 'search' / 'recipe.yaml'} (for --recipe)\n", soft_wrap=True)


def _rank(row: dict[str, Any]) -> tuple[int, float]:
    """Completed ones by their loss, then those that were stopped early, then the rest."""
    states = ("completed", "pruned")
    place = states.index(row["state"]) if row["state"] in states else len(states)
    return place, row["held_out_loss"] if row["held_out_loss"] is not None else float("inf")


def _told(value: object) -> str:
    return f"{value:,.3g}" if isinstance(value, float) else str(value)
