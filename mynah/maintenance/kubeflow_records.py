"""What Kubeflow Pipelines keeps of runs and schedules, as `forget` searches and erases it.

This is only the form: `pipelines/kubeflow/kept_records.py` has the client of Kubeflow's API.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

RUN: Final = "kubeflow-run"  # kinds of erasable items
SCHEDULE: Final = "kubeflow-schedule"
Kind = Literal["kubeflow-run", "kubeflow-schedule"]


@dataclass(frozen=True, slots=True)
class KubeflowRecord:
    """A run of Kubeflow Pipelines, or a recurring run, which Mynah calls a schedule."""

    kind: Kind
    id: str
    name: str  # shown by Kubeflow
    is_active: bool  # a run that has not ended as far as Kubeflow knows, or a schedule that is enabled
    schedule: str = ""  # of a run: the id of the schedule that started it
    parameters: Mapping[str, Any] = field(default_factory=dict)


class KubeflowRecords(Protocol):
    """The connected API of one Kubeflow Pipelines. All methods raise PlatformError when it is unreachable or refuses."""

    @property
    def address(self) -> str:
        """The address, without credentials, and the namespace where only one is searched."""

    @property
    def lists_everything(self) -> bool:
        """Whether `records` returns those of every namespace, not only those of one user's."""

    def records(self) -> Sequence[KubeflowRecord]:
        """Return all runs, archived ones too, and all schedules."""

    def workflow(self, run_id: str) -> str:
        """Return the name of a run's Workflow, below which Argo stores its logs; "" where Kubeflow no longer knows it."""

    def stop(self, record: KubeflowRecord) -> None:
        """Terminate a run, or disable a schedule; one that is over already is no error."""

    def is_active(self, kind: Kind, record_id: str) -> bool:
        """Return whether a run has not ended, or a schedule is enabled; False where there is none, or the run's Workflow is gone."""

    def exists(self, kind: Kind, record_id: str) -> bool:
        """Return whether Kubeflow still has a run or a schedule."""

    def delete(self, kind: Kind, record_id: str) -> None:
        """Delete a run with its Workflow, or a schedule; one that no longer exists is no error."""
