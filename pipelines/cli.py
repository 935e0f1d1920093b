"""The command line `mynah`.

Each command imports what it needs when it runs: `mynah --help` must answer at once, and torch alone takes two seconds.
"""

import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from components.errors import INTERRUPTED, GateRefused, MynahError, interrupt_on_sigterm
from components.events import visible, waiting
from components.files import there_is
from components.garbage import collect_seldom
from pipelines import bots, cluster, keys, steps
from pipelines.costs import costs
from pipelines.deploy import deploy, preflight
from pipelines.options import (
    DEFAULT_WORKDIR,
    BaseModel,
    Basis,
    Budget,
    Effort,
    GoOn,
    Json,
    Limit,
    MaxCost,
    Name,
    RecipeFile,
    Rules,
    Runner,
    Sets,
    Sources,
    Weights,
    Workdir,
    Yes,
    cost,
    print_json,
    result,
)
from pipelines.publish import publish
from pipelines.search import sweep
from pipelines.serve import champion, serve

app = typer.Typer(
    help="A person's own posts in; a small language model that writes like them out.",
    epilog="With --debug, any command shows where in the code an error arose.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)


@app.command()
def run(
    name: Name,
    sources: Sources,
    basis: Basis = "",
    base_model: BaseModel = "fledgling",
    rules: Rules = "default",
    recipe: RecipeFile = None,
    effort: Effort = None,
    weights: Weights = None,
    sets: Sets = None,
    limit: Limit = 0,
    budget: Budget = 0.0,
    max_cost: MaxCost = 0.0,
    yes: Yes = False,
    go_on: GoOn = False,
    runner: Runner = "subprocess",
    workdir: Workdir = DEFAULT_WORKDIR,
    as_json: Json = False,
) -> None:
    """The whole pipeline on this machine: fetch, filter, finetune, evaluate, card, register, promote."""
    from components.finetune.recipe import read
    from pipelines.launch import Order, launch
    from pipelines.show import outcome_record, show_outcome

    found = read(recipe, sets, effort, weights)
    order = Order(
        name, sources, workdir, base_model, rules, found, limit, budget, runner, go_on=go_on, basis=basis, max_cost=cost(max_cost, yes)
    )  # fmt: skip
    outcome = launch(order)
    if as_json:
        print_json(outcome_record(outcome))
    else:
        show_outcome(outcome, workdir)
    if not outcome.promoted:
        raise GateRefused(
            f"{name} version {outcome.version} was not promoted: {outcome.decision.removeprefix('refused: ')}",
            f"See {outcome.folder / 'report' / 'report.md'}.",
        )


app.command()(sweep)

for step_name, step_command in steps.COMMANDS.items():
    app.command(name=step_name)(step_command)


@app.command()
def generate(
    name: Annotated[str, typer.Argument(help="The bot, or a folder with a checkpoint.")],
    prompt: Annotated[str, typer.Argument(help="What the bot continues.")] = "My dream is",
    n: Annotated[int, typer.Option("-n", help="How many answers.")] = 1,
    temperature: Annotated[float, typer.Option(help="Below 1 safer, above 1 wilder.")] = 1.0,
    top_p: Annotated[float, typer.Option(help="Sample among the likeliest tokens with this much probability.")] = 0.95,
    max_tokens: Annotated[int, typer.Option(help="The longest answer.")] = 160,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same answers.")] = None,
    workdir: Workdir = DEFAULT_WORKDIR,
    as_json: Json = False,
) -> None:
    """Continue a prompt with a bot, in this process."""
    import secrets

    from components.generation import Sampling, fewest_tokens

    used = secrets.randbits(32) if seed is None else seed
    sampling = Sampling(n, temperature, top_p, min_tokens=fewest_tokens(max_tokens), max_tokens=max_tokens, seed=used)
    with waiting(f"{Path(name).name} is writing"):
        folder = Path(name) if "/" in name or there_is(Path(name) / "config.json") else champion(workdir, name).folder
        from serving.once import answer_once

        answers = answer_once(folder, prompt, sampling)
    result({"prompt": prompt, "seed": used, "texts": answers}, "\n".join(answers), as_json)


app.command()(serve)
app.command()(costs)
app.command()(deploy)
app.command()(preflight)
app.command()(publish)

for bots_name, bots_command in bots.COMMANDS.items():
    app.command(name=bots_name)(bots_command)

for cluster_name, cluster_command in cluster.COMMANDS.items():
    app.command(name=cluster_name)(cluster_command)

app.add_typer(keys.app, name="keys")


@app.command()
def demo(workdir: Workdir = DEFAULT_WORKDIR) -> None:
    """The whole way on the bundled sample: make the bot, serve it, ask it to continue "My dream is"."""
    from pipelines.demo import demo as work

    work(workdir)


def main() -> None:
    """Run the command line; errors in one or two lines, no traceback without --debug."""
    interrupt_on_sigterm()
    collect_seldom()
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        app(args=arguments, prog_name="mynah")
    except SystemExit as ended:
        if ended.code == INTERRUPTED:  # Typer's answer to a KeyboardInterrupt, in silence
            print("interrupted; nothing half-written is left", file=sys.stderr)
        raise
    except MynahError as error:
        if debug:
            traceback.print_exc()
        print(f"error: {visible(str(error))}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.exit(0)
    except Exception as error:  # noqa: BLE001 - the last line of defence: a bug, told as one
        if debug:
            traceback.print_exc()
        print(
            f"error: {type(error).__name__}: {error}\nThis is a bug in mynah. Run again with --debug and report it.",
            file=sys.stderr,
        )
        sys.exit(1)
