"""The commands that run one step of the pipeline over folders."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mynah.core.errors import GateRefused, InputError
from mynah.core.files import path_exists
from mynah.core.progress import waiting
from mynah.mlflow_client.store import server_address
from pipelines.cli.options import DEFAULT_WORKDIR, Author, Json, Out, Workdir, existing, print_json, require_apart, result
from pipelines.flat_signature import MadeBy, flatten
from pipelines.run_spec import (
    DEFAULTS,
    AgreedCost,
    BaseModel,
    Basis,
    Limit,
    Name,
    NamedColumns,
    RecipeFile,
    RecipeOptions,
    Rules,
    Sources,
)  # fmt: skip

if TYPE_CHECKING:
    from components.evaluate.step import EvaluateSettings
    from components.finetune.settings import FinetuneSettings


@flatten
def fetch(
    sources: Sources,
    out: Out,
    basis: Basis = DEFAULTS["basis"],
    limit: Limit = DEFAULTS["limit"],
    *,
    author: Author = "",
    columns: NamedColumns,
    max_cost: AgreedCost,
    workdir: Workdir = DEFAULT_WORKDIR,
    as_json: Json = False,
) -> None:
    """Fetch the posts of sources to posts.jsonl, with their provenance."""
    from dataclasses import asdict

    from components.fetch.sources import parse_sources
    from components.fetch.step import fetch
    from components.fetch.x.api_price import parse_budget

    budget = parse_budget(max_cost)
    columns.require_table([source.form for source in parse_sources(sources)])
    store = None
    if server_address() or path_exists(workdir / "mlflow.db"):  # the store has the forgotten authors
        from mynah.tracking.open import open_store

        store = open_store(workdir)
    provenances = fetch(sources, out, limit, store, basis, budget, author, columns)
    lines = [f"{each.posts:,} {'post' if each.posts == 1 else 'posts'} from {each.source} → {out}" for each in provenances]
    result([asdict(each) for each in provenances], "\n".join(lines), as_json)


def filter_(
    raw: Annotated[Path, typer.Argument(help="Folder that `mynah fetch` wrote.")],
    out: Out,
    rules: Rules = DEFAULTS["rules"],
    limit: Limit = DEFAULTS["limit"],
    seed: Annotated[int, typer.Option(min=0, help="The seed of the split into training and held-out posts.")] = 42,
    as_json: Json = False,
) -> None:
    """Filter posts into training and held-out texts, and report which were dropped and why."""
    from components.filter.step import FilterSettings, filter_posts
    from pipelines.cli.render import show_funnel

    with waiting("Filtering"):
        funnel = filter_posts(raw, out, FilterSettings(rules, limit, seed))
    if as_json:
        print_json(funnel.to_record())
    else:
        show_funnel(funnel)


def finetune_settings(
    base_model: BaseModel = DEFAULTS["base_model"],
    *,
    recipe: RecipeOptions,
    checkpoints: Annotated[
        str,
        typer.Option(
            metavar="WHERE",
            help="A folder or s3://BUCKET/PREFIX for training states, from which the same command resumes after an interruption.",
        ),
    ] = "",
    every: Annotated[float, typer.Option(min=0, metavar="SECONDS", help="Seconds between two training states.")] = 300,
    processes: Annotated[
        int, typer.Option(min=0, max=64, help="The number of processes, started with torchrun; 0 is one per GPU.")
    ] = 0,
) -> "FinetuneSettings":
    """Return the step's settings."""
    from components.finetune.settings import FinetuneSettings
    from mynah.models.catalogue import default_base_model

    return FinetuneSettings(base_model or default_base_model(), recipe, None, checkpoints, every, processes)


def parent_folders(
    from_model: Annotated[
        Path | None,
        typer.Option(help="Continue training this model if that gives a better one than starting over; needs --trained-on."),
    ] = None,
    trained_on: Annotated[
        Path | None, typer.Option(help="The folder that `mynah filter` wrote and that model was trained on.")
    ] = None,
) -> tuple[Path, Path] | None:
    """Return the model to continue and the folder that it was trained on. Raises InputError for one without the other."""
    if (from_model is None) != (trained_on is None):
        raise InputError(
            "--from-model and --trained-on go together", "Give both: new posts are recognized by comparison with the old ones."
        )
    return (from_model, trained_on) if from_model and trained_on else None


@flatten
def finetune(
    data: Annotated[Path, typer.Argument(help="Folder that `mynah filter` wrote.")],
    out: Out,
    settings: Annotated["FinetuneSettings", MadeBy(finetune_settings)],
    parent: Annotated[tuple[Path, Path] | None, MadeBy(parent_folders)],
    recipe: RecipeFile = None,
    as_json: Json = False,
) -> None:
    """Fine-tune the base model on the texts, to a Hugging Face checkpoint."""
    from components.finetune.step import finetune

    require_apart(out, data, recipe, *(parent or ()))
    if parent:
        from components.finetune.continue_training import continue_training
        from components.finetune.parent_model import parent_from_folder

        record = continue_training(data, out, settings, parent_from_folder(*parent))
    else:
        record = finetune(data, out, settings)
    best = record.history[record.best_epoch]
    text = (
        f"held-out loss {record.history[0].held_out_loss:.3f} → {best.held_out_loss:.3f} (epoch {best.epoch} of "
        f"{len(record.history) - 1}), {record.tokens_per_second:,.0f} tokens/s, {record.seconds:.0f} s → {out}"
    )
    result(record.to_record(), text, as_json)


def evaluate_settings(
    base_model: Annotated[
        str, typer.Option(help="The base model, if it was a folder, which training.json does not record.")
    ] = "",
    gate: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A file of thresholds instead of components/evaluate/gate.yaml.")
    ] = None,
    samples: Annotated[
        int, typer.Option(min=5, max=200, help="The number of generated texts, half of them without a prompt.")
    ] = 200,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="The seed of the samples.")] = 42,
) -> "EvaluateSettings":
    """Return the step's settings."""
    from components.evaluate.gate import GATE_FILE
    from components.evaluate.step import EvaluateSettings

    return EvaluateSettings(base_model, samples, seed, gate or GATE_FILE)


@flatten
def evaluate(
    model: Annotated[Path, typer.Argument(help="Folder that `mynah finetune` wrote.")],
    data: Annotated[Path, typer.Argument(help="Folder that `mynah filter` wrote.")],
    out: Out,
    settings: Annotated["EvaluateSettings", MadeBy(evaluate_settings)],
    champion: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="A model trained on the same folder, to compare with.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure a model against its base model, generate samples and apply the gate. Exit code 4 when the model fails the gate."""
    from components.evaluate.champion_comparison import champion_from_folder
    from components.evaluate.step import evaluate

    require_apart(out, model, data, champion)
    verdict = evaluate(model, data, out, settings, champion_from_folder(champion, data) if champion else None)
    text = "\n".join(f"{'pass' if check.passed else 'FAIL'}  {check}" for check in verdict.checks)
    text += "".join(f"\nleft out  {metric}: {reason}" for metric, reason in verdict.left_out.items())
    result(verdict.to_record(), f"{text}\n→ {out}", as_json)
    if not verdict.passed:
        raise GateRefused(
            f"the gate does not pass it: {', '.join(check.metric for check in verdict.failures)}", f"See {out / 'report.md'}."
        )


def card(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME] [MODEL DATA REPORT]", help="The bot, and the folders of earlier steps.", show_default=False
        ),
    ] = [],  # noqa: B006 - typer reads it
    name: Annotated[str, typer.Option(help="The bot's name, instead of the first argument.")] = "",
    out: Annotated[
        Path | None, typer.Option(help="The folder to write; for a registered bot, in the work folder by default.")
    ] = None,
    choose: Annotated[
        int | None, typer.Option(min=1, metavar="K", help="Show sample K, from 1, in the picture and on the page.")
    ] = None,
    url: Annotated[
        str, typer.Option(metavar="ADDRESS", help="The public URL of the card's files (https://…/), which link previews need.")
    ] = "",
    version: Annotated[
        int, typer.Option(min=0, help="The version of a registered bot; 0 is the champion, or else the newest.")
    ] = 0,
    workdir: Workdir = DEFAULT_WORKDIR,
    as_json: Json = False,
) -> None:
    """Write the model card with its pictures and share page, or list the samples of a registered bot.

    mynah card NAME lists a bot's samples, and mynah card NAME --choose K shows another one. mynah card NAME MODEL DATA REPORT --out
    CARD writes a card from folders.
    """
    from pipelines.cli.card import card_of_bot, card_of_folders

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
    data: Annotated[Path, typer.Argument(help="Folder that `mynah filter` wrote and that the model was trained on.")],
    report: Annotated[Path, typer.Argument(help="Folder that `mynah evaluate` wrote.")],
    card_folder: Annotated[Path, typer.Argument(metavar="CARD", help="Folder that `mynah card` wrote.")],
    workdir: Workdir = DEFAULT_WORKDIR,
    as_json: Json = False,
) -> None:
    """Register the checkpoint as the bot's next version, with the alias `challenger`."""
    from dataclasses import asdict

    with waiting("Registering"):
        from components.register.step import register_folders

    registered = register_folders(name, model, data, report, card_folder, workdir)
    result(
        asdict(registered),
        f"{registered.name} version {registered.version} registered; `mynah promote {registered.name}` promotes it",
        as_json,
    )


def promote(
    name: Annotated[str, typer.Argument(help="The bot.")],
    version: Annotated[int, typer.Option(min=0, help="The version; 0 is the challenger.")] = 0,
    force: Annotated[
        str, typer.Option(metavar="REASON", help="Promote in spite of a failed check; the reason is recorded.")
    ] = "",
    workdir: Workdir = DEFAULT_WORKDIR,
    as_json: Json = False,
) -> None:
    """Make a version the champion if it passed the gate and is not worse than the champion. Exit code 4 otherwise."""
    from dataclasses import asdict

    from components.promote.step import promote, refusal
    from mynah.tracking.open import open_store

    with waiting("Promoting"):
        decision = promote(name, open_store(existing(workdir)), version, force)
    if as_json:
        print_json(asdict(decision))
    if not decision.promoted:
        raise refusal(decision)
    if not as_json:
        forced = f", forced against: {'; '.join(decision.reasons)}" if decision.forced and decision.changed else ""
        print(
            f"{name} version {decision.version} is the champion{forced}{'' if decision.changed else ' already: nothing changes'}"
        )


COMMANDS: dict[str, Callable[..., None]] = {
    "fetch": fetch, "filter": filter_, "finetune": finetune, "evaluate": evaluate, "card": card, "register": register, "promote": promote,
}  # fmt: skip
