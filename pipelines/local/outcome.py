"""The result of a pipeline run on this machine, read from its folder."""

from dataclasses import dataclass
from pathlib import Path

from mynah.data.funnel import Funnel
from mynah.models.evaluation_record import Metrics, PromptSamples, read_samples
from mynah.training.training_record import ContinueRecord, TrainingRecord


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a pipeline run: its folder, with a sub-folder for the output of each step, and the decision about its version."""

    name: str
    version: int  # 0 where none was registered: continuing from the champion brought nothing
    promoted: bool
    decision: str
    folder: Path
    mlflow_run: str
    seconds: float

    @property
    def funnel(self) -> Funnel:
        """The run's funnel.json."""
        return Funnel.read(self.folder / "data")

    @property
    def metrics(self) -> dict[str, float]:
        """The run's metrics.json."""
        return Metrics.read(self.folder / "report").measured

    @property
    def continual(self) -> ContinueRecord | None:
        """The comparison of continued training with starting over; None without --continue or without a champion."""
        return self.training.continual

    @property
    def training(self) -> TrainingRecord:
        """The run's training.json."""
        return TrainingRecord.read(self.folder / "model")

    @property
    def samples(self) -> tuple[PromptSamples, ...]:
        """The run's samples.json."""
        return read_samples(self.folder / "report")
