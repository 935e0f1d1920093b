"""What evaluation writes beside its verdict: metrics.json, samples.json and machine.json in the report's folder."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mynah.core.files import write_json
from mynah.core.json_reader import JsonField

METRICS_FILE, SAMPLES_FILE, MACHINE_FILE = "metrics.json", "samples.json", "machine.json"
REPORT_FILE, REPORT_PAGE, BLIND_TEST_PAGE = "report.md", "report.html", "blind.html"


@dataclass(frozen=True, slots=True)
class Metrics:
    """metrics.json: the value of each metric by its name (mynah.models.metric_definitions); None for what could not be measured."""

    values: Mapping[str, float | None]

    @property
    def measured(self) -> dict[str, float]:
        """The metrics that have a value."""
        return {name: value for name, value in self.values.items() if value is not None}

    def write(self, report: Path) -> None:
        """Write metrics.json into the folder `report`. Raises PlatformError when the disk refuses."""
        write_json(report / METRICS_FILE, dict(self.values))

    @classmethod
    def read(cls, report: Path, needed: Collection[str] = ()) -> "Metrics":
        """Read metrics.json of a folder that `mynah evaluate` wrote, also of an earlier version.

        Args:
            report: The folder.
            needed: Metrics that must be in the file.

        Raises:
            InputError: The file is missing, a value is neither a finite number nor null, or a needed metric is not there.
        """
        metrics = JsonField.read(report / METRICS_FILE, "evaluate")
        values = {name: value.maybe_number() for name, value in metrics.pairs()}
        for name in needed:
            metrics[name]  # raises where it is missing
        return cls(values)


@dataclass(frozen=True, slots=True)
class PromptSamples:
    """What a model wrote for a prompt; each text begins with it, and "" is the prompt of what was written from nothing."""

    prompt: str
    texts: tuple[str, ...]

    def to_record(self) -> dict[str, Any]:
        """The samples as an entry of samples.json."""
        return {"prompt": self.prompt, "texts": list(self.texts)}


def read_samples(report: Path) -> tuple[PromptSamples, ...]:
    """Read samples.json of a folder that `mynah evaluate` wrote. Raises InputError when it is missing or has another shape."""
    return tuple(
        PromptSamples(group["prompt"].text(), tuple(text.text() for text in group["texts"].list()))
        for group in JsonField.read(report / SAMPLES_FILE, "evaluate").list()
    )


def write_samples(report: Path, samples: Iterable[PromptSamples]) -> None:
    """Write samples.json into the folder `report`. Raises PlatformError when the disk refuses."""
    write_json(report / SAMPLES_FILE, [group.to_record() for group in samples])


@dataclass(frozen=True, slots=True)
class SamplingMachine:
    """machine.json: what the samples were written by. Other kernels round differently, and may write other samples for a seed."""

    kernels: str
    weights: str  # their data type
    processor: str
    threads: int

    def write(self, report: Path) -> None:
        """Write machine.json into the folder `report`. Raises PlatformError when the disk refuses."""
        write_json(report / MACHINE_FILE, asdict(self))

    @classmethod
    def read(cls, report: Path) -> "SamplingMachine | None":
        """Read machine.json of a folder that `mynah evaluate` wrote; None where an earlier version wrote none.

        Raises:
            InputError: The file has another shape.
        """
        path = report / MACHINE_FILE
        if not path.exists():
            return None
        machine = JsonField.read(path, "evaluate")
        return cls(
            kernels=machine["kernels"].text(),
            weights=machine["weights"].text(),
            processor=machine["processor"].text(),
            threads=machine["threads"].count(),
        )
