"""What a card shows, read from the folders of the steps before it, and checked on the way in."""

from dataclasses import dataclass
from pathlib import Path

from components.card.escape import clean
from components.costs import usd_per_1000_answers
from components.fields import Field
from components.filter.funnel import rows

PROMPT = "My dream is"  # huggingtweets' own: the widget's, the samples' and the picture's
SAMPLES = 5
METRICS = (
    "held_out_loss",
    "base_held_out_loss",
    "bits_per_character",
    "base_bits_per_character",
    "perplexity",
    "distinct_1",
    "distinct_2",
    "memorised_share",
    "samples",
)
EXTRA_METRICS = ("base_perplexity",)  # shown where it was measured


@dataclass(frozen=True, slots=True)
class Author:
    """A person whom the bot writes like; texts as they came."""

    handle: str
    display_name: str
    bio: str

    @property
    def shown(self) -> str:
        """`Name (@handle)`, or `@handle` for a person without a name; on one line, not escaped."""
        handle, name = "@" + clean(self.handle, 64), clean(self.display_name, 80)
        return f"{name} ({handle})" if name and name != self.handle else handle


@dataclass(frozen=True, slots=True)
class Source:
    """Where posts came from, and by what right they are used."""

    source: str
    kind: str
    author: str
    posts: int
    first: str
    last: str
    sha256: str
    basis: str


@dataclass(frozen=True, slots=True)
class Continual:
    """How going on from an earlier version did beside starting over; losses in nats per token on the same held-out posts."""

    was_chosen: bool
    earlier: str  # the version, or a folder's name
    new: int  # posts
    replayed: int
    held_out: int
    loss: float
    loss_of_starting_over: float


@dataclass(frozen=True, slots=True)
class Training:
    """How the weights came about."""

    recipe: tuple[tuple[str, str], ...]
    base: str
    base_is_folder: bool  # a folder may be named like a hub id; the record then has an empty revision
    base_digest: str
    data_digest: str
    posts: int
    tokens: int
    steps: int
    device: str
    precision: str
    seconds: float
    tokens_per_second: float
    history: tuple[tuple[int, float | None, float | None], ...]  # epoch, training loss, held-out loss
    best_epoch: int
    versions: tuple[tuple[str, str], ...]
    continual: Continual | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the verdict."""

    metric: str
    value: float | None
    limit: float | None
    at_least: bool
    passed: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that a card and its picture show."""

    name: str
    authors: tuple[Author, ...]
    sources: tuple[Source, ...]
    funnel: tuple[tuple[str, list[int]], ...]  # a label and a number per author
    rules: str
    train: int
    held_out: int
    seed: int
    training: Training
    metrics: dict[str, float | None]
    passed: bool
    checks: tuple[Check, ...]
    prompt: str
    samples: tuple[str, ...]
    cost_usd: float | None = None  # of the steps before the card; None where they were not recorded
    usd_per_1000_answers: float | None = None


def read_facts(name: str, model: Path, data: Path, report: Path, cost_usd: float | None = None) -> Facts:
    """Read what the card shows, but for what the steps cost, which no folder tells.

    Raises InputError naming the file, and the key where the file has another shape."""
    sources = Field.read(data / "sources.json", "fetch").list()
    funnel = Field.read(data / "funnel.json", "filter")
    table = _table(funnel)
    training = _training(Field.read(model / "training.json", "finetune"))
    metrics = Field.read(report / "metrics.json", "evaluate")
    verdict = Field.read(report / "verdict.json", "evaluate")
    prompt, samples = _samples(Field.read(report / "samples.json", "evaluate"))
    return Facts(
        name=name,
        authors=_authors(funnel, sources),
        sources=tuple(_source(source) for source in sources),
        funnel=table,
        rules=funnel["rules"].text(),
        train=funnel["train"].count(),
        held_out=funnel["held_out"].count(),
        seed=funnel["seed"].count(),
        training=training,
        metrics={metric: metrics[metric].maybe_number() for metric in METRICS}
        | {metric: metrics.get(metric).maybe_number() for metric in EXTRA_METRICS},
        passed=verdict["passed"].flag(),
        checks=tuple(_check(check) for check in verdict["checks"].list()),
        prompt=prompt,
        samples=samples,
        cost_usd=cost_usd,
        usd_per_1000_answers=_serving_cost(metrics.get("answers_per_second").maybe_number()),
    )


def _serving_cost(answers_per_second: float | None) -> float | None:
    return usd_per_1000_answers(answers_per_second) if answers_per_second and answers_per_second > 0 else None


def _table(funnel: Field) -> tuple[tuple[str, list[int]], ...]:
    """The funnel's rows with a number per author. Raises InputError when a column doesn't add up."""
    authors = funnel["authors"].list()
    if not authors:
        raise funnel.wrong("has nobody at 'authors'")
    for author in authors:
        dropped = sum(count.count() for _, count in author["dropped"].pairs())
        downloaded, kept = author["downloaded"].count(), author["kept"].count()
        if downloaded != dropped + kept:
            raise author.wrong(f"doesn't add up at {author.key!r}: {downloaded} downloaded, {dropped} dropped, {kept} kept")
    return tuple((label.replace("_", " "), numbers) for label, numbers in rows(funnel.value))


def _authors(funnel: Field, sources: tuple[Field, ...]) -> tuple[Author, ...]:
    """The funnel's authors in its order, named as the first of their sources names them."""
    profiles = {source["author"].text(): source for source in reversed(sources)}
    handles = [author["author"].text() for author in funnel["authors"].list()]
    return tuple(
        Author(handle, profiles[handle]["display_name"].text(), profiles[handle]["bio"].text())
        if handle in profiles
        else Author(handle, "", "")
        for handle in handles
    )


def _source(source: Field) -> Source:
    return Source(
        source=source["source"].text(),
        kind=source["kind"].text(),
        author=source["author"].text(),
        posts=source["posts"].count(),
        first=source["first"].text()[:10],  # the day is enough
        last=source["last"].text()[:10],
        sha256=source["sha256"].text(),
        basis=source["basis"].text(),
    )


def _training(training: Field) -> Training:
    base, history = training["base_model"], training["history"].list()
    return Training(
        recipe=tuple((key, str(value.value)) for key, value in training["recipe"].pairs()),
        base=base["name"].text(),
        base_is_folder=base.get("revision").value == "",
        base_digest=base["digest"].text(),
        data_digest=training["data_digest"].text(),
        posts=training["posts"].count(),
        tokens=training["tokens"].count(),
        steps=training["steps"].count(),
        device=training["device"].text(),
        precision=training["precision"].text(),
        seconds=training["seconds"].number(),
        tokens_per_second=training["tokens_per_second"].number(),
        history=tuple(
            (row["epoch"].count(), row["train_loss"].maybe_number(), row["held_out_loss"].maybe_number()) for row in history
        ),
        best_epoch=training["best_epoch"].count(),
        versions=tuple((package, version.text()) for package, version in training["versions"].pairs()),
        continual=_continual(training.get("continual")),
    )


def _continual(continual: Field) -> Continual | None:
    if continual.value is None:
        return None
    return Continual(
        was_chosen=continual["chosen"].text() == "continue",
        earlier=_earlier(continual["from"]),
        new=continual["new_posts"].count(),
        replayed=continual["replayed_posts"].count(),
        held_out=continual["held_out_posts"].count(),
        loss=continual["loss"]["continue"].number(),
        loss_of_starting_over=continual["loss"]["start over"].number(),
    )


def _earlier(found: Field) -> str:
    return found.text() if isinstance(found.value, str) else f"version {found.count()}"


def _check(check: Field) -> Check:
    return Check(
        metric=check["metric"].text(),
        value=check["value"].maybe_number(),
        limit=check["limit"].maybe_number(),
        at_least=check["at_least"].flag(),
        passed=check["passed"].flag(),
        reason=check["reason"].text(),
    )


def _samples(samples: Field) -> tuple[str, tuple[str, ...]]:
    """The samples for `PROMPT`; for the first prompt where nobody asked for that one."""
    by_prompt = {sample["prompt"].text(): tuple(text.text() for text in sample["texts"].list()) for sample in samples.list()}
    prompt = PROMPT if PROMPT in by_prompt else next(iter(by_prompt), PROMPT)
    return prompt, by_prompt.get(prompt, ())[:SAMPLES]
