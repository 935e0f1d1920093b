"""What the commands of `mynah` share: their options, and how they print a result."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from components.errors import InputError
from components.events import visible
from components.files import there_is
from components.store import server_address

Sources = Annotated[
    list[str],
    typer.Option(
        "--from",
        help="Where posts come from: an export (zip or folder), a CSV, JSONL or Parquet file, x://HANDLE, bsky://HANDLE, "
        "mastodon://USER@HOST, s3://BUCKET/KEY, or `sample`. Repeatable.",
    ),
]
Basis = Annotated[
    str,
    typer.Option(
        metavar="WHY",
        help="On what basis the posts may be used: own-account (you wrote them), permission (their author agreed) or "
        "public-figure-research. An export is taken for your own; all else needs it.",
    ),
]
MaxCost = Annotated[float, typer.Option(metavar="USD", help="What the posts of x:// accounts may cost in all.")]
Yes = Annotated[bool, typer.Option("--yes", help="Pay whatever the x:// accounts cost.")]
Workdir = Annotated[Path, typer.Option(envvar="MYNAH_WORKDIR", help="Folder for runs, MLflow's store and the registry.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, for machines.")]
BaseModel = Annotated[
    str, typer.Option(help="gpt2 or another GPT-2 of the hub (needs a network), a folder, or the bundled fledgling.")
]
RecipeFile = Annotated[Path | None, typer.Option(help="YAML file: a preset and what it changes.")]
Effort = Annotated[
    Literal["quick", "standard", "best"] | None,
    typer.Option(help="How long to train: epochs and early end; each can be --set by itself."),
]
Weights = Annotated[
    list[str] | None,
    typer.Option(
        "--weight", metavar="AUTHOR=SHARE", help="An author's share of a blend, 0 to 1; the rest is shared equally. Repeatable."
    ),
]
GoOn = Annotated[
    bool, typer.Option("--continue", help="Go on from the champion with the posts that are new, where that beats starting over.")
]
Sets = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the recipe. Repeatable.")]
Rules = Annotated[
    str, typer.Option(help="huggingtweets (the original's), default (they and more), or default,-NAME,+NAME to switch some.")
]
Limit = Annotated[int, typer.Option(min=0, max=1_000_000_000, help="Only the newest N posts of each source; 0: all.")]
Budget = Annotated[
    float,
    typer.Option(metavar="USD", help="What the run may cost: fine-tuning stops in time and keeps its best model; 0: no limit."),
]
Runner = Annotated[
    Literal["subprocess", "docker"],
    typer.Option(help="docker runs each step in its image, see `make images`, by Docker or podman."),
]
Out = Annotated[Path, typer.Option(help="Folder to write; one that a step wrote before is replaced.")]
Name = Annotated[str, typer.Option(help="The bot's name: a-z, 0-9 and hyphens.")]
DEFAULT_WORKDIR = Path.home() / ".mynah"


def existing(workdir: Path) -> Path:
    """A work folder that holds a store, or any where a server does. Raises InputError before an empty one would be made in a wrong place."""
    if not server_address() and not there_is(workdir / "mlflow.db"):
        raise InputError(
            f"there are no bots in {workdir}", "Make one with `mynah run --name NAME --from SOURCE`, or name another --workdir."
        )
    return workdir


def cost(max_cost: float, yes: bool) -> float:
    """The pipelines' parameter: US dollars for X's API; 0 none, -1 what it takes. Raises InputError for what is no amount of money."""
    if not 0 <= max_cost < 1e9:
        raise InputError(f"--max-cost is {max_cost}", "Write US dollars, for example --max-cost 5.")
    return max_cost or (-1.0 if yes else 0.0)


def result(record: Any, told: str, as_json: bool) -> None:  # noqa: ANN401 - any JSON value
    """Print `record` as JSON, or what is `told` of it."""
    if as_json:
        print_json(record)
    else:
        print(visible(told))


def print_json(record: Any) -> None:  # noqa: ANN401 - any JSON value
    """Print a JSON value on stdout."""
    print(json.dumps(record, indent=2, ensure_ascii=False))
