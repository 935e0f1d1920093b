"""What a person needs to see why a step failed: objects, events, descriptions and logs, each in a file. No Secret is read."""

from collections.abc import Sequence

from tests.cluster.commands import Commands

OBJECTS = "pods,deployments,statefulsets,services,persistentvolumeclaims,resourcequotas,networkpolicies"
RUN_LABEL = "pipeline/runid"


def dump(commands: Commands, bots: str, kubeflow: str, runs: Sequence[str]) -> None:
    """Write into the folder of `commands` what the namespaces `bots` and `kubeflow` hold; of the latter what belongs to `runs`."""
    for name, words in _looks(bots, kubeflow, runs).items():
        try:
            _keep(commands, name, commands.kubectl(*words, seconds=60))
        except AssertionError as error:  # the next one may tell more
            _keep(commands, name, str(error))


def _looks(bots: str, kubeflow: str, runs: Sequence[str]) -> dict[str, tuple[str, ...]]:
    ours = ("--selector", f"{RUN_LABEL} in ({','.join(runs)})")
    logs = ("--all-containers", "--prefix", "--timestamps", "--tail", "2000", "--max-log-requests", "50", "--ignore-errors")
    found = {
        "objects": ("get", f"{OBJECTS},inferenceservices", "--namespace", bots, "--output", "wide"),
        "inferenceservices": ("get", "inferenceservices,servingruntimes", "--namespace", bots, "--output", "yaml"),
        "events": ("get", "events", "--namespace", bots, "--sort-by", ".lastTimestamp"),
        "events-kubeflow": ("get", "events", "--namespace", kubeflow, "--sort-by", ".lastTimestamp"),
        "pods": ("describe", "pods", "--namespace", bots),
        "logs": ("logs", "--namespace", bots, "--selector", "app.kubernetes.io/part-of=mynah", *logs),
        "log-ml-pipeline": ("logs", "deployment/ml-pipeline", "--namespace", kubeflow, "--tail", "2000"),
        "log-workflow-controller": ("logs", "deployment/workflow-controller", "--namespace", kubeflow, "--tail", "2000"),
        "nodes": ("describe", "nodes"),
    }
    if runs:
        found |= {
            "workflows": ("get", "workflows", "--namespace", kubeflow, *ours, "--output", "yaml"),
            "pods-of-runs": ("describe", "pods", "--namespace", kubeflow, *ours),
            "logs-of-runs": ("logs", "--namespace", kubeflow, *ours, *logs),
        }
    return found


def _keep(commands: Commands, name: str, text: str) -> None:
    if not commands.dry_run:
        commands.folder.mkdir(parents=True, exist_ok=True)
        (commands.folder / f"{name}.txt").write_text(text, "utf-8")
