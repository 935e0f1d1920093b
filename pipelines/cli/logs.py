"""The command `mynah logs`: what a step of a run printed."""

from typing import TYPE_CHECKING, Annotated

import typer

from mynah.core.errors import InputError, MynahError, PlatformError
from mynah.core.progress import notify
from pipelines.cli.connect import connect
from pipelines.flat_signature import flatten
from pipelines.kubeflow.cluster_spec import Connection

if TYPE_CHECKING:
    from pipelines.kubeflow.api import Kubeflow
    from pipelines.kubeflow.logs import StepLog
    from pipelines.kubeflow.pods import Pod
    from pipelines.kubeflow.records import KubeflowRun

RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run's id or the start of it.")]


@flatten
def logs(
    run: RunId,
    step: Annotated[str, typer.Argument(help="The step, for example finetune.")],
    is_complete: Annotated[bool, typer.Option("--all", help="Print the lines of Kubeflow's launcher and executor too.")] = False,
    *,
    connection: Connection,
) -> None:
    """Print the log of a step of a run, with all attempts and all bots of a fleet."""
    from pipelines.placement import NEEDS

    wanted = "filter-posts" if step == "filter" else step
    if wanted not in NEEDS:
        raise InputError(f"there is no step {step[:40]!r}", f"There are: {', '.join(NEEDS)}.")
    api = connect(connection)
    target = api.find(run)
    pods = [pod for pod in api.pods(target.run_id) if pod.step == wanted]
    for pod in pods:
        if pod.message and not (pod.is_driver and pod.phase == "Succeeded"):
            notify(f"{pod.name} ({pod.phase.lower()}): {pod.message}", "warning" if pod.has_failed else "info")
    if stored := _stored(target, wanted):
        _print_stored(stored, is_complete)
        return
    written = [pod for pod in pods if not pod.is_driver and pod.phase not in ("Pending", "Omitted", "Skipped")]
    if not written:
        raise PlatformError(
            f"the step {wanted} of {target.run_id} has written nothing yet, or Kubeflow no longer knows its pods",
            f"See mynah runs {target.run_id[:8]}; in the cluster: "
            f"kubectl -n {api.namespace or 'kubeflow'} get pods -l pipeline/runid={target.run_id}",
        )
    _print_pods(api, target, written, is_complete)


def _stored(run: "KubeflowRun", step: str) -> "list[StepLog]":
    """Return the step's logs in Mynah's bucket; [] with a warning where that does not answer."""
    from pipelines.kubeflow.logs import logs_in_bucket

    try:
        return logs_in_bucket(run, step)
    except MynahError as error:
        notify(f"{error.problem}; these are what the pods themselves printed", "warning")
        return []


def _print_stored(stored: "list[StepLog]", is_complete: bool) -> None:
    from pipelines.kubeflow.logs import bot_of

    bots = {files: bot_of(files) or files.id for files in {log.files for log in stored}}
    for log in stored:
        if len(stored) > 1:
            print(f"── {bots[log.files]}: {log.step}, attempt {log.attempt}")
        _print(log.read(), is_complete)


def _print_pods(api: "Kubeflow", run: "KubeflowRun", pods: "list[Pod]", is_complete: bool) -> None:
    for number, pod in enumerate(pods, 1):
        if len(pods) > 1:
            print(f"── {pod.name} ({pod.phase.lower()})")
        try:
            _print(api.log(run.run_id, pod.name), is_complete)
        except InputError as error:
            if number == len(pods):
                raise
            notify(error.problem, "warning")  # this pod's log is gone; those of later pods may exist


def _print(text: str, is_complete: bool) -> None:
    from pipelines.kubeflow.logs import without_own_lines

    print(text if is_complete else without_own_lines(text), end="")
