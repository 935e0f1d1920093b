"""What Kubeflow Pipelines' API tells of runs and schedules, as records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

LOST = "LOST"  # Mynah's own state, of a run that the API calls running although its Workflow is gone
ENDS = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")
OVER = (*ENDS, LOST)
UNKNOWN = (None, "", "RUNTIME_STATE_UNSPECIFIED")


@dataclass(frozen=True, slots=True)
class Task:
    """A task of a run in the API. Many are Kubeflow's own: drivers, iterations, conditions."""

    name: str
    state: str
    error: str  # "" when the API reports none, as for 2.17's own tasks
    started: datetime | None
    ended: datetime | None


@dataclass(frozen=True, slots=True)
class KubeflowRun:
    """A run of Kubeflow Pipelines."""

    run_id: str
    name: str
    state: str  # the API's, as `_state` reads its history; LOST for a run whose Workflow is gone; PENDING before it has one
    created: datetime | None
    ended: datetime | None
    error: str
    tasks: tuple[Task, ...]
    recurring_run: str  # the id of the schedule that made it, or ""
    parameters: Mapping[str, Any]
    deadline: float  # seconds after which Argo ends it; 0 where unknown

    @property
    def is_over(self) -> bool:
        """Whether the run has ended."""
        return self.state in OVER


@dataclass(frozen=True, slots=True)
class RecurringRun:
    """A schedule."""

    recurring_id: str
    name: str
    cron: str  # with Kubeflow's six fields; "" where it has another trigger
    is_enabled: bool
    created: datetime | None
    parameters: Mapping[str, Any]


def run_of(found: Any) -> KubeflowRun:  # noqa: ANN401 - V2beta1Run
    """Return the record of a run."""
    details = found.run_details.task_details if found.run_details else None
    tasks = tuple(
        Task(str(task.display_name), str(task.state or ""), _error(task), task.start_time, _time(task.end_time))
        for task in details or []
    )
    return KubeflowRun(
        str(found.run_id), str(found.display_name or ""), _state(found), found.created_at, _time(found.finished_at), _error(found),
        tasks, str(found.recurring_run_id or ""), _parameters(found), _deadline(found.pipeline_spec),
    )  # fmt: skip


def recurring_run_of(found: Any) -> RecurringRun:  # noqa: ANN401 - V2beta1RecurringRun
    """Return the record of a schedule."""
    trigger = found.trigger.cron_schedule if found.trigger else None
    return RecurringRun(
        str(found.recurring_run_id), str(found.display_name or ""), str(trigger.cron or "") if trigger else "",
        str(found.status) == "ENABLED", found.created_at, _parameters(found),
    )  # fmt: skip


def _state(run: Any) -> str:  # noqa: ANN401 - V2beta1Run
    """Return the state of a run.

    Kubeflow 2.17 ends a canceled run as FAILED, with CANCELING in its history, and reports no state at all for moments between two others.
    """
    states = [str(entry.state) for entry in run.state_history or [] if entry.state not in UNKNOWN]
    state = str(run.state) if run.state not in UNKNOWN else states[-1] if states else "PENDING"
    return "CANCELED" if state == "FAILED" and _was_canceled(states) else state


def _was_canceled(states: Sequence[str]) -> bool:
    """Return whether CANCELING is among the states of the last attempt: a run that ended can be retried, and then goes on."""
    last = list(states)
    while last and last[-1] in ENDS:
        last.pop()
    ended = max((number for number, state in enumerate(last) if state in ENDS), default=-1)
    return "CANCELING" in last[ended + 1 :]


def _parameters(found: Any) -> Mapping[str, Any]:  # noqa: ANN401 - a run or a recurring run
    config = found.runtime_config
    return dict(config.parameters or {}) if config else {}


def _deadline(spec: Any) -> float:  # noqa: ANN401 - any JSON
    """Return activeDeadlineSeconds of a pipeline's platform specification; 0 without one."""
    for key in ("platform_spec", "platforms", "kubernetes", "pipelineConfig", "activeDeadlineSeconds"):
        spec = spec.get(key) if isinstance(spec, dict) else None
    return float(spec) if isinstance(spec, int | float) else 0.0


def _time(when: datetime | None) -> datetime | None:
    """Return an end time, or None for 1970, which the API reports before the end."""
    return when if when and when.year > 1970 else None


def _error(found: Any) -> str:  # noqa: ANN401 - a run or a task
    errors = [found.error, *(state.error for state in reversed(found.state_history or []))]
    return next((str(error.message).strip() for error in errors if error and error.message), "")
