"""Each step of the pipeline as a command by itself over folders: run, look, run the next."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from components.errors import GateRefused, InputError
from components.events import waiting
from components.files import there_is
from components.store import server_address
from pipelines.options import (
    DEFAULT_WORKDIR,
    BaseModel,
    Effort,
    Json,
    Limit,
    Name,
    Out,
    RecipeFile,
    Rules,
    Sets,
    Sources,
    Weights,
    Workdir,
    existing,
    print_json,
    result,
)


def fetch(sources: Sources, out: Out, limit: Limit = 0, workdir: Workdir = DEFAULT_WORKDIR, as_json: Json = False) -> None:
    """Posts of the sources, as posts.jsonl with their provenance."""
    from dataclasses import asdict

    from components.fetch import fetch as work

    store = None
    if server_address() or there_is(workdir / "mlflow.db"):  # it knows who asked to be forgotten
        from components.store import open_store

        store = open_store(workdir)
    found = work(sources, out, limit, store)
    result(
        [asdict(each) for each in found], "\n".join(f"{each.posts:,} posts from {each.source} → {out}" for each in found), as_json
    )


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
        print_json(record)
    else:
        show_funnel(record)


def finetune(
    data: Annotated[Path, typer.Argument(help="Folder that `mynah filter` wrote.")],
    out: Out,
    base_model: BaseModel = "fledgling",
    recipe: RecipeFile = None,
    effort: Effort = None,
    weights: Weights = None,
    sets: Sets = None,
    checkpoints: Annotated[
        str,
        typer.Option(
            metavar="WHERE",
            help="Folder or s3://BUCKET/PREFIX for training states: the same command goes on there when it was ended.",
        ),
    ] = "",
    from_model: Annotated[
        Path | None, typer.Option(help="Go on from this fine-tuned model, where that beats starting over; with --trained-on.")
    ] = None,
    trained_on: Annotated[
        Path | None, typer.Option(help="Folder that `mynah filter` wrote, and that model was trained on.")
    ] = None,
    every: Annotated[float, typer.Option(min=0, metavar="SECONDS", help="Between two training states.")] = 300,
    processes: Annotated[int, typer.Option(min=0, max=64, help="That train together, by torchrun; 0: one per GPU.")] = 0,
    as_json: Json = False,
) -> None:
    """A Hugging Face checkpoint of the base model, fine-tuned on the texts."""
    from components.finetune import FinetuneSettings
    from components.finetune import finetune as work
    from components.finetune.recipe import read

    settings = FinetuneSettings(base_model, read(recipe, sets, effort, weights), None, checkpoints, every, processes)
    if (from_model is None) != (trained_on is None):
        raise InputError("--from-model and --trained-on go together", "Give both: what is new, only the old posts can tell.")
    if from_model and trained_on:
        from components.finetune.ancestor import by_hand
        from components.finetune.continual import go_on

        record = go_on(data, out, settings, by_hand(from_model, trained_on))
    else:
        record = work(data, out, settings)
    best = record["history"][record["best_epoch"]]
    told = (
        f"held-out loss {record['history'][0]['held_out_loss']:.3f} → {best['held_out_loss']:.3f} (epoch {best['epoch']} of "
        f"{len(record['history']) - 1}), {record['tokens_per_second']:,.0f} tokens/s, {record['seconds']:.0f} s → {out}"
    )
    result(record, told, as_json)


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
    result(verdict.to_record(), f"{told}\n→ {out}", as_json)
    if not verdict.passed:
        raise GateRefused(
            f"the gate does not pass it: {', '.join(check.metric for check in verdict.failures)}", f"See {out / 'report.md'}."
        )


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
    result(written, "\n".join(written.values()), as_json)


def register(
    name: Name,
    model: Annotated[Path, typer.Argument(help="Folder that `mynah finetune` wrote.")],
    data: Annotated[Path, typer.Argument(help="Folder that `mynah filter` wrote, and the model was trained on.")],
    report: Annotated[Path, typer.Argument(help="Folder that `mynah evaluate` wrote.")],
    card_folder: Annotated[Path, typer.Argument(metavar="CARD", help="Folder that `mynah card` wrote.")],
    workdir: Workdir = DEFAULT_WORKDIR,
    as_json: Json = False,
) -> None:
    """The checkpoint as the bot's next version in the registry, alias `challenger`."""
    from dataclasses import asdict

    with waiting("Registering"):
        from components.register import by_hand

    found = by_hand(name, model, data, report, card_folder, workdir)
    result(
        asdict(found), f"{found.name} version {found.version} registered; `mynah promote {found.name}` makes it serve", as_json
    )


def promote(
    name: Annotated[str, typer.Argument(help="The bot.")],
    version: Annotated[int, typer.Option(min=0, help="Which version; 0: the challenger.")] = 0,
    force: Annotated[str, typer.Option(metavar="REASON", help="Promote all the same; the reason is recorded.")] = "",
    workdir: Workdir = DEFAULT_WORKDIR,
    as_json: Json = False,
) -> None:
    """Make a version the champion, if the gate and the champion allow it. Exit code 4 when they do not."""
    from dataclasses import asdict

    from components.promote import promote as work
    from components.promote import refusal
    from components.store import open_store

    with waiting("Promoting"):
        decision = work(name, open_store(existing(workdir)), version, force)
    if as_json:
        print_json(asdict(decision))
    if not decision.promoted:
        raise refusal(decision)
    if not as_json:
        print(
            f"{name} version {decision.version} is the champion{', forced against: ' + '; '.join(decision.reasons) if decision.forced else ''}"
        )


COMMANDS: dict[str, Callable[..., None]] = {
    "fetch": fetch, "filter": filter_, "finetune": finetune, "evaluate": evaluate, "card": card, "register": register, "promote": promote,
}  # fmt: skip
