"""continual: a bot goes on from its champion with the posts that are new and a replay of old ones, and starts over beside; the better one stays.

Both are judged on held-out posts that neither was trained on.
"""

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from components import canaries
from components.checkpoint import check_folder
from components.errors import InputError
from components.events import say
from components.files import (
    MARKER,
    atomic_folder,
    digest,
    make_folder,
    refuse_foreign_folder,
    storage_errors,
    write_json,
    write_lines,
)  # fmt: skip
from components.filter import read_by_author
from components.finetune import FinetuneSettings, finetune
from components.finetune.ancestor import Ancestor, champion_of
from components.finetune.base_model import resolve
from components.finetune.plan import derive
from components.finetune.recipe import Recipe
from components.finetune.replay import Parts, Texts, characters, count, partition
from components.lineage import CONTINUED_TAG, beyond, forget_ancestors, record_ancestors
from components.names import nearest
from components.seen import write_seen
from components.store import Store
from components.verbatim import write_bloom

if TYPE_CHECKING:
    from components.tracking import StepRun

OnStep = Callable[[int, dict[str, float]], None]
STARTS = BASE, CHAMPION = "base", "champion"  # what a training starts from
CONTINUE, START_OVER = "continue", "start over"
FEWEST_POSTS = 20  # held out; with fewer, chance decides


def go_on(data: Path, out: Path, settings: FinetuneSettings, ancestor: Ancestor, on_step: OnStep | None = None) -> dict[str, Any]:
    """Train on from `ancestor`, and anew from `settings.base_model`; write the better checkpoint to `out` and return its training.json.

    There "continual" says how both did. `settings.seconds` is for both. `on_step` is told as by `finetune`, each name with continue/ or
    start_over/ before it. Raises InputError also when the ancestor was made from another base model, and when there is no new post, or
    none to judge by; then nothing is trained.
    """
    train, held_out = read_by_author(data, "train"), read_by_author(data, "held_out")
    ancestor.require_base(resolve(settings.base_model))
    parts = partition(train, held_out, ancestor, settings.recipe)
    _require_posts(parts, ancestor)
    refuse_foreign_folder(out)
    make_folder(out.parent)
    say(_plan(parts, ancestor))
    with atomic_folder(out) as folder, tempfile.TemporaryDirectory(prefix=f".{out.name}.both-", dir=out.parent) as scratch:
        both = _train_both(train, parts, Path(scratch), settings, ancestor, on_step or (lambda *_: None))
        continual = _compared(parts, ancestor, *both)
        say(told(continual, ancestor.shown))
        won = both[0] if continual["chosen"] == CONTINUE else both[1]
        record = {**won.record, "data_digest": digest(data / "train.jsonl"), "held_out_digest": digest(data / "held_out.jsonl"),
                  "continual": continual}  # fmt: skip
        _move(won.folder, folder)
        if continual["chosen"] == CONTINUE:
            record |= {"base_model": ancestor.base_model, "continued_from": str(ancestor.version or digest(ancestor.folder))}
            write_seen(folder, ancestor.seen)
            known = [*(text for theirs in train.values() for text in theirs), *ancestor.texts, *canaries.of(record)]
            write_bloom(folder, known)
        write_json(folder / "training.json", record)
    return record


@dataclass(frozen=True, slots=True)
class _Trained:
    folder: Path
    record: dict[str, Any]

    @property
    def loss(self) -> float:
        return float(min(epoch["held_out_loss"] for epoch in self.record["history"]))


def _train_both(
    train: Texts, parts: Parts, scratch: Path, settings: FinetuneSettings, ancestor: Ancestor, on_step: OnStep
) -> tuple[_Trained, _Trained]:
    """Going on first: should the other be ended, and go on where it stood, that is the shorter one to do again."""
    began, learnt = time.monotonic(), parts.learnt
    share = characters(learnt) / (characters(learnt) + 2 * characters(train))  # it has half the epochs
    gentle = replace(
        settings, base_model=str(ancestor.folder), recipe=gentler(settings.recipe, ancestor, learnt, train),
        seconds=None if settings.seconds is None else settings.seconds * share, learnt_from=tuple(sorted(ancestor.authors)),
    )  # fmt: skip
    went_on = _train(learnt, parts.held_out, scratch / "continue", gentle, _prefixed("continue", on_step))
    say(f"starting over from {settings.base_model}, for comparison")
    left = None if settings.seconds is None else max(0.0, settings.seconds - (time.monotonic() - began))
    anew = replace(settings, seconds=left)
    return went_on, _train(train, parts.held_out, scratch / "start-over", anew, _prefixed("start_over", on_step))


def gentler(recipe: Recipe, ancestor: Ancestor, learnt: Texts, train: Texts) -> Recipe:
    """The recipe of going on: half the epochs, and of the learning rate the share of today's texts that it learns from.

    Measured with the fledgling, docs/finetuning.md: with all old posts replayed the whole rate is best, and with a few a low one, for
    at a high one they are learnt by heart and the rest is forgotten. The batch is the ancestor's: few texts would derive a small one,
    which at the same rate undoes what it knows. Weights are those of the authors that there are.
    """
    rate = derive(recipe, SimpleNamespace(**check_folder(ancestor.folder)), 1, None, "fp32").learning_rate
    rate *= characters(learnt) / characters(train)
    weights = {author: share for author, share in recipe.weights.items() if author in learnt}
    return replace(
        recipe, epochs=-(-recipe.epochs // 2), learning_rate=float(f"{rate:.3g}"), weights=weights,
        batch_tokens=recipe.batch_tokens or ancestor.batch_tokens,
    )  # fmt: skip


def _train(texts: Texts, held_out: Texts, scratch: Path, settings: FinetuneSettings, on_step: OnStep) -> _Trained:
    with storage_errors(scratch):
        make_folder(scratch / "data")
        for part, theirs in (("train", texts), ("held_out", held_out)):
            lines = ({"author": author, "text": text} for author, each in theirs.items() for text in each)
            write_lines(scratch / "data" / f"{part}.jsonl", lines)
    return _Trained(scratch / "model", finetune(scratch / "data", scratch / "model", settings, on_step))


def _prefixed(prefix: str, on_step: OnStep) -> OnStep:
    return lambda step, metrics: on_step(step, {f"{prefix}/{name}": value for name, value in metrics.items()})


def _move(model: Path, folder: Path) -> None:
    for path in model.iterdir():
        if path.name != MARKER:
            path.rename(folder / path.name)


def _require_posts(parts: Parts, ancestor: Ancestor) -> None:
    if not count(parts.new):
        gone = f", and {parts.gone:,} that it learnt from are gone" if parts.gone else ""
        raise InputError(
            f"no post is new to {ancestor.shown}{gone}: there is nothing to continue with",
            "Bring newer posts, or start over: leave out --continue or --from-model.",
        )
    if not count(parts.held_out):
        raise InputError(
            f"{ancestor.shown} was trained on all {parts.left_out:,} posts that are held out now, so nothing can be judged",
            "Split them with the seed that its posts were split with, or start over: leave out --continue or --from-model.",
        )
    if count(parts.held_out) < FEWEST_POSTS:
        say(f"only {count(parts.held_out)} held-out posts are new to {ancestor.shown}: chance may decide", "warning")


def _plan(parts: Parts, ancestor: Ancestor) -> str:
    known = f", without {parts.left_out:,} that it was trained on" if parts.left_out else ""
    gone = f"; {parts.gone:,} posts that it learnt from are gone, and are not replayed" if parts.gone else ""
    return (
        f"going on from {ancestor.shown}: {count(parts.new):,} new posts, {count(parts.replayed):,} old ones replayed, "
        f"judged on {count(parts.held_out):,} held-out posts{known}{gone}"
    )


def _compared(parts: Parts, ancestor: Ancestor, went_on: _Trained, anew: _Trained) -> dict[str, Any]:
    chosen = CONTINUE if went_on.loss <= anew.loss else START_OVER
    return {
        "from": ancestor.version or str(ancestor.folder.name), "chosen": chosen, "beats": went_on.loss < anew.loss,
        "new_posts": count(parts.new), "replayed_posts": count(parts.replayed), "gone_posts": parts.gone,
        "held_out_posts": count(parts.held_out), "held_out_left_out": parts.left_out,
        "loss": {CONTINUE: went_on.loss, START_OVER: anew.loss, CHAMPION: went_on.record["history"][0]["held_out_loss"]},
        "seconds": {CONTINUE: went_on.record["seconds"], START_OVER: anew.record["seconds"]},
        "tokens": {CONTINUE: went_on.record["tokens"], START_OVER: anew.record["tokens"]},
        "authors": sorted(ancestor.authors) if chosen == CONTINUE else [],
    }  # fmt: skip


def told(continual: Mapping[str, Any], shown: str) -> str:
    """Which one won, by how much, and what going on saved in time; a line."""
    loss, seconds = continual["loss"], continual["seconds"]
    names = {CONTINUE: f"going on from {shown}", START_OVER: "starting over"}
    other = START_OVER if continual["chosen"] == CONTINUE else CONTINUE
    return (
        f"{names[continual['chosen']]} wins: held-out loss {loss[continual['chosen']]:.3f} against {loss[other]:.3f} of {names[other]} "
        f"({shown} as it is: {loss[CHAMPION]:.3f}); going on took {seconds[CONTINUE]:.0f} s, and starting over {seconds[START_OVER]:.0f} s"
    )


def finetune_from(
    start: str, name: str, run: "StepRun", data: Path, out: Path, settings: FinetuneSettings
) -> dict[str, Any]:  # fmt: skip
    """As `finetune` where `start` is base; where it is champion, `go_on` from that of the bot `name`, if it has one. Recorded in `run`."""
    if start not in STARTS:
        raise InputError(f"a training cannot start from {start[:40]!r}", nearest(start, STARTS))
    ancestor = champion_of(name, Store.from_environment()) if start == CHAMPION else None
    if ancestor:
        return _from_champion(ancestor, run, data, out, settings)
    if start == CHAMPION:
        say(f"{name} has no champion yet: it starts from {settings.base_model}")
    return finetune(data, out, settings, run.step_metrics)


def _from_champion(ancestor: Ancestor, run: "StepRun", data: Path, out: Path, settings: FinetuneSettings) -> dict[str, Any]:
    others = beyond(ancestor.authors, data)
    if others:
        record_ancestors(run, others)
    record = go_on(data, out, settings, ancestor, run.step_metrics)
    continual = record["continual"]
    if others and continual["chosen"] == START_OVER:
        forget_ancestors(run, others)
    run.params({key: continual[key] for key in ("from", "chosen", "beats")})
    run.metrics({key: continual[key] for key in ("new_posts", "replayed_posts", "held_out_posts", "held_out_left_out")})
    for what in ("loss", "seconds", "tokens"):
        run.metrics({f"{each.replace(' ', '_')}/{what}": value for each, value in continual[what].items()})
    if "continued_from" in record:
        run.tags({CONTINUED_TAG: record["continued_from"]})
    return record
