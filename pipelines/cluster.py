"""The commands for Kubeflow Pipelines: compile, submit, fleet, runs, logs, cancel."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from components.errors import InputError, PlatformError
from components.events import say, visible, waiting
from components.store import server_address
from pipelines.options import (
    BaseModel,
    Basis,
    Budget,
    Effort,
    GoOn,
    Json,
    Limit,
    MaxCost,
    Name,
    RecipeFile,
    Rules,
    Sets,
    Sources,
    Weights,
    Yes,
    cost,
    print_json,
    result,
)  # fmt: skip
from pipelines.search import Minutes, SpaceName

if TYPE_CHECKING:
    from pipelines.kubeflow import Kubeflow, Run
    from pipelines.placing import Placement
    from pipelines.submit import Submission

Endpoint = Annotated[str, typer.Option(envvar="KF_PIPELINES_ENDPOINT", help="Address of Kubeflow Pipelines' API.")]
Namespace = Annotated[str, typer.Option(envvar="KF_PIPELINES_NAMESPACE", help="Your profile's, where several people share it.")]
TokenFile = Annotated[
    Path | None,
    typer.Option(envvar="KF_PIPELINES_SA_TOKEN_PATH", help="File with a token; or KF_PIPELINES_TOKEN, KF_PIPELINES_COOKIE."),
]
Images = Annotated[Path | None, typer.Option(help="build/images.json; else MYNAH_DATA_IMAGE and MYNAH_TRAIN_IMAGE.")]
Gpu = Annotated[bool, typer.Option("--gpu/--no-gpu", help="Fine-tune on the GPU node pool, or on any node.")]
GpuPool = Annotated[str, typer.Option(metavar="LABEL=VALUE", help="Label of the nodes that fine-tune.")]
Gpus = Annotated[int, typer.Option(min=1, max=16, help="GPUs of one node that fine-tune together.")]
GpuKind = Annotated[str, typer.Option(help="Their kind, for its price: gpu or gpu-spot.")]
Deadline = Annotated[float, typer.Option(metavar="HOURS", help="After which the run is ended.")]
AtOnce = Annotated[int, typer.Option(min=1, max=100, help="How many bots of a fleet, or trials of a sweep, at a time.")]
TrialsOrNone = Annotated[int, typer.Option(help="Search the recipe first, with so many trials; 0: no search.")]
Parallel = Annotated[int, typer.Option(min=1, max=100, help="How many trials at a time.")]
Schedule = Annotated[
    str, typer.Option(metavar="CRON", help='A recurring run, e.g. "0 3 * * 1"; it does nothing without new posts.')
]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Follow the run to its end.")]
ServeIn = Annotated[
    str,
    typer.Option(
        metavar="NAMESPACE",
        help="Give the champion an InferenceService of its own there (k8s/components/serve-in); else the aviary serves it.",
    ),
]
Account = Annotated[str, typer.Option(help="Kubernetes ServiceAccount of the run's pods.")]
Bucket = Annotated[str, typer.Option(envvar="MYNAH_S3_BUCKET", help="Where the posts of this machine go.")]
Context = Annotated[
    str, typer.Option(envvar="MYNAH_KUBE_CONTEXT", help="The cluster's kubeconfig context, to look for its GPU nodes first.")
]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="Its id, or how it begins.")]

GRACE = 600.0  # seconds that Kubeflow may take to end a run at its deadline


def compile_(
    out: Annotated[Path, typer.Option(help="The YAML file to write.")] = Path("pipeline.yaml"),
    pipeline: Annotated[str, typer.Option(help="bot, fleet or sweep.")] = "bot",
    images: Images = None,
    gpu: Gpu = True,
    gpu_pool: GpuPool = "mynah.dev/pool=gpu",
    gpus: Gpus = 1,
    gpu_kind: GpuKind = "gpu",
    deadline: Deadline = 24.0,
    at_once: AtOnce = 4,
    as_json: Json = False,
) -> None:
    """Write the pipeline as Kubeflow Pipelines takes it."""
    with waiting("Compiling"):
        from pipelines.compiled import write

        write(out, _placement(images, gpu, gpu_pool, gpus, gpu_kind, deadline), pipeline, at_once)
    result({"pipeline": str(out)}, str(out), as_json)


def submit(
    name: Name,
    sources: Sources,
    basis: Basis = "",
    base_model: BaseModel = "fledgling",
    rules: Rules = "default",
    recipe: RecipeFile = None,
    effort: Effort = None,
    weights: Weights = None,
    sets: Sets = None,
    limit: Limit = 0,
    budget: Budget = 0.0,
    max_cost: MaxCost = 0.0,
    yes: Yes = False,
    trials: TrialsOrNone = 0,
    space: SpaceName = "",
    parallel: Parallel = 4,
    minutes: Minutes = 0.0,
    go_on: GoOn = False,
    schedule: Schedule = "",
    serve_in: ServeIn = "",
    wait: Wait = True,
    images: Images = None,
    gpu: Gpu = True,
    gpu_pool: GpuPool = "mynah.dev/pool=gpu",
    gpus: Gpus = 1,
    gpu_kind: GpuKind = "gpu",
    deadline: Deadline = 24.0,
    service_account: Account = "mynah-pipeline",
    bucket: Bucket = "",
    context: Context = "",
    endpoint: Endpoint = "",
    namespace: Namespace = "",
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """The whole pipeline on a cluster, by Kubeflow Pipelines. --from takes s3://BUCKET/KEY too."""
    from components.sweep import Sweep
    from components.sweep.space import recipe_for
    from pipelines.submit import Bot, Submission

    if not trials and (space or minutes):
        raise InputError("--space and --minutes are for a search of the recipe", "Add --trials, for example --trials 12.")
    found = recipe_for(space, recipe, sets, effort, weights)
    sweep = Sweep(trials, found.preset, minutes) if trials else None
    placement = _placement(images, gpu, gpu_pool, gpus, gpu_kind, deadline)
    order = Submission(
        [Bot(name, sources, basis)], base_model=base_model, rules=rules, recipe=found, limit=limit, budget=budget, sweep=sweep,
        at_once=parallel, schedule=schedule, placement=placement, service_account=service_account, bucket=bucket, serve_in=serve_in,
        go_on=go_on, max_cost=cost(max_cost, yes),
    )  # fmt: skip
    _send(order, context, endpoint, namespace, token_file, wait, as_json)


def fleet(
    file: Annotated[
        Path, typer.Argument(help="YAML, JSON or CSV: a name, its sources (from) and perhaps their basis for each bot.")
    ],
    basis: Basis = "",
    base_model: BaseModel = "fledgling",
    rules: Rules = "default",
    recipe: RecipeFile = None,
    effort: Effort = None,
    weights: Weights = None,
    sets: Sets = None,
    limit: Limit = 0,
    budget: Budget = 0.0,
    max_cost: MaxCost = 0.0,
    yes: Yes = False,
    go_on: GoOn = False,
    schedule: Schedule = "",
    wait: Wait = True,
    images: Images = None,
    gpu: Gpu = True,
    gpu_pool: GpuPool = "mynah.dev/pool=gpu",
    gpus: Gpus = 1,
    gpu_kind: GpuKind = "gpu",
    deadline: Deadline = 24.0,
    at_once: AtOnce = 4,
    service_account: Account = "mynah-pipeline",
    bucket: Bucket = "",
    context: Context = "",
    endpoint: Endpoint = "",
    namespace: Namespace = "",
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Many bots in one run on a cluster, so many at a time; one that fails stops none of the others."""
    from components.finetune.recipe import read
    from pipelines.submit import Submission, read_fleet

    placement = _placement(images, gpu, gpu_pool, gpus, gpu_kind, deadline)
    order = Submission(
        read_fleet(file, basis), fleet=True, base_model=base_model, rules=rules, recipe=read(recipe, sets, effort, weights), limit=limit,
        budget=budget, schedule=schedule, placement=placement, service_account=service_account, bucket=bucket, at_once=at_once,
        go_on=go_on, max_cost=cost(max_cost, yes),
    )  # fmt: skip
    _send(order, context, endpoint, namespace, token_file, wait, as_json)


def runs(
    run: Annotated[str, typer.Argument(metavar="[RUN]", help="One run, with its steps.", show_default=False)] = "",
    follow_it: Annotated[bool, typer.Option("--follow", help="Follow it to its end.")] = False,
    most: Annotated[int, typer.Option("-n", min=1, max=1000, help="How many, the newest first.")] = 20,
    deadline: Deadline = 24.0,
    endpoint: Endpoint = "",
    namespace: Namespace = "",
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """The runs of Kubeflow Pipelines, or one of them with its steps and what they wait for."""
    api = _connect(endpoint, namespace, token_file)
    if not run:
        _show_runs(api.runs(most), as_json)
        return
    found = api.find(run)
    if follow_it:
        _follow(api, found.run_id, deadline)
        found = api.run(found.run_id)
    _show_run(api, found, as_json)


def logs(
    run: RunId,
    step: Annotated[str, typer.Argument(help="The step, for example finetune.")],
    endpoint: Endpoint = "",
    namespace: Namespace = "",
    token_file: TokenFile = None,
) -> None:
    """What a step of a run wrote, each attempt and each bot of a fleet after the other."""
    from pipelines.placing import NEEDS

    wanted = "filter-posts" if step == "filter" else step
    if wanted not in NEEDS:
        raise InputError(f"there is no step {step[:40]!r}", f"There are: {', '.join(NEEDS)}.")
    api = _connect(endpoint, namespace, token_file)
    found = api.find(run)
    pods = [pod for pod in api.pods(found.run_id) if pod.step == wanted]
    for pod in pods:
        if pod.message and not (pod.is_driver and pod.phase == "Succeeded"):
            say(f"{pod.name} ({pod.phase.lower()}): {pod.message}", "warning" if pod.has_failed else "info")
    written = [pod for pod in pods if not pod.is_driver and pod.phase not in ("Pending", "Omitted", "Skipped")]
    if not written:
        raise PlatformError(
            f"the step {wanted} of {found.run_id} has written nothing yet, or Kubeflow no longer knows its pods",
            f"See mynah runs {found.run_id[:8]}; in the cluster: kubectl -n {api.namespace or 'kubeflow'} get pods -l pipeline/runid={found.run_id}",
        )
    for place, pod in enumerate(written):
        if len(written) > 1:
            print(f"── {pod.name} ({pod.phase.lower()})")
        try:
            print(api.log(found.run_id, pod.name), end="")
        except InputError as error:
            if place == len(written) - 1:
                raise
            say(error.problem, "warning")  # of a pod that is gone; those after it may still tell


def cancel(
    run: RunId, endpoint: Endpoint = "", namespace: Namespace = "", token_file: TokenFile = None, as_json: Json = False
) -> None:
    """End a run of Kubeflow Pipelines, and its MLflow runs where MLFLOW_TRACKING_URI names their server."""
    api = _connect(endpoint, namespace, token_file)
    found = api.find(run)
    if found.is_over:
        raise InputError(f"the run {found.run_id} is over: {found.state.lower()}", "See `mynah runs`.")
    api.cancel(found.run_id)
    if address := server_address():
        from components.close import close
        from components.store import Store

        close(found.run_id, Store(address), status="KILLED")
    result({"run": found.run_id, "state": "CANCELING"}, f"{found.run_id} is being canceled", as_json)


def _placement(images: Path | None, gpu: bool, gpu_pool: str, gpus: int, gpu_kind: str, deadline: float) -> "Placement":
    from pipelines.placing import Placement

    placement = Placement(gpu=gpu, gpu_pool=gpu_pool, gpus=gpus, gpu_kind=gpu_kind, hours=deadline)
    return placement.with_images(images) if images else placement


def _connect(endpoint: str, namespace: str, token_file: Path | None) -> "Kubeflow":
    with waiting("Asking Kubeflow"):
        from pipelines.kubeflow import Kubeflow

        return Kubeflow.connect(endpoint, namespace, token_file)


def _require_gpus(placement: "Placement", context: str) -> None:
    """Raise PlatformError when the cluster of a kubeconfig's `context` has no node for a step that wants a GPU."""
    if not placement.gpu or not context:
        return
    from components.cluster import Cluster
    from components.deploy.preflight import gpu_pool

    cluster = Cluster.connect(context)
    for finding in gpu_pool(cluster, placement.gpu_pool) if cluster else ():
        if not finding.is_well:
            raise PlatformError(f"{finding.about}: {finding.problem}", f"{finding.fix}; or add --no-gpu.")


def _send(
    order: "Submission", context: str, endpoint: str, namespace: str, token_file: Path | None, wait: bool, as_json: bool
) -> None:
    from pipelines.submit import submit as work

    _require_gpus(order.placement, context)
    api = _connect(endpoint, namespace, token_file)  # before anything is uploaded
    made = work(order, api)
    if order.schedule:
        result({"recurring_run": made, "schedule": order.schedule}, f"recurring run {made}: {order.schedule}", as_json)
        return
    say(f"run {made} ({api.host}/#/runs/details/{made})")
    if wait:
        _follow(api, made, order.placement.hours)
    result({"run": made, "state": "SUCCEEDED" if wait else "PENDING"}, made, as_json)


def _follow(api: "Kubeflow", run_id: str, hours: float) -> None:
    from pipelines.follow import follow

    try:
        follow(api, run_id, hours * 3600 + GRACE)
    except KeyboardInterrupt:
        say(f"the run goes on: mynah runs {run_id[:8]} --follow shows it, mynah cancel {run_id[:8]} ends it", "warning")
        raise


def _show_runs(found: "list[Run]", as_json: bool) -> None:
    if as_json:
        print_json([_record(run) for run in found])
        return
    from rich.table import Table

    from pipelines.show import console

    table = Table()
    for heading in ("Run", "Name", "State", "Created (UTC)"):
        table.add_column(heading)
    for run in found:
        created = f"{run.created:%Y-%m-%d %H:%M}" if run.created else ""
        table.add_row(run.run_id[:8], visible(run.name), run.state.lower(), created)
    console().print(table if found else "No runs yet: `mynah submit` makes one.")


def _show_run(api: "Kubeflow", run: "Run", as_json: bool) -> None:
    from pipelines.follow import steps_of, table
    from pipelines.show import console

    pods = [] if run.state == "SUCCEEDED" else api.pods(run.run_id)
    reasons = {pod.step or pod.name: pod.message for pod in pods if pod.message and pod.phase in ("Pending", "Failed", "Error")}
    if as_json:
        steps = [{"step": step.name, "state": step.state, "count": dict(step.states)} for step in steps_of(run)]
        print_json({**_record(run), "error": run.error, "steps": steps, "reasons": reasons})
    else:
        console().print(table(run, reasons))


def _record(run: "Run") -> dict[str, Any]:
    return {
        "run": run.run_id, "name": run.name, "state": run.state,
        "created": run.created.isoformat() if run.created else "", "ended": run.ended.isoformat() if run.ended else "",
    }  # fmt: skip


COMMANDS: dict[str, Callable[..., None]] = {
    "compile": compile_, "submit": submit, "fleet": fleet, "runs": runs, "logs": logs, "cancel": cancel,
}  # fmt: skip
