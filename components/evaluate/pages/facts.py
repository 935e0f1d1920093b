"""What the report's pages show, read from the files of the steps before them, and checked on the way in."""

from dataclasses import dataclass
from pathlib import Path

from components.fields import Field
from components.filter import read_texts
from components.filter.funnel import rows
from components.seen import read_seen, unseen


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the verdict, with up to five texts that offended; the value is None where it could not be measured."""

    metric: str
    value: float | None
    limit: float
    at_least: bool
    passed: bool
    reason: str
    samples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Epoch:
    """Losses after an epoch in nats per token; epoch 0 is before training, which has no training loss."""

    number: int
    training: float | None
    held_out: float | None


@dataclass(frozen=True, slots=True)
class Author:
    """One author's funnel: how many posts came in, were dropped for which reason, and are left."""

    handle: str
    downloaded: int
    dropped: tuple[tuple[str, int], ...]
    kept: int


@dataclass(frozen=True, slots=True)
class Prompt:
    """What was generated from a prompt; each text includes it, and "" is from nothing."""

    words: str
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Training:
    """How the weights came about; seconds of training alone."""

    base: str
    recipe: tuple[tuple[str, str], ...]
    posts: int
    tokens: int
    steps: int
    seconds: float
    tokens_per_second: float
    device: str
    precision: str
    data_digest: str
    history: tuple[Epoch, ...]
    kept_epoch: int


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that the two pages show; texts as they came."""

    passed: bool
    checks: tuple[Check, ...]
    metrics: dict[str, float]
    prompts: tuple[Prompt, ...]
    training: Training
    authors: tuple[Author, ...]
    rules: str
    split_seed: int
    posts_to_train: int
    posts_held_out: int
    train: tuple[str, ...]
    held_out: tuple[str, ...]  # those that the bot does not know from before it was continued

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that did not pass."""
        return tuple(check for check in self.checks if not check.passed)

    @property
    def from_nothing(self) -> tuple[str, ...]:
        """The samples that no prompt began."""
        return tuple(text for prompt in self.prompts if not prompt.words for text in prompt.texts)


def read_facts(report: Path, model: Path, data: Path) -> Facts:
    """Read metrics.json, verdict.json, samples.json, training.json, funnel.json and the kept texts.

    Raises InputError naming the file, and the key where the file has another shape.
    """
    passed, checks = _verdict(Field.read(report / "verdict.json", "evaluate"))
    funnel = Field.read(data / "funnel.json", "filter")
    return Facts(
        passed=passed,
        checks=checks,
        metrics={name: value.number() for name, value in Field.read(report / "metrics.json", "evaluate").pairs()},
        prompts=tuple(_prompt(group) for group in Field.read(report / "samples.json", "evaluate").list()),
        training=_training(Field.read(model / "training.json", "finetune")),
        authors=_authors(funnel),
        rules=funnel["rules"].text(),
        split_seed=funnel["seed"].count(),
        posts_to_train=funnel["train"].count(),
        posts_held_out=funnel["held_out"].count(),
        train=tuple(read_texts(data, "train")),
        held_out=tuple(unseen(read_texts(data, "held_out"), read_seen(model))),
    )


def _verdict(verdict: Field) -> tuple[bool, tuple[Check, ...]]:
    passed, checks = verdict["passed"].flag(), tuple(_check(check) for check in verdict["checks"].list())
    if passed != (bool(checks) and all(check.passed for check in checks)):
        raise verdict.wrong(f"says {passed} at 'passed', and its checks say otherwise")
    return passed, checks


def _check(check: Field) -> Check:
    return Check(
        metric=check["metric"].text(),
        value=check["value"].maybe_number(),
        limit=check["limit"].number(),
        at_least=check["at_least"].flag(),
        passed=check["passed"].flag(),
        reason=check["reason"].text(),
        samples=_texts(check.get("samples")),
    )


def _texts(texts: Field) -> tuple[str, ...]:
    """A list of texts; none where the file is of the time before they were written."""
    return tuple(text.text() for text in texts.list()) if texts.value is not None else ()


def _prompt(group: Field) -> Prompt:
    return Prompt(group["prompt"].text(), tuple(text.text() for text in group["texts"].list()))


def _training(training: Field) -> Training:
    return Training(
        base=training["base_model"]["name"].text(),
        recipe=tuple((key, str(value.value)) for key, value in training["recipe"].pairs()),
        posts=training["posts"].count(),
        tokens=training["tokens"].count(),
        steps=training["steps"].count(),
        seconds=training["seconds"].number(),
        tokens_per_second=training["tokens_per_second"].number(),
        device=training["device"].text(),
        precision=training["precision"].text(),
        data_digest=training["data_digest"].text(),
        history=tuple(
            Epoch(row["epoch"].count(), row["train_loss"].maybe_number(), row["held_out_loss"].maybe_number())
            for row in training["history"].list()
        ),
        kept_epoch=training["best_epoch"].count(),
    )


def _authors(funnel: Field) -> tuple[Author, ...]:
    """The funnel by author. Raises InputError when it has nobody, or when a column doesn't add up."""
    authors = []
    for author in funnel["authors"].list():
        dropped = [count.count() for _, count in author["dropped"].pairs()]
        downloaded, kept = author["downloaded"].count(), author["kept"].count()
        if downloaded != sum(dropped) + kept:
            raise author.wrong(f"doesn't add up at {author.key!r}: {downloaded} downloaded, {sum(dropped)} dropped, {kept} kept")
        authors.append((author["author"].text(), downloaded, kept))
    if not authors:
        raise funnel.wrong("has nobody at 'authors'")
    labelled = rows(funnel.value)[1:-1]  # between what came in and what is left
    return tuple(
        Author(handle, downloaded, tuple((label, numbers[place]) for label, numbers in labelled), kept)
        for place, (handle, downloaded, kept) in enumerate(authors)
    )
