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
    Basis,
    Effort,
    Json,
    Limit,
    MaxCost,
    Name,
    Out,
    RecipeFile,
    Rules,
    Sets,
    Sources,
    Weights,
    Workdir,
    Yes,
    cost,
    existing,
    print_json,
    result,
)


def fetch(
    sources: Sources,
    out: Out,
    basis: Basis = "",
    limit: Limit = 0,
    max_cost: MaxCost = 0.0,
    yes: Yes = False,
    workdir: Workdir = DEFAULT_WORKDIR,
    as_json: Json = False,
) -> None:
    """Posts of the sources, as posts.jsonl with their provenance."""
    from dataclasses import asdict

    from components.fetch import fetch as work
    from components.fetch.x_price import spend_of

    spend = spend_of(cost(max_cost, yes))
    store = None
    if server_address() or there_is(workdir / "mlflow.db"):  # it knows who asked to be forgotten
        from components.store import open_store

        store = open_store(workdir)
    found = work(sources, out, limit, store, basis, spend)
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
    champion: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="A model trained on the same folder, to be better than.")
    ] = None,
    gate: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Thresholds other than components/evaluate/gate.yaml.")
    ] = None,
    samples: Annotated[int, typer.Option(min=5, max=200, help="Texts to judge by, half of them from nothing.")] = 200,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of the samples.")] = 42,
    as_json: Json = False,
) -> None:
    """Metrics against the base model, samples, and the gate's verdict. Exit code 4 when the verdict is no."""
    from components.evaluate import EvaluateSettings
    from components.evaluate import evaluate as work
    from components.evaluate.champion import by_hand
    from components.evaluate.gate import GATE_FILE

    settings = EvaluateSettings(base_model, samples, seed, gate or GATE_FILE)
    verdict = work(model, data, out, settings, by_hand(champion, data) if champion else None)
    told = "\n".join(f"{'pass' if check.passed else 'FAIL'}  {check}" for check in verdict.checks)
    result(verdict.to_record(), f"{told}\n→ {out}", as_json)
    if not verdict.passed:
        raise GateRefused(
            f"the gate does not pass it: {', '.join(check.metric for check in verdict.failures)}", f"See {out / 'report.md'}."
        )


def card(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME] [MODEL DATA REPORT]", help="The bot, and the folders of the steps before.", show_default=False
        ),
    ] = [],  # noqa: B006 - typer reads it
    name: Annotated[str, typer.Option(help="The bot's name, where it is not the first word.")] = "",
    out: Annotated[
        Path | None, typer.Option(help="Folder to write; without the three folders, in the work folder unless told.")
    ] = None,
    choose: Annotated[
        int | None, typer.Option(min=1, metavar="K", help="Show sample K, counted from 1, in the picture and on the page.")
    ] = None,
    url: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where the card's files will be seen (https://…/): link previews need it.")
    ] = "",
    version: Annotated[int, typer.Option(min=0, help="Of a registered bot; 0: the champion, or else the newest.")] = 0,
    workdir: Workdir = DEFAULT_WORKDIR,
    as_json: Json = False,
) -> None:
    """The model card with its pictures and share page; of a registered bot, its samples to choose from.

    mynah card NAME lists a bot's samples, and mynah card NAME --choose K shows another one. mynah card NAME MODEL DATA REPORT --out
    CARD writes a card from folders.
    """
    from pipelines.card import card_of_bot, card_of_folders

    words = [*([name] if name else []), *words]
    if len(words) == 4 and out:
        model, data, report = map(Path, words[1:])
        card_of_folders(words[0], model, data, report, out, choose or 0, url, as_json)
    elif len(words) == 1:
        card_of_bot(words[0], workdir, version, choose or 0, url, out, as_json)
    elif len(words) == 4:
        raise InputError("mynah card with folders needs --out", "Name the folder to write.")
    else:
        raise InputError(
            f"mynah card was given {len(words)} words", "Write mynah card NAME, or mynah card NAME MODEL DATA REPORT --out CARD."
        )


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
