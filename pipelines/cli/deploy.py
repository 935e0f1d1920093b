"""`mynah deploy` and `mynah preflight`: deploys bots with KServe, and checks a cluster's requirements."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mynah.core.errors import InputError, PlatformError
from mynah.core.outputs import refuse_inside
from mynah.core.progress import strip_control_chars, waiting
from mynah.core.settings import MYNAH_BOT_ADDRESS
from mynah.storage.work_folder import PARTS
from pipelines.cli.bots import Context
from pipelines.cli.options import DEFAULT_WORKDIR, Json, Workdir, existing, print_json, result
from pipelines.flat_signature import MadeBy, flatten

if TYPE_CHECKING:
    from components.deploy.settings import DeploySettings
    from components.deploy.step import Deployed, Serving, WaitLimits
    from mynah.kubernetes.cluster import Cluster

Namespace = Annotated[str, typer.Option(help="The namespace of bots.")]


def wait_limits(
    timeout: Annotated[float, typer.Option(min=0, max=86_400, help="Seconds within which it must be ready.")] = 600.0,
    poll: Annotated[float, typer.Option(min=0.01, max=60, help="Seconds between two checks of its status.")] = 2.0,
    trouble: Annotated[
        float, typer.Option(min=0, max=3600, help="Seconds after which a failing pod fails the deployment.")
    ] = 30.0,
) -> "WaitLimits":
    """Return the time limits that the options describe."""
    with waiting("Looking for the version"):
        from components.deploy.step import WaitLimits

    return WaitLimits(timeout, poll, trouble)


def deploy_settings(
    namespace: Namespace = "mynah",
    canary: Annotated[int, typer.Option(min=0, max=99, metavar="PERCENT", help="The percentage of requests that it gets.")] = 0,
    prometheus: Annotated[
        str, typer.Option(metavar="URL", help="With --canary: increase to 50 and 100 percent, or roll back, by its metrics.")
    ] = "",
    step: Annotated[float, typer.Option(min=1, help="Seconds that each step of a canary lasts.")] = 300.0,
    address: Annotated[
        str,
        typer.Option(
            metavar="URL", envvar=MYNAH_BOT_ADDRESS.name, help="The URL for the smoke test, with {service} and {namespace} in it."
        ),
    ] = "",
    *,
    limits: Annotated["WaitLimits", MadeBy(wait_limits)],
    force_conflicts: Annotated[bool, typer.Option("--force-conflicts", help="Take over fields that others manage.")] = False,
    replicas: Annotated[
        int,
        typer.Option(min=0, max=100, help="The least number of pods; 2 keep answering while one is replaced. 0: as it is, or 1."),
    ] = 0,
) -> "DeploySettings":
    """Return the deployment settings that the options describe. Raises InputError for an invalid value."""
    from components.deploy.settings import DeploySettings
    from components.deploy.step import Plan

    plan = Plan.of(canary, step) if canary else Plan(seconds=step)
    return DeploySettings(namespace, canary, prometheus, plan, limits, address, force_conflicts, replicas)


@flatten
def deploy(
    name: Annotated[str, typer.Argument(help="The bot.", show_default=False)] = "",
    version: Annotated[int, typer.Option(min=0, help="The version to deploy; 0: the champion.")] = 0,
    *,
    is_all: Annotated[
        bool, typer.Option("--all", help="Upgrade the server of each deployed bot, one by one; each keeps its version.")
    ] = False,
    settings: Annotated["DeploySettings", MadeBy(deploy_settings)],
    gitops: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the manifest to this folder instead, and print the diff.")
    ] = None,
    force: Annotated[
        str, typer.Option(metavar="REASON", help="Deploy a version that failed the gate; the reason is recorded.")
    ] = "",
    merged: Annotated[
        bool, typer.Option("--merged", help="Serve an adapter merged into its base model, which is stored beside it once.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Validate it in the cluster, and show the diff; change nothing.")
    ] = False,
    context: Context = "",
    workdir: Workdir = DEFAULT_WORKDIR,
    as_json: Json = False,
) -> None:
    """Deploy a bot's champion with KServe: apply, wait, send a test request, and restore the previous version after a failure."""
    if gitops and settings.percent:
        raise InputError("--gitops writes files, and a canary is watched in a cluster", "Leave out --canary.")
    _require_one_or_all(name, is_all, any((version, settings.percent, gitops, force, merged)))
    if is_all:
        _deploy_all(settings, dry_run, context, workdir, as_json)
        return
    with waiting("Looking for the version"):
        from components.deploy.service_name import require_name_fits
        from components.deploy.step import deploy, record, serving_of
        from mynah.storage.work_folder import require_own_parts
        from mynah.tracking.open import open_store

        require_name_fits(name, settings.namespace)
        store = open_store(existing(workdir))
        if not (gitops or dry_run):
            require_own_parts(store)  # the deployment is recorded there
        serving = serving_of(name, store, version, force, merged=merged)
    if gitops:
        _write(gitops, workdir, serving, settings, dry_run, as_json)
        return
    with waiting(f"Deploying {name} version {serving.version}"):
        done = deploy(serving, _cluster(context), settings, dry_run=dry_run)
    if not dry_run and done.action != "unchanged":
        record(done, store, serving.forced)
    _show(done, as_json)


def _require_one_or_all(name: str, is_all: bool, is_of_one: bool) -> None:
    """Require a name or --all, and no option with --all that is of one bot. Raises InputError."""
    if is_all == bool(name):
        raise InputError("deploy takes one bot's name, or --all", "Name a bot, or upgrade all with --all.")
    if is_all and is_of_one:
        raise InputError(
            "--all keeps the version that each bot serves",
            "Leave out --version, --canary, --gitops, --force and --merged, or name one bot.",
        )


def _deploy_all(settings: "DeploySettings", dry_run: bool, context: str, workdir: Path, as_json: bool) -> None:
    from mynah.storage.work_folder import require_own_parts
    from mynah.tracking.open import open_store
    from pipelines.cli.deploy_all import deploy_all

    store = open_store(existing(workdir))
    if not dry_run:
        require_own_parts(store)  # the deployments are recorded there
    deploy_all(store, _cluster(context), settings, dry_run=dry_run, as_json=as_json)


def preflight(
    namespace: Namespace = "mynah",
    kubeflow_namespace: Annotated[str, typer.Option(help="The namespace of Kubeflow Pipelines and its Argo.")] = "kubeflow",
    context: Context = "",
    as_json: Json = False,
) -> None:
    """Check that a cluster meets the requirements of runs and bots. Exit code 3 when something is missing."""
    from dataclasses import asdict

    cluster = _cluster(context)
    with waiting("Looking at the cluster"):
        from components.deploy.preflight import examine
        from pipelines.cli.render_bots import show_findings

        findings = list(examine(cluster, namespace, kubeflow_namespace))
    if as_json:
        print_json([{**asdict(finding), "is_well": finding.is_well} for finding in findings])
    else:
        show_findings(findings)
    ill = [finding for finding in findings if not finding.is_well]
    if ill:
        raise PlatformError(f"{len(ill)} of {len(findings)} are not well: {ill[0].about} for one", "Each has its fix beside it.")


def _cluster(context: str) -> "Cluster":
    from mynah.kubernetes.cluster import Cluster

    cluster = Cluster.connect(context)
    if not cluster:
        raise InputError("no cluster is named", "Name a kubeconfig's context with --context or MYNAH_KUBE_CONTEXT.")
    return cluster


def _write(folder: Path, workdir: Path, serving: "Serving", settings: "DeploySettings", dry_run: bool, as_json: bool) -> None:
    from components.deploy import gitops
    from components.deploy.disruption import disruption_budget
    from components.deploy.manifest import STANDARD, inference_service
    from components.deploy.scaling import by_cpu

    refuse_inside(folder, [workdir / part for part in PARTS])
    service = inference_service(serving, settings.namespace, STANDARD, scaling=by_cpu(settings.replicas or 1))
    changes = gitops.changes(folder, service, disruption_budget(serving.name, settings.namespace))
    if not dry_run:
        gitops.write(changes)
    diff = "".join(change.diff for change in changes)
    files = [str(change.path) for change in changes]
    result(
        {"name": serving.name, "version": serving.version, "files": files, "diff": diff},
        diff.rstrip() or f"{folder} deploys {serving.name} version {serving.version} already",
        as_json,
    )


def _show(done: "Deployed", as_json: bool) -> None:
    from components.deploy.diff_text import describe, difference, reachable_url

    url = reachable_url(done)
    record = {
        "name": done.name, "namespace": done.namespace, "version": done.version, "action": done.action,
        "former": done.former or None, "url": url, "answer": done.answer,
    }  # fmt: skip
    if done.action == "would deploy":
        diff = difference(done)
        result({**record, "diff": diff}, strip_control_chars(diff), as_json)
    else:
        result(record, describe(done, url), as_json)
