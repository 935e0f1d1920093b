"""The commands for Kubeflow Pipelines: compile, submit, fleet, runs, logs, cancel."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mynah.core.errors import InputError, PlatformError
from mynah.core.progress import notify, strip_control_chars, waiting
from mynah.core.settings import MYNAH_WAIT_SECONDS
from mynah.core.wait_for_server import SECONDS_IN_POD
from mynah.mlflow_client.store import server_address
from pipelines.cli.options import Json, print_json, require_apart, result
from pipelines.compile import AT_ONCE
from pipelines.flat_signature import MadeBy, flatten
from pipelines.kubeflow.cluster_spec import AtOnce, ClusterSpec, Connection, Parallel
from pipelines.placement import Deadline, ImagesFile, Placement
from pipelines.run_spec import RunSpec, optional_search, read_searched_recipe

if TYPE_CHECKING:
    from pipelines.kubeflow.api import Kubeflow, KubeflowRun
    from pipelines.kubeflow.submit import Submission

SubmittedRun = Annotated[RunSpec, MadeBy(RunSpec, recipe=MadeBy(read_searched_recipe), sweep=MadeBy(optional_search))]
FleetMember = Annotated[Callable[..., RunSpec], MadeBy(RunSpec, name=None, sources=None)]
FleetFile = Annotated[
    Path, typer.Argument(help="YAML, JSON or CSV with each bot's name, its sources (from) and optionally their basis.")
]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Follow the run until it ends.")]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run's id or the start of it.")]

GRACE = 600.0  # seconds that Kubeflow may need to end a run after its deadline


@flatten
def compile_(
    out: Annotated[Path, typer.Option(help="The YAML file to write.")] = Path("pipeline.yaml"),
    pipeline: Annotated[str, typer.Option(help="bot, fleet or sweep.")] = "bot",
    *,
    placement: Placement,
    at_once: AtOnce = AT_ONCE,
    images: ImagesFile = None,
    as_json: Json = False,
) -> None:
    """Compile a pipeline to YAML for Kubeflow Pipelines."""
    require_apart(out, images)
    with waiting("Compiling"):
        from pipelines.compile import write

        write(out, placement, pipeline, at_once)
    result({"pipeline": str(out)}, str(out), as_json)


@flatten
def submit(
    spec: SubmittedRun,
    cluster: Annotated[ClusterSpec, MadeBy(ClusterSpec, at_once=Parallel)],
    connection: Connection,
    wait: Wait = True,
    as_json: Json = False,
) -> None:
    """Run the whole pipeline on a cluster with Kubeflow Pipelines."""
    from pipelines.kubeflow.submit import Submission

    _submit(Submission([spec], cluster), connection, wait, as_json)


@flatten
def fleet(
    file: FleetFile,
    member: FleetMember,
    cluster: Annotated[ClusterSpec, MadeBy(ClusterSpec, serve_in=None)],
    connection: Connection,
    wait: Wait = True,
    as_json: Json = False,
) -> None:
    """Make many bots in one run on a cluster, several at a time; a failed bot does not stop the others."""
    from pipelines.kubeflow.submit import Submission, read_fleet

    _submit(Submission(read_fleet(file, member), cluster, fleet=True), connection, wait, as_json)


@flatten
def runs(
    run: Annotated[str, typer.Argument(metavar="[RUN]", help="A run, to show its steps.", show_default=False)] = "",
    is_followed: Annotated[bool, typer.Option("--follow", help="Follow the run until it ends.")] = False,
    count: Annotated[int, typer.Option("-n", min=1, max=1000, help="The number of newest runs to list.")] = 20,
    deadline: Deadline = 24.0,
    *,
    connection: Connection,
    as_json: Json = False,
) -> None:
    """List the runs of Kubeflow Pipelines, or show one with its steps and what they wait for."""
    api = _connect(connection)
    if not run:
        _show_runs(api.runs(count), as_json)
        return
    shown = api.find(run)
    if is_followed:
        _follow(api, shown.run_id, deadline)
        shown = api.run(shown.run_id)
    _show_run(api, shown, as_json)


@flatten
def logs(
    run: RunId,
    step: Annotated[str, typer.Argument(help="The step, for example finetune.")],
    connection: Connection,
) -> None:
    """Print the log of a step of a run, with all attempts and all bots of a fleet."""
    from pipelines.placement import NEEDS

    wanted = "filter-posts" if step == "filter" else step
    if wanted not in NEEDS:
        raise InputError(f"there is no step {step[:40]!r}", f"There are: {', '.join(NEEDS)}.")
    api = _connect(connection)
    target = api.find(run)
    pods = [pod for pod in api.pods(target.run_id) if pod.step == wanted]
    for pod in pods:
        if pod.message and not (pod.is_driver and pod.phase == "Succeeded"):
            notify(f"{pod.name} ({pod.phase.lower()}): {pod.message}", "warning" if pod.has_failed else "info")
    written = [pod for pod in pods if not pod.is_driver and pod.phase not in ("Pending", "Omitted", "Skipped")]
    if not written:
        raise PlatformError(
            f"the step {wanted} of {target.run_id} has written nothing yet, or Kubeflow no longer knows its pods",
            f"See mynah runs {target.run_id[:8]}; in the cluster: "
            f"kubectl -n {api.namespace or 'kubeflow'} get pods -l pipeline/runid={target.run_id}",
        )
    for number, pod in enumerate(written, 1):
        if len(written) > 1:
            print(f"── {pod.name} ({pod.phase.lower()})")
        try:
            print(api.log(target.run_id, pod.name), end="")
        except InputError as error:
            if number == len(written):
                raise
            notify(error.problem, "warning")  # this pod's log is gone; those of later pods may exist


@flatten
def cancel(run: RunId, connection: Connection, as_json: Json = False) -> None:
    """Cancel a run of Kubeflow Pipelines, and end its MLflow runs if MLFLOW_TRACKING_URI is set."""
    api = _connect(connection)
    target = api.find(run)
    if target.is_over:
        raise InputError(f"the run {target.run_id} is over: {target.state.lower()}", "See `mynah runs`.")
    api.cancel(target.run_id)
    if address := server_address():
        from components.finish_run.step import finish_run
        from mynah.mlflow_client.store import Store

        finish_run(target.run_id, Store(address), status="KILLED")
    result({"run": target.run_id, "state": "CANCELING"}, f"{target.run_id} is being canceled", as_json)


def _connect(connection: Connection) -> "Kubeflow":
    with waiting("Connecting to Kubeflow"):
        from pipelines.kubeflow.api import Kubeflow

        return Kubeflow.connect(connection.endpoint, connection.namespace, connection.token_file)


def _require_gpus(placement: "Placement", context: str) -> None:
    """Check that the cluster of a kubeconfig context has nodes for the steps that need GPUs. Raises InputError or PlatformError."""
    if not placement.gpu or not context:
        return
    from components.deploy.preflight import require_gpu_pool
    from mynah.kubernetes.cluster import Cluster

    if cluster := Cluster.connect(context):
        require_gpu_pool(cluster, placement.gpu_pool, placement.gpus)


def _submit(submission: "Submission", connection: Connection, wait: bool, as_json: bool) -> None:
    from pipelines.kubeflow.submit import submit

    cluster = submission.cluster
    # What begins a run waits for its servers as a pod does: a port-forward may not listen yet.
    os.environ.setdefault(MYNAH_WAIT_SECONDS.name, str(SECONDS_IN_POD))
    _require_gpus(cluster.placement, cluster.context)
    api = _connect(connection)  # before anything is uploaded
    run_id = submit(submission, api)
    if cluster.schedule:
        result({"recurring_run": run_id, "schedule": cluster.schedule}, f"recurring run {run_id}: {cluster.schedule}", as_json)
        return
    notify(f"run {run_id} ({api.host}/#/runs/details/{run_id})")
    if wait:
        _follow(api, run_id, cluster.placement.deadline)
    result({"run": run_id, "state": "SUCCEEDED" if wait else "PENDING"}, run_id, as_json)


def _follow(api: "Kubeflow", run_id: str, hours: float) -> None:
    from pipelines.kubeflow.follow import follow

    try:
        follow(api, run_id, hours * 3600 + GRACE)
    except KeyboardInterrupt:
        notify(f"the run continues: mynah runs {run_id[:8]} --follow shows it, mynah cancel {run_id[:8]} ends it", "warning")
        raise


def _show_runs(listed: "list[KubeflowRun]", as_json: bool) -> None:
    if as_json:
        print_json([_record(run) for run in listed])
        return
    from rich.table import Table

    from pipelines.cli.render import console

    table = Table()
    for heading in ("Run", "Name", "State", "Created (UTC)"):
        table.add_column(heading)
    for run in listed:
        created = f"{run.created:%Y-%m-%d %H:%M}" if run.created else ""
        table.add_row(run.run_id[:8], strip_control_chars(run.name), run.state.lower(), created)
    console().print(table if listed else "No runs yet: `mynah submit` makes one.")


def _show_run(api: "Kubeflow", run: "KubeflowRun", as_json: bool) -> None:
    from pipelines.cli.render import console
    from pipelines.kubeflow.follow import steps_of, table

    pods = [] if run.state == "SUCCEEDED" else api.pods(run.run_id)
    reasons = {pod.step or pod.name: pod.message for pod in pods if pod.message and pod.phase in ("Pending", "Failed", "Error")}
    if as_json:
        steps = [{"step": step.name, "state": step.state, "count": dict(step.states)} for step in steps_of(run)]
        print_json({**_record(run), "error": run.error, "steps": steps, "reasons": reasons})
    else:
        console().print(table(run, reasons))


def _record(run: "KubeflowRun") -> dict[str, Any]:
    return {
        "run": run.run_id, "name": run.name, "state": run.state,
        "created": run.created.isoformat() if run.created else "", "ended": run.ended.isoformat() if run.ended else "",
    }  # fmt: skip


COMMANDS: dict[str, Callable[..., None]] = {
    "compile": compile_, "submit": submit, "fleet": fleet, "runs": runs, "logs": logs, "cancel": cancel,
}  # fmt: skip
