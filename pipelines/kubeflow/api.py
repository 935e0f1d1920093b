"""Kubeflow Pipelines' API by its own client (kfp.Client), with waits that end and errors that a person can act on."""

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.errors import InputError, PlatformError
from components.events import visible
from components.store import public
from pipelines.kubeflow_client import PORT_FORWARD, answers, http_status, make_client
from pipelines.workflow import Pod, pods_of

if TYPE_CHECKING:
    import kfp

PAGE = 100
IN_CLUSTER = "http://ml-pipeline.kubeflow.svc.cluster.local:8888"  # kfp.Client's own default within a pod
OVER = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")


@dataclass(frozen=True, slots=True)
class Task:
    """A task of a run as the API has it. Many are Kubeflow's own: drivers, iterations, conditions."""

    name: str
    state: str
    error: str  # "" where the API tells none, as 2.17's own tasks do
    began: datetime | None
    ended: datetime | None


@dataclass(frozen=True, slots=True)
class Run:
    """A run of Kubeflow Pipelines."""

    run_id: str
    name: str
    state: str  # one of the API's runtime states; PENDING where it has none yet
    created: datetime | None
    ended: datetime | None
    error: str
    tasks: tuple[Task, ...]

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come of it."""
        return self.state in OVER


class Kubeflow:
    """The API of one Kubeflow. Every method raises PlatformError when it does not answer or refuses, and says what to do."""

    def __init__(self, client: "kfp.Client", host: str, namespace: str) -> None:
        self._client = client
        self.host = host
        self.namespace = namespace

    @classmethod
    def connect(cls, endpoint: str = "", namespace: str = "", token_file: Path | None = None) -> "Kubeflow":
        """The Kubeflow at `endpoint`, else KF_PIPELINES_ENDPOINT, else that of the cluster that this pod runs in; it has answered.

        Credentials: `token_file` or KF_PIPELINES_SA_TOKEN_PATH (read anew for each request: such tokens change), KF_PIPELINES_TOKEN,
        or KF_PIPELINES_COOKIE for an authenticating proxy. KF_PIPELINES_SSL_CA_CERT names a private authority.
        Raises InputError when there is no endpoint, or no namespace where several people share one Kubeflow.
        """
        host = endpoint or os.environ.get("KF_PIPELINES_ENDPOINT", "")
        if not host and not os.environ.get("KUBERNETES_SERVICE_HOST"):
            raise InputError(
                "nothing tells where Kubeflow Pipelines is", f"Set KF_PIPELINES_ENDPOINT or --endpoint; try {PORT_FORWARD}"
            )
        host = (host or IN_CLUSTER).rstrip("/")
        if not host.startswith(("http://", "https://")):
            raise InputError(f"the endpoint {public(host)[:100]!r} is no address", "Write http://… or https://….")
        namespace = namespace or os.environ.get("KF_PIPELINES_NAMESPACE", "")
        client = make_client(host, namespace, token_file)
        with answers(host):
            health = client._healthz_api.healthz_service_get_healthz()
        if health.multi_user and not namespace:
            raise InputError(
                f"the Kubeflow at {public(host)} is shared by several people",
                "Name your profile's namespace: --namespace or KF_PIPELINES_NAMESPACE.",
            )
        return cls(client, public(host), namespace if health.multi_user else "")

    def submit(self, package: Path, name: str, experiment: str, arguments: dict[str, Any], service_account: str) -> str:
        """Create a run of a compiled pipeline, and return its id."""
        return str(
            self._create(
                "run_pipeline", experiment, job_name=name, params=arguments, pipeline_package_path=str(package),
                service_account=service_account,
            ).run_id
        )  # fmt: skip

    def schedule(
        self, package: Path, name: str, experiment: str, arguments: dict[str, Any], service_account: str, cron: str
    ) -> str:
        """Create a recurring run, and return its id; `cron` has Kubeflow's six fields. One at a time, and none made up for."""
        return str(
            self._create(
                "create_recurring_run", experiment, job_name=name, params=arguments, pipeline_package_path=str(package),
                service_account=service_account, cron_expression=cron, no_catchup=True, max_concurrency=1,
            ).recurring_run_id
        )  # fmt: skip

    def _create(self, action: str, experiment: str, **options: Any) -> Any:  # noqa: ANN401 - kfp's client is untyped
        with answers(self.host), contextlib.redirect_stdout(None):  # it prints links
            made = self._client.create_experiment(experiment, namespace=self.namespace or None)
            return getattr(self._client, action)(made.experiment_id, **options)

    def run(self, run_id: str) -> Run:
        """One run with its tasks. Raises InputError when there is no such run."""
        with self._asking_for(run_id):
            return _run(self._client.get_run(run_id))

    def runs(self, most: int) -> list[Run]:
        """The newest `most` runs."""
        found: list[Run] = []
        token = ""
        with answers(self.host):
            while len(found) < most:
                page = self._client.list_runs(
                    token, min(PAGE, most - len(found)), "created_at desc", namespace=self.namespace or None
                )
                found += [_run(each) for each in page.runs or []]
                token = page.next_page_token or ""
                if not token:
                    break
        return found[:most]

    def find(self, text: str) -> Run:
        """The run whose id is `text` or begins with it. Raises InputError when none or several do."""
        if len(text) >= 36:
            return self.run(text)
        near = [run for run in self.runs(1000) if text and run.run_id.startswith(text)]
        if len(near) != 1:
            many = f"several runs begin with {text[:40]!r}" if near else f"there is no run {text[:40]!r}"
            raise InputError(f"{many} at {self.host}", "See `mynah runs`.")
        return self.run(near[0].run_id)

    def cancel(self, run_id: str) -> None:
        """Ask Kubeflow to end a run; its pods go within their grace period."""
        with self._asking_for(run_id):
            self._client.terminate_run(run_id)

    def pods(self, run_id: str) -> list[Pod]:
        """The pods of a run with the reasons for which they wait or failed, from the workflow that Kubeflow keeps of it.

        [] where it keeps none: the v2beta1 API tells no reasons, and v1beta1, which does, may be switched off.
        """
        try:
            with self._asking_for(run_id):
                answer = self._call("/apis/v1beta1/runs/{run_id}", {"run_id": run_id})
        except (InputError, PlatformError):
            return []
        runtime = answer.get("pipeline_runtime") if isinstance(answer, dict) else None
        return pods_of(str((runtime or {}).get("workflow_manifest") or ""))

    def log(self, run_id: str, pod: str) -> str:
        """What a pod wrote: from the pod while it is there, then from Kubeflow's archive. Raises InputError when neither has it."""
        path = "/apis/v1alpha1/runs/{run_id}/nodes/{node_id}/log"
        with self._asking_for(run_id):
            answer = self._call(path, {"run_id": run_id, "node_id": pod}, as_text=True)
        text = visible(answer)
        with contextlib.suppress(ValueError):  # an error comes with status 200, as a JSON object after what was written
            refused = json.loads(text[text.rindex('{"error_message"') :])
            reason = str(refused["error_message"]).split("\n")[0][:200]
            raise InputError(f"the log of pod {pod} is gone: {reason}", "Kubeflow keeps logs where archiveLogs is on.")
        return text

    def _call(self, path: str, parts: dict[str, str], *, as_text: bool = False) -> Any:  # noqa: ANN401 - JSON, or text
        """A GET that the generated client has no method for, with its host, its credentials and its waits."""
        api = self._client._run_api.api_client
        options = {"auth_settings": ["Bearer"], "_return_http_data_only": True}
        if as_text:
            answer = api.call_api(path, "GET", parts, _preload_content=False, **options)
            return answer.data.decode("utf-8", "replace")
        return api.call_api(path, "GET", parts, response_type="object", **options)

    @contextlib.contextmanager
    def _asking_for(self, run_id: str) -> Iterator[None]:
        try:
            with answers(self.host):
                yield
        except PlatformError as error:
            if http_status(error) == HTTPStatus.NOT_FOUND:
                raise InputError(f"there is no run {run_id[:40]!r} at {self.host}", "See `mynah runs`.") from error
            raise


def _run(found: Any) -> Run:  # noqa: ANN401 - V2beta1Run
    details = found.run_details.task_details if found.run_details else None
    tasks = tuple(
        Task(str(each.display_name), str(each.state or ""), _error(each), each.start_time, _time(each.end_time))
        for each in details or []
    )
    return Run(
        str(found.run_id), str(found.display_name or ""), _state(found.state), found.created_at, _time(found.finished_at),
        _error(found), tasks,
    )  # fmt: skip


def _state(state: str | None) -> str:
    return "PENDING" if state in (None, "", "RUNTIME_STATE_UNSPECIFIED") else str(state)


def _time(when: datetime | None) -> datetime | None:
    """The API writes 1970 where something has not ended."""
    return when if when and when.year > 1970 else None


def _error(found: Any) -> str:  # noqa: ANN401 - a run or a task
    errors = [found.error, *(each.error for each in reversed(found.state_history or []))]
    return next((str(each.message).strip() for each in errors if each and each.message), "")
