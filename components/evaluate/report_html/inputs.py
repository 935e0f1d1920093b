"""Reads the inputs of the report's pages from the records of earlier steps."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mynah.data.datasets import read_texts
from mynah.data.funnel import Funnel
from mynah.data.text_digests import read_seen, unseen
from mynah.models.evaluation_record import Metrics, PromptSamples, read_samples
from mynah.models.verdict import Verdict
from mynah.training.training_record import TrainingRecord


@dataclass(frozen=True, slots=True)
class ReportInputs:
    """The inputs of the two pages; texts are not escaped.

    Attributes:
        verdict: The gate's verdict.
        metrics: The measured metrics, by name.
        prompts: The samples of each prompt.
        training: The training record.
        funnel: The filter's funnel.
        train: The training texts.
        held_out: The held-out texts, without those that a parent model was trained on.
    """

    verdict: Verdict
    metrics: Mapping[str, float]
    prompts: tuple[PromptSamples, ...]
    training: TrainingRecord
    funnel: Funnel
    train: tuple[str, ...]
    held_out: tuple[str, ...]

    @property
    def unprompted(self) -> tuple[str, ...]:
        """The samples without a prompt."""
        return tuple(text for group in self.prompts if not group.prompt for text in group.texts)


def read_inputs(report: Path, model: Path, data: Path) -> ReportInputs:
    """Read the inputs of the pages.

    Args:
        report: The folder that `mynah evaluate` writes, with its metrics, verdict and samples.
        model: A folder that `mynah finetune` wrote.
        data: A folder that `mynah filter` wrote.

    Returns:
        The inputs.

    Raises:
        InputError: A file is missing or invalid; the message names the file and the field.
    """
    return ReportInputs(
        verdict=Verdict.read(report),
        metrics=Metrics.read(report).measured,
        prompts=read_samples(report),
        training=TrainingRecord.read(model),
        funnel=Funnel.read(data),
        train=tuple(read_texts(data, "train")),
        held_out=tuple(unseen(read_texts(data, "held_out"), read_seen(model))),
    )
