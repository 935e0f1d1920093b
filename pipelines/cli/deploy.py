"""`mynah deploy` and `mynah preflight`: bots on KServe, and whether a cluster has what they need."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from components.errors import InputError, PlatformError
from components.events import visible, waiting
from pipelines.bots import Context
from pipelines.options import DEFAULT_WORKDIR, Json, Workdir, existing, print_json, result

if TYPE_CHECKING:
    from components.cluster import Cluster
    from components.deploy import Deployed, Serving

Namespace = Annotated[str, typer.Option(help="The namespace of bots.")]


def deploy(
    name: Annotated[str, typer.Argument(help="The bot.")],
    version: Annotated[int, typer.Option(min=0, help="The version to deploy; 0: the champion.")] = 0,
    namespace: Namespace = "mynah",
    canary: Annotated[int, typer.Option(min=0, max=99, metavar="PERCENT", help="Give it only so many of the requests.")] = 0,
    prometheus: Annotated[
        str, typer.Option(metavar="URL", help="With --canary: go on to 50 and 100 percent, or back, by its metrics.")
    ] = "",
    step: Annotated[float, typer.Option(min=1, help="Seconds that each step of a canary is watched for.")] = 300.0,
    gitops: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the manifest there instead, and print the diff.")
    ] = None,
    address: Annotated[
        str,
        typer.Option(
            metavar="URL", envvar="MYNAH_BOT_ADDRESS", help="Where the smoke test asks, with {service} and {namespace} in it."
        ),
    ] = "",
    timeout: Annotated[float, typer.Option(min=0, max=86_400, help="Seconds until it must be ready.")] = 600.0,
    poll: Annotated[float, typer.Option(min=0.01, max=60, help="Seconds between looks at it.")] = 2.0,
    trouble: Annotated[float, typer.Option(min=0, max=3600, help="Seconds that a failing pod may go on failing.")] = 30.0,
    force: Annotated[str, typer.Option(metavar="REASON", help="Deploy what the gate did not pass; the reason is recorded.")] = "",
    force_conflicts: Annotated[bool, typer.Option("--force-conflicts", help="Take over fields that others manage.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Let the cluster check it, and show the diff; change nothing.")
    ] = False,
    context: Context = "",
    workdir: Workdir = DEFAULT_WORKDIR,
    as_json: Json = False,
) -> None:
    """Serve a bot's champion by KServe: apply, wait, ask it, and put back what served before when that fails."""
    if gitops and canary:
        raise InputError("--gitops writes files, and a canary is watched in a cluster", "Leave out --canary.")
    with waiting("Looking for the version"):
        from components.deploy import Patience, Plan, Wanted, record, serving_of
        from components.deploy import deploy as work
        from components.store import open_store

        plan = Plan.of(canary, step) if canary else Plan(seconds=step)
        wanted = Wanted(namespace, canary, prometheus, plan, Patience(timeout, poll, trouble), address, force_conflicts)
        store = open_store(existing(workdir))
        serving = serving_of(name, store, version, force)
    if gitops:
        _write(gitops, serving, namespace, dry_run, as_json)
        return
    with waiting(f"Deploying {name} version {serving.version}"):
        done = work(serving, _cluster(context), wanted, dry_run=dry_run)
    if not dry_run and done.action != "unchanged":
        record(done, store, serving.forced)
    _show(done, as_json)


def preflight(namespace: Namespace = "mynah", context: Context = "", as_json: Json = False) -> None:
    """Whether a cluster has what runs and bots need, before anything is spent. Exit code 3 when something is missing."""
    from dataclasses import asdict

    cluster = _cluster(context)
    with waiting("Looking at the cluster"):
        from components.deploy.preflight import examine
        from pipelines.show_bots import show_findings

        findings = list(examine(cluster, namespace))
    if as_json:
        print_json([{**asdict(finding), "is_well": finding.is_well} for finding in findings])
    else:
        show_findings(findings)
    ill = [finding for finding in findings if not finding.is_well]
    if ill:
        raise PlatformError(f"{len(ill)} of {len(findings)} are not well: {ill[0].about} for one", "Each has its fix beside it.")


def _cluster(context: str) -> "Cluster":
    from components.cluster import Cluster

    cluster = Cluster.connect(context)
    if not cluster:
        raise InputError("no cluster is named", "Name a kubeconfig's context with --context or MYNAH_KUBE_CONTEXT.")
    return cluster


def _write(folder: Path, serving: "Serving", namespace: str, dry_run: bool, as_json: bool) -> None:
    from components.deploy import gitops
    from components.deploy.manifest import STANDARD, inference_service

    found = gitops.changes(folder, inference_service(serving, namespace, STANDARD))
    if not dry_run:
        gitops.write(found)
    diff = "".join(each.diff for each in found)
    about = {"name": serving.name, "version": serving.version, "files": [str(each.path) for each in found], "diff": diff}
    result(about, diff.rstrip() or f"{folder} deploys {serving.name} version {serving.version} already", as_json)


def _show(done: "Deployed", as_json: bool) -> None:
    from components.deploy.show import difference, told

    record = {
        "name": done.name, "namespace": done.namespace, "version": done.version, "action": done.action,
        "former": done.former or None, "url": done.url, "answer": done.said,
    }  # fmt: skip
    if done.action == "would deploy":
        diff = difference(done)
        result({**record, "diff": diff}, visible(diff), as_json)
    else:
        result(record, told(done), as_json)
