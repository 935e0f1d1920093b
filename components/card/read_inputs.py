"""Read what a card shows from the folders of the steps before it."""

from collections.abc import Sequence
from pathlib import Path

from components.card.inputs import PROMPT, Author, CardInputs, RunRecord
from components.card.preview import MAX_SAMPLES
from mynah.data.avatars import avatar_file
from mynah.data.funnel import Funnel
from mynah.data.source_records import SourceRecord, read_sources
from mynah.models.adapter import WEIGHTS_FILE, is_adapter
from mynah.models.evaluation_record import Metrics, PromptSamples, SamplingMachine, read_samples
from mynah.models.metric_definitions import METRICS
from mynah.models.verdict import Verdict
from mynah.tracking.costs import usd_per_1000_answers
from mynah.training.training_record import TrainingRecord

NEEDED = ("held_out_loss", "base_held_out_loss", "bits_per_character", "base_bits_per_character", "perplexity", "samples")


def read_inputs(name: str, model: Path, data: Path, report: Path, record: RunRecord | None = None, url: str = "") -> CardInputs:
    """Read what the card shows.

    Args:
        name: The bot's name.
        model: A folder that `mynah finetune` wrote.
        data: A folder that `mynah filter` wrote.
        report: A folder that `mynah evaluate` wrote.
        record: MLflow's record of the run; None for none.
        url: The future address of the card's files; "" where it is unknown.

    Returns:
        What the card shows.

    Raises:
        InputError: A file is missing, or has another shape; the message names the file and the field.
    """
    sources, funnel = read_sources(data), Funnel.read(data)
    training = TrainingRecord.read(model)
    metrics, verdict = Metrics.read(report, NEEDED), Verdict.read(report)
    prompt, samples = _samples(read_samples(report))
    return CardInputs(
        name=name,
        authors=_authors(funnel, sources, data),
        sources=sources,
        funnel=funnel,
        training=training,
        metrics=_known(metrics),
        verdict=verdict,
        prompt=prompt,
        samples=samples,
        machine=SamplingMachine.read(report),
        usd_per_1000_answers=_serving_cost(metrics.values.get("answers_per_second")),
        record=record or RunRecord(),
        url=url,
        adapter_bytes=(model / WEIGHTS_FILE).stat().st_size if is_adapter(model) else 0,
    )


def _known(metrics: Metrics) -> dict[str, float | None]:
    """Return the metrics that have a definition and were measured, or are always shown."""
    values = metrics.values
    return {name: values[name] for name in METRICS if name in NEEDED or values.get(name) is not None}


def _serving_cost(answers_per_second: float | None) -> float | None:
    return usd_per_1000_answers(answers_per_second) if answers_per_second and answers_per_second > 0 else None


def _authors(funnel: Funnel, sources: Sequence[SourceRecord], data: Path) -> tuple[Author, ...]:
    """Return the funnel's authors in its order, with the name and bio of their first source and the first picture of any."""
    return tuple(
        _author(author.author, [source for source in sources if source.author == author.author], data)
        for author in funnel.authors
    )


def _author(handle: str, sources: Sequence[SourceRecord], data: Path) -> Author:
    if not sources:
        return Author(handle, "", "")
    avatars = (avatar_file(data, source.avatar) for source in sources)
    return Author(handle, sources[0].display_name, sources[0].bio, next(filter(None, avatars), None))


def _samples(groups: Sequence[PromptSamples]) -> tuple[str, tuple[str, ...]]:
    """Return a prompt and its samples: `PROMPT`, or the first prompt where there are no samples for that one."""
    by_prompt = {group.prompt: group.texts for group in groups}
    prompt = PROMPT if PROMPT in by_prompt else next(iter(by_prompt), PROMPT)
    return prompt, by_prompt.get(prompt, ())[:MAX_SAMPLES]
