"""The command line `mynah`.

Each command imports what it needs when it runs: `mynah --help` must answer at once, and torch alone takes two seconds.
"""

import json
import signal
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer

from components.errors import INTERRUPTED, GateRefused, InputError, MynahError
from components.events import visible, waiting
from components.files import there_is

app = typer.Typer(
    help="A person's own posts in; a small language model that writes like them out.",
    epilog="With --debug, any command shows where in the code an error arose.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)

Sources = Annotated[
    list[str],
    typer.Option(
        "--from", help="Where posts come from: an X export (zip or folder), a CSV or JSONL file, or `sample`. Repeatable."
    ),
]
Workdir = Annotated[Path, typer.Option(envvar="MYNAH_WORKDIR", help="Folder for runs, MLflow's store and the registry.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, for machines.")]
BaseModel = Annotated[
    str, typer.Option(help="gpt2 or another GPT-2 of the hub (needs a network), a folder, or the bundled fledgling.")
]
RecipeFile = Annotated[Path | None, typer.Option(help="YAML file: a preset and what it changes.")]
Sets = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the recipe. Repeatable.")]
Rules = Annotated[str, typer.Option(help="huggingtweets (the original's) or default (they and more).")]
Limit = Annotated[int, typer.Option(min=0, max=1_000_000_000, help="Only the newest N posts of each source; 0: all.")]
Out = Annotated[Path, typer.Option(help="Folder to write; one that a step wrote before is replaced.")]
Name = Annotated[str, typer.Option(help="The bot's name: a-z, 0-9 and hyphens.")]
DEFAULT_WORKDIR = Path.home() / ".mynah"


@app.command()
def run(
    name: Name,
    sources: Sources,
    base_model: BaseModel = "fledgling",
    rules: Rules = "default",
    recipe: RecipeFile = None,
    sets: Sets = None,
    limit: Limit = 0,
    workdir: Workdir = DEFAULT_WORKDIR,
    as_json: Json = False,
) -> None:
    """The whole pipeline on this machine: fetch, filter, finetune, evaluate, card, register, promote."""
    from components.finetune.recipe import read
    from pipelines.launch import Order, launch
    from pipelines.show import outcome_record, show_outcome

    order = Order(name, sources, workdir, base_model, rules, read(recipe, sets or []), limit)
    outcome = launch(order)
    if as_json:
        _print_json(outcome_record(outcome))
    else:
        show_outcome(outcome, workdir)
    if not outcome.promoted:
        raise GateRefused(
            f"{name} version {outcome.version} was not promoted: {outcome.decision.removeprefix('refused: ')}",
            f"See {outcome.folder / 'report' / 'report.md'}.",
        )


@app.command()
def fetch(sources: Sources, out: Out, limit: Limit = 0, as_json: Json = False) -> None:
    """Posts of the sources, as posts.jsonl with their provenance."""
    from dataclasses import asdict

    from components.fetch import fetch as work

    found = work(sources, out, limit)
    _result(
        [asdict(each) for each in found], "\n".join(f"{each.posts:,} posts from {each.source} → {out}" for each in found), as_json
    )


@app.command(name="filter")
def filter_(
    raw: Annotated[Path, typer.Argument(help="Folder that `mynah fetch` wrote.")],
    out: Out,
    rules: Rules = "default",
    limit: Limit = 0,
    seed: Annotated[int, typer.Option(min=0, help="Of the split into train and held-out posts.")] = 42,
    as_json: Json = False,
) -> None:
    """Kept texts, train and held-out, and the funnel: what was dropped, and why."""
    from components.filter import FilterSettings, filter_posts
    from pipelines.show import show_funnel

    with waiting("Filtering"):
        record = filter_posts(raw, out, FilterSettings(rules, limit, seed)).to_record()
    if as_json:
        _print_json(record)
    else:
        show_funnel(record)


@app.command()
def finetune(
    data: Annotated[Path, typer.Argument(help="Folder that `mynah filter` wrote.")],
    out: Out,
    base_model: BaseModel = "fledgling",
    recipe: RecipeFile = None,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """A Hugging Face checkpoint of the base model, fine-tuned on the texts."""
    from components.finetune import FinetuneSettings
    from components.finetune import finetune as work
    from components.finetune.recipe import read

    record = work(data, out, FinetuneSettings(base_model, read(recipe, sets or [])))
    best = record["history"][record["best_epoch"]]
    told = (
        f"held-out loss {record['history'][0]['held_out_loss']:.3f} → {best['held_out_loss']:.3f} (epoch {best['epoch']} of "
        f"{len(record['history']) - 1}), {record['tokens_per_second']:,.0f} tokens/s, {record['seconds']:.0f} s → {out}"
    )
    _result(record, told, as_json)


@app.command()
def evaluate(
    model: Annotated[Path, typer.Argument(help="Folder that `mynah finetune` wrote.")],
    data: Annotated[Path, typer.Argument(help="Folder that `mynah filter` wrote.")],
    out: Out,
    base_model: Annotated[str, typer.Option(help="The base model, where training.json's name does not find it (a folder).")] = "",
    as_json: Json = False,
) -> None:
    """Metrics against the base model, samples, and the gate's verdict. Exit code 4 when the verdict is no."""
    from components.evaluate import EvaluateSettings
    from components.evaluate import evaluate as work

    verdict = work(model, data, out, EvaluateSettings(base_model))
    told = "\n".join(f"{'pass' if check.passed else 'FAIL'}  {check}" for check in verdict.checks)
    _result(verdict.to_record(), f"{told}\n→ {out}", as_json)
    if not verdict.passed:
        raise GateRefused(
            f"the gate does not pass it: {', '.join(check.metric for check in verdict.failures)}", f"See {out / 'report.md'}."
        )


@app.command()
def card(
    name: Name,
    model: Annotated[Path, typer.Argument(help="Folder that `mynah finetune` wrote.")],
    data: Annotated[Path, typer.Argument(help="Folder that `mynah filter` wrote.")],
    report: Annotated[Path, typer.Argument(help="Folder that `mynah evaluate` wrote.")],
    out: Out,
    as_json: Json = False,
) -> None:
    """The model card and predictions.png."""
    with waiting("Writing the card"):
        from components.card import card as work

        work(name, model, data, report, out)
    written = {"card": str(out / "README.md"), "picture": str(out / "predictions.png")}
    _result(written, "\n".join(written.values()), as_json)


@app.command()
def register(
    name: Name,
    model: Annotated[Path, typer.Argument(help="Folder that `mynah finetune` wrote.")],
    report: Annotated[Path, typer.Argument(help="Folder that `mynah evaluate` wrote.")],
    card_folder: Annotated[Path, typer.Argument(metavar="CARD", help="Folder that `mynah card` wrote.")],
    workdir: Workdir = DEFAULT_WORKDIR,
    as_json: Json = False,
) -> None:
    """The checkpoint as the bot's next version in the registry, alias `challenger`."""
    from dataclasses import asdict

    with waiting("Registering"):
        from components.register import by_hand

        found = by_hand(name, model, report, card_folder, workdir)
    _result(
        asdict(found), f"{found.name} version {found.version} registered; `mynah promote {found.name}` makes it serve", as_json
    )


@app.command()
def promote(
    name: Annotated[str, typer.Argument(help="The bot.")],
    version: Annotated[int, typer.Option(min=0, help="Which version; 0: the challenger.")] = 0,
    workdir: Workdir = DEFAULT_WORKDIR,
    as_json: Json = False,
) -> None:
    """Make a version the champion, if the gate and the champion allow it. Exit code 4 when they do not."""
    from dataclasses import asdict

    from components.promote import promote as work
    from components.promote import refusal
    from components.tracking import open_store

    with waiting("Promoting"):
        decision = work(name, open_store(_existing(workdir)), version)
    if as_json:
        _print_json(asdict(decision))
    if not decision.promoted:
        raise refusal(decision)
    if not as_json:
        print(f"{name} version {decision.version} is the champion")


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

    from components.generation import Sampling
    from components.generation import generate as work

    used = secrets.randbits(32) if seed is None else seed
    sampling = Sampling(n, temperature, top_p, min_tokens=max(0, min(10, max_tokens)), max_tokens=max_tokens, seed=used)
    with waiting(f"{Path(name).name} is writing"):
        folder = Path(name) if "/" in name or there_is(Path(name) / "config.json") else _champion_folder(name, workdir)
        from components.checkpoint import load

        answers = work(load(folder), prompt, sampling)
    _result({"prompt": prompt, "seed": used, "texts": answers}, "\n".join(answers), as_json)


@app.command()
def serve(
    names: Annotated[list[str] | None, typer.Argument(help="The bots; all champions when none is named.")] = None,
    host: Annotated[str, typer.Option(help="Address to bind. 0.0.0.0 opens it to the network, without keys.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free one.")] = 8080,
    workdir: Workdir = DEFAULT_WORKDIR,
) -> None:
    """Serve champions by KServe's v1 and v2 protocols."""
    _existing(workdir)
    with waiting("Opening the registry"):
        from pipelines.serve import champions

        found = champions(workdir, names or [])
    from serving.server import serve as work

    work(found, host, port)


@app.command()
def bots(workdir: Workdir = DEFAULT_WORKDIR, as_json: Json = False) -> None:
    """What bots there are: champion, verdict, date."""
    from pipelines.show import bot_record, show_bots

    if not there_is(workdir / "mlflow.db"):
        found = []
    else:
        with waiting("Opening the registry"):
            from components.registry import Registry
            from components.tracking import open_store

            found = Registry(open_store(workdir)).bots()
    if as_json:
        _print_json([bot_record(bot) for bot in found])
    else:
        show_bots(found)


@app.command(name="compile")
def compile_(
    out: Annotated[Path, typer.Option(help="The YAML file to write.")] = Path("pipeline.yaml"), as_json: Json = False
) -> None:
    """Write the pipeline as Kubeflow Pipelines takes it."""
    with waiting("Compiling"):
        from pipelines.compiled import write

        write(out)
    _result({"pipeline": str(out)}, str(out), as_json)


@app.command()
def demo(workdir: Workdir = DEFAULT_WORKDIR) -> None:
    """The whole way on the bundled sample: make the bot, serve it, ask it to continue "My dream is"."""
    from pipelines.demo import demo as work

    work(workdir)


def _existing(workdir: Path) -> Path:
    """A work folder that holds a store. Raises InputError before an empty one would be made in a wrong place."""
    if not there_is(workdir / "mlflow.db"):
        raise InputError(
            f"there are no bots in {workdir}", "Make one with `mynah run --name NAME --from SOURCE`, or name another --workdir."
        )
    return workdir


def _champion_folder(name: str, workdir: Path) -> Path:
    _existing(workdir)
    from pipelines.serve import champions

    return champions(workdir, [name])[0].folder


def _result(record: Any, told: str, as_json: bool) -> None:  # noqa: ANN401 - any JSON value
    if as_json:
        _print_json(record)
    else:
        print(visible(told))


def _print_json(record: Any) -> None:  # noqa: ANN401 - any JSON value
    print(json.dumps(record, indent=2, ensure_ascii=False))


def _interrupt() -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Run the command line; errors in one or two lines, no traceback without --debug."""
    # Kubernetes and service managers end a process so: end as on Ctrl-C, and leave nothing half-written.
    signal.signal(signal.SIGTERM, lambda *_: _interrupt())
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
