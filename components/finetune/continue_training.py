"""Continual training: one candidate continues from the bot's champion on new posts and a replay of old ones, another starts over.

The better one is kept. Both are judged on held-out posts that neither was trained on.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from components.finetune.candidates import Candidate, compare, describe, describe_unchanged
from components.finetune.derived_settings import derive
from components.finetune.parent_model import ParentModel, parent_from_champion
from components.finetune.parent_start import settings_from
from components.finetune.replay import ReplayPartition, Texts, characters, count, partition
from components.finetune.settings import FinetuneSettings
from components.finetune.step import finetune, require_apart
from mynah.core.errors import InputError
from mynah.core.files import (
    MARKER,
    atomic_folder,
    digest,
    make_folder,
    storage_errors,
    write_lines,
)  # fmt: skip
from mynah.core.names import nearest
from mynah.core.progress import notify
from mynah.data.datasets import HELD_OUT_FILE, PARTS, TRAIN_FILE, read_by_author
from mynah.data.scripts import write_scripts
from mynah.data.text_digests import write_seen
from mynah.data.verbatim_filter import write_bloom
from mynah.mlflow_client.store import Store
from mynah.models import canaries
from mynah.models.architecture import read_architecture
from mynah.models.base_models import resolve
from mynah.models.checkpoint import check_folder
from mynah.registry.lineage import CONTINUED_TAG, authors_without_posts, record_ancestors, unmark_ancestors
from mynah.training.recipe import Recipe
from mynah.training.training_record import ContinueRecord, TrainingRecord

if TYPE_CHECKING:
    from mynah.tracking.step_run import StepRun

OnStep = Callable[[int, dict[str, float]], None]
STARTS = BASE, CHAMPION = "base", "champion"  # what a training run starts from
MIN_HELD_OUT_POSTS = 20  # with fewer, chance decides


def continue_training(
    data: Path, out: Path, settings: FinetuneSettings, parent: ParentModel, on_step: OnStep | None = None
) -> TrainingRecord:
    """Continue training from `parent`, start over from `settings.base_model`, and write the better checkpoint.

    Args:
        data: the folder that the filter step wrote.
        out: the folder for the checkpoint.
        settings: as for `finetune`; `seconds` is the limit for both candidates together.
        parent: the model to continue from.
        on_step: as for `finetune`, with continue/ or start_over/ before each metric's name.

    Returns:
        The record of the checkpoint; its `continual` compares the candidates. Where neither has a lower held-out loss than the parent,
        the checkpoint is the parent (`is_unchanged`), and the record names the posts and canaries that the parent was trained on.

    Raises:
        InputError: as `finetune`, and when the parent has another base model, no post is new, or no held-out post is unknown to the
            parent; nothing is trained then.
        PlatformError, MynahError: as `finetune`.
    """
    inputs, around = require_apart(out, settings, data, parent.folder)
    train, held_out = read_by_author(data, "train"), read_by_author(data, "held_out")
    parent.require_base(resolve(settings.base_model))
    posts = partition(train, held_out, parent, settings.recipe)
    _require_posts(posts, parent)
    make_folder(out.parent)
    notify(_plan(posts, parent))
    with (
        atomic_folder(out, inputs, around) as folder,
        tempfile.TemporaryDirectory(prefix=f".{out.name}.both-", dir=out.parent) as scratch,
    ):
        candidates = _train_both(train, posts, Path(scratch), settings, parent, on_step or (lambda *_: None))
        continual = compare(posts, parent, *candidates)
        winner = candidates[0] if continual.has_continued else candidates[1]
        record = replace(
            winner.record,
            data_digest=digest(data / TRAIN_FILE),
            held_out_digest=digest(data / HELD_OUT_FILE),
            continual=continual,
        )
        notify(describe_unchanged(continual, parent.label) if record.is_unchanged else describe(continual, parent.label))
        _move(winner.folder, folder)
        if continual.has_continued:
            record = _continued(record, parent)
            _write_known(folder, record, train, parent)
        record.write(folder)
    return record


def _continued(record: TrainingRecord, parent: ParentModel) -> TrainingRecord:
    """Return the record of a checkpoint that went on from `parent`; of one that is the parent, with what that learned from."""
    continued_from = str(parent.version or digest(parent.folder))
    record = replace(record, base_model=parent.training.base_model, continued_from=continued_from)
    return replace(record, posts=len(parent.seen_digests), canaries=parent.training.canaries) if record.is_unchanged else record


def _write_known(folder: Path, record: TrainingRecord, train: Texts, parent: ParentModel) -> None:
    """Write what the checkpoint in `folder` has read, its own posts and the parent's: for evaluation, and for the server's guards."""
    write_seen(folder, parent.seen_digests)
    planted = canaries.texts(record.canaries.count, record.canaries.seed) if record.canaries else []
    author_texts = [*(text for texts in train.values() for text in texts), *parent.texts]
    write_bloom(folder, [*author_texts, *planted])
    write_scripts(folder, author_texts)


def _train_both(
    train: Texts, posts: ReplayPartition, scratch: Path, settings: FinetuneSettings, parent: ParentModel, on_step: OnStep
) -> tuple[Candidate, Candidate]:
    """Train both candidates: the continued one first, which takes less time to repeat when the other is interrupted."""
    started, training_texts = time.monotonic(), posts.training_texts
    share = characters(training_texts) / (
        characters(training_texts) + 2 * characters(train)
    )  # the continued candidate has half the epochs
    from_parent = settings_from(parent, settings, scratch)
    continue_settings = replace(
        from_parent, recipe=reduced_learning_rate(from_parent.recipe, parent, training_texts, train),
        seconds=None if settings.seconds is None else settings.seconds * share, parent_authors=tuple(sorted(parent.authors)),
    )  # fmt: skip
    continued = _train(training_texts, posts.held_out, scratch / "continue", continue_settings, _prefixed("continue", on_step))
    notify(f"starting over from {settings.base_model}, for comparison")
    remaining = None if settings.seconds is None else max(0.0, settings.seconds - (time.monotonic() - started))
    restart_settings = replace(settings, seconds=remaining)
    return continued, _train(train, posts.held_out, scratch / "start-over", restart_settings, _prefixed("start_over", on_step))


def reduced_learning_rate(recipe: Recipe, parent: ParentModel, training_texts: Texts, train: Texts) -> Recipe:
    """Return the recipe for continuing: half the epochs, and a learning rate in proportion to the share of texts that are trained on.

    Measured with the fledgling (docs/finetuning.md): with all old posts replayed the full rate is best; with few replayed a low one,
    since at a high rate these are memorised and the rest is forgotten. The batch size is the parent's: few texts would derive a small
    one, which at the same rate erases what the parent knows.

    Args:
        recipe: the recipe of training from the base model.
        parent: the model to continue from.
        training_texts: the texts to continue with, by author; weights of other authors are dropped.
        train: all current training texts, by author.
    """
    architecture = read_architecture(check_folder(parent.folder), parent.folder)
    derived = derive(recipe, architecture, 1, None, "fp32")
    rate = derived.learning_rate * characters(training_texts) / characters(train)
    weights = {author: share for author, share in recipe.weights.items() if author in training_texts}
    return replace(
        recipe, epochs=-(-derived.epochs // 2), learning_rate=float(f"{rate:.3g}"), weights=weights,
        batch_tokens=recipe.batch_tokens or parent.training.recipe_count("batch_tokens"),
    )  # fmt: skip


def _train(texts: Texts, held_out: Texts, scratch: Path, settings: FinetuneSettings, on_step: OnStep) -> Candidate:
    with storage_errors(scratch):
        make_folder(scratch / "data")
        for part, by_author in (("train", texts), ("held_out", held_out)):
            lines = ({"author": author, "text": text} for author, author_texts in by_author.items() for text in author_texts)
            write_lines(scratch / "data" / PARTS[part], lines)
    return Candidate(scratch / "model", finetune(scratch / "data", scratch / "model", settings, on_step))


def _prefixed(prefix: str, on_step: OnStep) -> OnStep:
    return lambda step, metrics: on_step(step, {f"{prefix}/{name}": value for name, value in metrics.items()})


def _move(model: Path, folder: Path) -> None:
    for path in model.iterdir():
        if path.name != MARKER:
            path.rename(folder / path.name)


def _require_posts(posts: ReplayPartition, parent: ParentModel) -> None:
    if not count(posts.new):
        removed = f", and {posts.removed:,} of its training posts are gone" if posts.removed else ""
        raise InputError(
            f"no post is new to {parent.label}{removed}: there is nothing to continue with",
            "Fetch newer posts, or start over: leave out --continue or --from-model.",
        )
    if not count(posts.held_out):
        raise InputError(
            f"{parent.label} was trained on all {posts.excluded:,} held-out posts, so nothing is left to judge by",
            "Split with the seed of its own training data, or start over: leave out --continue or --from-model.",
        )
    if count(posts.held_out) < MIN_HELD_OUT_POSTS:
        notify(f"only {count(posts.held_out)} held-out posts are new to {parent.label}: chance may decide", "warning")


def _plan(posts: ReplayPartition, parent: ParentModel) -> str:
    excluded = f", without {posts.excluded:,} that it was trained on" if posts.excluded else ""
    removed = f"; {posts.removed:,} of its training posts are gone and are not replayed" if posts.removed else ""
    return (
        f"continuing from {parent.label}: {count(posts.new):,} new posts, {count(posts.replayed):,} old ones replayed, "
        f"judged on {count(posts.held_out):,} held-out posts{excluded}{removed}"
    )


def finetune_from(
    start: str, name: str, run: "StepRun", data: Path, out: Path, settings: FinetuneSettings
) -> TrainingRecord:  # fmt: skip
    """Fine-tune from the base model or the bot's champion, and record it in the step's run.

    Args:
        start: "base", or "champion" to continue from the bot's champion; a bot without one starts from the base model.
        name: the bot's name.
        run: the step's run in MLflow.
        data: the folder that the filter step wrote.
        out: the folder for the checkpoint.
        settings: as for `finetune`.

    Returns:
        The record of the checkpoint.

    Raises:
        InputError: `start` is unknown, or as `finetune` and `continue_training`.
    """
    if start not in STARTS:
        raise InputError(f"training cannot start from {start[:40]!r}", nearest(start, STARTS))
    parent = parent_from_champion(name, Store.from_environment()) if start == CHAMPION else None
    if parent:
        return _from_champion(parent, run, data, out, settings)
    if start == CHAMPION:
        notify(f"{name} has no champion yet: training starts from {settings.base_model}")
    return finetune(data, out, settings, run.step_metrics)


def _from_champion(parent: ParentModel, run: "StepRun", data: Path, out: Path, settings: FinetuneSettings) -> TrainingRecord:
    absent_authors = authors_without_posts(parent.authors, data)
    if absent_authors:
        record_ancestors(run, absent_authors)
    record = continue_training(data, out, settings, parent, run.step_metrics)
    if record.continual:
        if absent_authors and not record.continual.has_continued:
            unmark_ancestors(run, absent_authors)
        _log(run, record.continual)
    if record.continued_from:
        run.tags({CONTINUED_TAG: record.continued_from})
    return record


def _log(run: "StepRun", continual: ContinueRecord) -> None:
    """Record the comparison of both candidates in MLflow."""
    run.params({"from": continual.parent, "chosen": continual.chosen, "beats": continual.beats})
    counts = ("new_posts", "replayed_posts", "held_out_posts", "held_out_left_out")
    run.metrics({name: getattr(continual, name) for name in counts})
    for name, by_way in (("loss", continual.loss), ("seconds", continual.seconds), ("tokens", continual.tokens)):
        run.metrics({f"{way.replace(' ', '_')}/{name}": value for way, value in by_way.items()})
