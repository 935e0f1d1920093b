"""Searches and erases what Kubeflow Pipelines keeps of runs and schedules, through its API, for `mynah forget` and `mynah receipt`."""

import json
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any

from mynah.core.errors import InputError, PlatformError
from mynah.maintenance.kubeflow_records import RUN, SCHEDULE, Kind, KubeflowRecord
from pipelines.kubeflow.api import PAGE, Kubeflow
from pipelines.kubeflow.client import answers, http_status
from pipelines.kubeflow.records import OVER, run_of

ENABLED = "ENABLED"  # the status of a recurring run


class KeptRecords(Kubeflow):
    """The runs and recurring runs of one Kubeflow Pipelines; `mynah.maintenance.kubeflow_records` describes the methods."""

    @property
    def address(self) -> str:
        """The address, without credentials, and the namespace where only one is searched."""
        return f"{self.host} (namespace {self.namespace})" if self.namespace else self.host

    @property
    def lists_everything(self) -> bool:
        """Whether this is no installation that several people share, each in a namespace of their own."""
        return not self.namespace

    def records(self) -> Sequence[KubeflowRecord]:
        """Return all runs, archived ones too, and all schedules, of every experiment of the namespace."""
        schedules = self._all(self._client.list_recurring_runs, "recurring_runs")
        return [*map(_schedule, schedules), *map(_run, self._all(self._client.list_runs, "runs"))]

    def _all(self, ask: Callable[..., Any], field: str) -> list[Any]:
        found: list[Any] = []
        token = ""
        with answers(self.host):
            while True:
                page = ask(token, PAGE, "created_at desc", namespace=self.namespace or None)
                found += getattr(page, field) or []
                token = page.next_page_token or ""
                if not token:
                    return found

    def workflow(self, run_id: str) -> str:
        """Return the name of a run's Workflow; "" where Kubeflow no longer knows it, or its v1beta1 API is disabled."""
        try:
            with self._run_errors(run_id):
                answer = self._call("/apis/v1beta1/runs/{run_id}", {"run_id": run_id})
            return str(json.loads(answer["pipeline_runtime"]["workflow_manifest"])["metadata"]["name"])
        except InputError:
            return ""
        except PlatformError as error:
            if http_status(error) in (HTTPStatus.NOT_FOUND, HTTPStatus.NOT_IMPLEMENTED):
                return ""
            raise
        except (ValueError, KeyError, TypeError):
            return ""

    def stop(self, record: KubeflowRecord) -> None:
        """Terminate a run, or disable a schedule; one that ends meanwhile is no error."""
        stop = self._client.terminate_run if record.kind == RUN else self._client.disable_recurring_run
        try:
            with answers(self.host):
                stop(record.id)
        except PlatformError:
            if self.is_active(record.kind, record.id):
                raise

    def is_active(self, kind: Kind, record_id: str) -> bool:
        """Return whether a run has not ended, or a schedule is enabled; False where there is none, or the run's Workflow is gone.

        Such a run cannot be terminated, and Kubeflow says for ever that it runs.
        """
        found = self._found(kind, record_id)
        if found is None or not (_run if kind == RUN else _schedule)(found).is_active:
            return False
        return kind == SCHEDULE or not self.is_lost(run_of(found))

    def exists(self, kind: Kind, record_id: str) -> bool:
        """Return whether Kubeflow still has a run or a schedule."""
        return self._found(kind, record_id) is not None

    def delete(self, kind: Kind, record_id: str) -> None:
        """Delete a run with its Workflow, or a schedule with its ScheduledWorkflow; one that no longer exists is no error."""
        delete = self._client.delete_run if kind == RUN else self._client.delete_recurring_run
        self._unless_missing(delete, record_id)

    def _found(self, kind: Kind, record_id: str) -> Any:  # noqa: ANN401 - kfp's client is untyped
        return self._unless_missing(self._client.get_run if kind == RUN else self._client.get_recurring_run, record_id)

    def _unless_missing(self, ask: Callable[[str], Any], record_id: str) -> Any:  # noqa: ANN401 - kfp's client is untyped
        """Return an answer, or None where there is no such record."""
        try:
            with answers(self.host):
                return ask(record_id)
        except PlatformError as error:
            if http_status(error) == HTTPStatus.NOT_FOUND:
                return None
            raise


def _run(found: Any) -> KubeflowRecord:  # noqa: ANN401 - V2beta1Run
    state = str(found.state or "")
    return KubeflowRecord(
        RUN,
        str(found.run_id),
        str(found.display_name or ""),
        state not in OVER,
        str(found.recurring_run_id or ""),
        _parameters(found),
    )


def _schedule(found: Any) -> KubeflowRecord:  # noqa: ANN401 - V2beta1RecurringRun
    return KubeflowRecord(
        SCHEDULE, str(found.recurring_run_id), str(found.display_name or ""), str(found.status) == ENABLED, "", _parameters(found)
    )


def _parameters(found: Any) -> dict[str, Any]:  # noqa: ANN401 - a run or a recurring run
    return dict((found.runtime_config.parameters if found.runtime_config else None) or {})
