"""How far a training run is, and what it comes to."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from mynah.training.recipe import Recipe
from mynah.training.training_record import EpochLosses


@dataclass(slots=True)
class Progress:
    """How far training is: the part of the training state that is not tensors, as JSON holds it."""

    history: list[EpochLosses] = field(default_factory=list)
    epoch: int = 1
    batch: int = 0  # batches of the epoch that are done
    step: int = 0
    epoch_nats: float = 0.0
    epoch_tokens: int = 0
    tokens: int = 0
    seconds: float = 0.0
    resumed_at: list[int] = field(default_factory=list)  # steps

    def to_record(self) -> dict[str, Any]:
        """Return the progress as a JSON object."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Progress":
        """Return the progress that `to_record` wrote."""
        return cls(**{**record, "history": [EpochLosses(**epoch) for epoch in record["history"]]})

    @property
    def best(self) -> EpochLosses:
        """The epoch with the lowest held-out loss, the earliest of equal ones."""
        return min(self.history, key=lambda past: past.held_out_loss)


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """The outcome of a training run."""

    recipe: Recipe  # with all derived settings filled in
    history: Sequence[EpochLosses]
    best_epoch: int
    steps: int
    tokens: int  # predicted in training, all epochs
    seconds: float  # training only, without the held-out evaluations
    device: str  # torch's type: cpu or cuda
    device_name: str
    kernels: str
    precision: str
    flops_utilisation: float  # of the device's peak, see throughput.py; 0 where unknown
    memory_gb: float  # peak memory, in 10^9 bytes
    processes: int
    out_of_time: bool  # training ended at its deadline, before the recipe's last step
    stopped_early: bool  # the held-out loss did not fall for `patience` epochs
    resumed_at: Sequence[int]  # the steps at which training resumed after an interruption
