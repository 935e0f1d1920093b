"""The two candidates of a continued training run: which one is kept, and how both are described."""

from dataclasses import dataclass
from pathlib import Path

from components.finetune.parent_model import ParentModel
from components.finetune.replay import ReplayPartition, count
from mynah.training.training_record import CONTINUE, START_OVER, ContinueRecord, TrainingRecord

PARENT = "champion"  # the key of the parent's own loss in `ContinueRecord.loss`


@dataclass(frozen=True, slots=True)
class Candidate:
    """A trained checkpoint: its folder and its record."""

    folder: Path
    record: TrainingRecord


def compare(posts: ReplayPartition, parent: ParentModel, continued: Candidate, retrained: Candidate) -> ContinueRecord:
    """Return the comparison of both candidates; the continued one is chosen where both have the same loss.

    Args:
        posts: the posts of the training run.
        parent: the model that training continued from.
        continued: the candidate that continued from `parent`.
        retrained: the candidate that started over.
    """
    ours, theirs = continued.record, retrained.record
    chosen = CONTINUE if ours.best_loss <= theirs.best_loss else START_OVER
    return ContinueRecord(
        parent=parent.version or str(parent.folder.name),
        chosen=chosen,
        beats=ours.best_loss < theirs.best_loss,
        new_posts=count(posts.new),
        replayed_posts=count(posts.replayed),
        gone_posts=posts.removed,
        held_out_posts=count(posts.held_out),
        held_out_left_out=posts.excluded,
        loss={CONTINUE: ours.best_loss, START_OVER: theirs.best_loss, PARENT: ours.history[0].held_out_loss},
        seconds={CONTINUE: ours.seconds, START_OVER: theirs.seconds},
        tokens={CONTINUE: ours.tokens, START_OVER: theirs.tokens},
        authors=tuple(sorted(parent.authors)) if chosen == CONTINUE else (),
    )


def describe(continual: ContinueRecord, label: str) -> str:
    """Return a line that names the better candidate, both losses and both training times.

    Args:
        continual: the comparison of both candidates.
        label: the parent model's name in messages.
    """
    loss, seconds, chosen = continual.loss, continual.seconds, continual.chosen
    names = {CONTINUE: f"continuing from {label}", START_OVER: "starting over"}
    other = START_OVER if continual.has_continued else CONTINUE
    return (
        f"{names[chosen]} wins: held-out loss {loss[chosen]:.3f} against {loss[other]:.3f} of {names[other]} "
        f"({label} unchanged: {loss[PARENT]:.3f}); continuing took {seconds[CONTINUE]:.0f} s, starting over {seconds[START_OVER]:.0f} s"
    )


def describe_unchanged(continual: ContinueRecord, label: str) -> str:
    """Return the line that is reported instead of `describe` where the parent itself has the lowest loss.

    Args:
        continual: the comparison of both candidates.
        label: the parent model's name in messages.
    """
    loss = continual.loss
    return (
        f"continuing from {label} brought nothing: no epoch lowered its held-out loss of {loss[PARENT]:.3f}, and starting over "
        f"reached {loss[START_OVER]:.3f}; the checkpoint is {label}, unchanged, and is no new version"
    )
