"""The facts of a card, read from the folders of the steps before it, and checked on the way in."""

import re
from pathlib import Path

from components.avatars import avatar_of
from components.card.facts import PROMPT, Author, Check, Continual, Facts, Record, Source, Training
from components.card.preview import MOST_SAMPLES
from components.costs import usd_per_1000_answers
from components.evaluate.definitions import METRICS
from components.fields import Field
from components.filter.funnel import rows

LANGUAGE = re.compile("[a-z]{2,3}")
NEEDED = ("held_out_loss", "base_held_out_loss", "bits_per_character", "base_bits_per_character", "perplexity", "samples")


def read_facts(name: str, model: Path, data: Path, report: Path, record: Record | None = None, url: str = "") -> Facts:
    """Read what the card shows; `record` and `url` are what no folder tells.

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
        authors=_authors(funnel, sources, data),
        sources=tuple(_source(source) for source in sources),
        funnel=table,
        rules=funnel["rules"].text(),
        languages=_languages(funnel),
        train=funnel["train"].count(),
        held_out=funnel["held_out"].count(),
        seed=funnel["seed"].count(),
        training=training,
        metrics=_metrics(metrics),
        passed=verdict["passed"].flag(),
        checks=tuple(_check(check) for check in verdict["checks"].list()),
        prompt=prompt,
        samples=samples,
        usd_per_1000_answers=_serving_cost(metrics.get("answers_per_second").maybe_number()),
        record=record or Record(),
        url=url,
    )


def _metrics(metrics: Field) -> dict[str, float | None]:
    """The metrics that were measured, of those that anybody knows how to read."""
    return {
        metric: metrics[metric].maybe_number() for metric in METRICS if metric in NEEDED or metrics.get(metric).value is not None
    }


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


def _languages(funnel: Field) -> tuple[str, ...]:
    """The languages that the authors write in, each once; a code that is none is left out: it would go into the card's YAML."""
    said = [author.get("language").value for author in funnel["authors"].list()]
    return tuple(dict.fromkeys(code for code in said if isinstance(code, str) and LANGUAGE.fullmatch(code)))


def _authors(funnel: Field, sources: tuple[Field, ...], data: Path) -> tuple[Author, ...]:
    """The funnel's authors in its order, named as the first of their sources names them, with the first picture that one has."""
    found: dict[str, list[Field]] = {author["author"].text(): [] for author in funnel["authors"].list()}
    for source in sources:
        found.setdefault(source["author"].text(), []).append(source)
    return tuple(_author(author["author"].text(), found[author["author"].text()], data) for author in funnel["authors"].list())


def _author(handle: str, sources: list[Field], data: Path) -> Author:
    if not sources:
        return Author(handle, "", "")
    pictures = (avatar_of(data, {"avatar": source.get("avatar").value}) for source in sources)
    return Author(handle, sources[0]["display_name"].text(), sources[0]["bio"].text(), next(filter(None, pictures), None))


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
        canaries=_canaries(training.get("canaries")),
    )


def _canaries(canaries: Field) -> int:
    return 0 if canaries.value is None else canaries["count"].count()


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
        samples=tuple(sample.text() for sample in check["samples"].list()) if check.get("samples").value is not None else (),
    )


def _samples(samples: Field) -> tuple[str, tuple[str, ...]]:
    """The samples for `PROMPT`; for the first prompt where nobody asked for that one."""
    by_prompt = {sample["prompt"].text(): tuple(text.text() for text in sample["texts"].list()) for sample in samples.list()}
    prompt = PROMPT if PROMPT in by_prompt else next(iter(by_prompt), PROMPT)
    return prompt, by_prompt.get(prompt, ())[:MOST_SAMPLES]
