"""The commands for Kubeflow Pipelines: compile, submit, fleet, runs, cancel; logs and schedules have modules of their own."""

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mynah.core.errors import InputError, MynahError, PlatformError
from mynah.core.progress import notify, waiting
from mynah.core.settings import MYNAH_WAIT_SECONDS
from mynah.core.wait_for_server import SECONDS_IN_POD
from pipelines.cli.connect import connect
from pipelines.cli.logs import RunId, logs
from pipelines.cli.options import Json, print_json, require_apart, result
from pipelines.compile import AT_ONCE
from pipelines.flat_signature import MadeBy, flatten
from pipelines.kubeflow.cluster_spec import AtOnce, ClusterSpec, Connection, Parallel
from pipelines.placement import Deadline, ImagesFile, Placement
from pipelines.run_spec import RunSpec, optional_search, read_searched_recipe

if TYPE_CHECKING:
    from components.finish_run.step import Outcome
    from pipelines.kubeflow.api import Kubeflow
    from pipelines.kubeflow.records import KubeflowRun
    from pipelines.kubeflow.submit import Submission

SubmittedRun = Annotated[RunSpec, MadeBy(RunSpec, recipe=MadeBy(read_searched_recipe), sweep=MadeBy(optional_search))]
FleetMember = Annotated[Callable[..., RunSpec], MadeBy(RunSpec, name=None, sources=None)]
FleetFile = Annotated[
    Path, typer.Argument(help="YAML, JSON or CSV with each bot's name, its sources (from) and optionally their basis.")
]
OnlyNews = Annotated[
    bool, typer.Option("--only-news/--no-only-news", help="Compile for schedules, whose runs end early without new posts.")
]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Follow the run until it ends.")]

LESS = "Train an adapter (--set lora_rank=16), fewer tokens at once (--set micro_batch_tokens=256) or a smaller --base-model"
KUBEFLOW = "kubeflow"  # the namespace of runs in a single-user installation
GRACE = 600.0  # seconds that Kubeflow may need to end a run after its deadline


@flatten
def compile_(
    out: Annotated[Path, typer.Option(help="The YAML file to write.")] = Path("pipeline.yaml"),
    pipeline: Annotated[str, typer.Option(help="bot, fleet or sweep.")] = "bot",
    *,
    placement: Placement,
    at_once: AtOnce = AT_ONCE,
    only_news: OnlyNews = False,
    images: ImagesFile = None,
    as_json: Json = False,
) -> None:
    """Compile a pipeline to YAML for Kubeflow Pipelines."""
    require_apart(out, images)
    with waiting("Compiling"):
        from pipelines.compile import write

        write(out, placement, pipeline, at_once, only_news=only_news)
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
    from pipelines.cli.render_runs import show_run, show_runs
    from pipelines.kubeflow.outcomes import find_outcomes, settle, summaries, tracking_store

    api, store = connect(connection), tracking_store()
    if not run:
        listed = [each if each.is_over else settle(api, each, store) for each in api.runs(count)]
        show_runs(listed, summaries(listed), as_json)
        return
    shown = api.find(run)
    if is_followed:
        _follow(api, shown.run_id, deadline)
        shown = api.run(shown.run_id)
    shown = settle(api, shown, store)
    show_run(api, shown, find_outcomes(shown) if store else None, as_json)


@flatten
def cancel(run: RunId, connection: Connection, as_json: Json = False) -> None:
    """Cancel a run of Kubeflow Pipelines, and end its MLflow runs if MLFLOW_TRACKING_URI is set."""
    from pipelines.kubeflow.outcomes import settle, tracking_store

    api, store = connect(connection), tracking_store()
    target = settle(api, api.find(run), store)
    if target.is_over:
        raise _is_over(target)
    try:
        api.cancel(target.run_id)
    except PlatformError:
        target = api.run(target.run_id)  # it may have ended in the meantime
        if target.is_over:
            raise _is_over(target) from None
        raise
    if store:
        from components.finish_run.step import finish_run

        finish_run(target.run_id, store, status="KILLED")
    result({"run": target.run_id, "state": "CANCELING"}, f"{target.run_id} is being canceled", as_json)


def _is_over(run: "KubeflowRun") -> InputError:
    return InputError(f"the run {run.run_id} is over: {run.state.lower()}", "See `mynah runs`.")


def _require_gpus(placement: "Placement", context: str) -> None:
    """Check that the cluster of a kubeconfig context has nodes for the steps that need GPUs. Raises InputError or PlatformError."""
    if not placement.gpu or not context:
        return
    from components.deploy.preflight import require_gpu_pool
    from mynah.kubernetes.cluster import Cluster

    if cluster := Cluster.connect(context):
        require_gpu_pool(cluster, placement.gpu_pool, placement.gpus)


def _require_room(placement: "Placement", pipeline: str, context: str) -> None:
    """Check that a node of a kubeconfig context's cluster can hold each step of a pipeline. Raises InputError or PlatformError."""
    if not context:
        return
    from components.deploy.nodes import require_room
    from mynah.kubernetes.cluster import Cluster
    from pipelines.placement import NEEDS, OF_SWEEPS

    steps = [step for step in NEEDS if pipeline == "sweep" or step not in OF_SWEEPS]
    if cluster := Cluster.connect(context):
        require_room(cluster, placement.pod_requests(steps), LESS)


def _require_training(placement: "Placement", context: str, namespace: str) -> None:
    """Check that the cluster of a kubeconfig context has what --nodes and --queue need. Raises InputError or PlatformError."""
    if not context or (placement.nodes == 1 and not placement.queue):
        return
    from components.deploy.training_preflight import require_training
    from mynah.kubernetes.cluster import Cluster

    if cluster := Cluster.connect(context):
        require_training(cluster, namespace, placement.nodes, placement.queue)


def _submit(submission: "Submission", connection: Connection, wait: bool, as_json: bool) -> None:
    from pipelines.kubeflow.submit import submit

    cluster = submission.cluster
    # What begins a run waits for its servers as a pod does: a port-forward may not listen yet.
    os.environ.setdefault(MYNAH_WAIT_SECONDS.name, str(SECONDS_IN_POD))
    _require_gpus(cluster.placement, cluster.context)
    _require_training(cluster.placement, cluster.context, connection.namespace or KUBEFLOW)
    api = connect(connection)  # before anything is uploaded
    run_id = submit(submission, api, lambda placement: _require_room(placement, submission.pipeline, cluster.context))
    if cluster.schedule:
        result({"recurring_run": run_id, "schedule": cluster.schedule}, f"recurring run {run_id}: {cluster.schedule}", as_json)
        return
    notify(f"run {run_id} ({api.host}/#/runs/details/{run_id})")
    if not wait:
        result({"run": run_id, "state": "PENDING"}, run_id, as_json)
        return
    try:
        run = _follow(api, run_id, cluster.placement.deadline)
    except MynahError:
        if submission.fleet or as_json:
            _show_outcomes(api, run_id, as_json)
        raise
    _tell_outcome(run, as_json)


def _show_outcomes(api: "Kubeflow", run_id: str, as_json: bool) -> None:
    """Print what became of each bot of a run that did not succeed, before the error that tells why."""
    from pipelines.cli.render import console
    from pipelines.cli.render_runs import outcomes_table
    from pipelines.kubeflow.outcomes import find_outcomes, settle, tracking_store

    try:
        run = settle(api, api.run(run_id), tracking_store())
    except MynahError:  # Kubeflow is out of reach, as the error says
        return
    outcomes = find_outcomes(run)
    if as_json:
        print_json(_record(run_id, run.state, outcomes))
    elif outcomes:
        console().print(outcomes_table(outcomes))


def _record(run_id: str, state: str, outcomes: "Sequence[Outcome] | None") -> dict[str, Any]:
    return {"run": run_id, "state": state, "bots": None if outcomes is None else [asdict(outcome) for outcome in outcomes]}


def _tell_outcome(run: "KubeflowRun", as_json: bool) -> None:
    """Print what became of each bot of a run that succeeded. Raises GateRefused when one was not promoted."""
    from pipelines.cli.render import console
    from pipelines.cli.render_runs import outcomes_table, sentence
    from pipelines.kubeflow.outcomes import find_outcomes, require_all_promoted

    outcomes, run_id = find_outcomes(run), run.run_id
    if as_json:
        print_json(_record(run_id, run.state, outcomes))
    elif len(outcomes or ()) > 1:
        console().print(run_id, outcomes_table(outcomes or ()), sep="\n")
    else:
        print(run_id, *map(sentence, outcomes or ()), sep="\n")
    require_all_promoted(outcomes or (), run_id)


def _follow(api: "Kubeflow", run_id: str, hours: float) -> "KubeflowRun":
    from pipelines.kubeflow.follow import follow

    try:
        return follow(api, run_id, hours * 3600 + GRACE)
    except KeyboardInterrupt:
        notify(f"the run continues: mynah runs {run_id[:8]} --follow shows it, mynah cancel {run_id[:8]} ends it", "warning")
        raise


COMMANDS: dict[str, Callable[..., None]] = {
    "compile": compile_, "submit": submit, "fleet": fleet, "runs": runs, "logs": logs, "cancel": cancel,
}  # fmt: skip
