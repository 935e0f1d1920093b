"""The end of a pipeline: card, register, promote and deploy, in one process, each with a run of its own in MLflow.

Every part may be repeated: an attempt after one that was killed finds the version that it registered, the champion that it made, and the
service that it applied.
"""

from dataclasses import dataclass
from pathlib import Path

from components.card.run_record import read_record
from components.card.step import card
from components.promote.step import promote_registered
from components.register.step import register_or_keep
from components.step_runtime import Step, part
from mynah.core.progress import emit_event
from mynah.core.settings import MYNAH_BOT_ADDRESS
from mynah.mlflow_client.store import Store

PROMOTED = "promoted"


@dataclass(frozen=True, slots=True)
class Outputs:
    """The folders of a bot's run: those of the earlier steps, and the card's, which is written."""

    model: Path
    data: Path
    report: Path
    card: Path


def release(at: Step, outputs: Outputs) -> int:
    """Write the card, register, promote and deploy.

    Args:
        at: The step.
        outputs: The folders.

    Returns:
        The version's number; 0 where none was registered.

    Raises:
        InputError: A folder differs from what its step writes.
        PlatformError: A store, the lock or the cluster fails.
    """
    name = at.inputs.name
    with part("card", at.parent_run) as run:
        card(name, outputs.model, outputs.data, outputs.report, outputs.card, read_record(at.parent_run))
        run.artifacts(outputs.card, "card")
    store = Store.from_environment()
    with part("register", at.parent_run) as run:
        version = register_or_keep(name, outputs.model, outputs.report, outputs.card, store, run)
        emit_event("result", step="register", value=version)
    with part("promote", at.parent_run) as run:
        decision = promote_registered(name, store, version)
        run.tags({"mynah.promotion": decision})
        emit_event("result", step="promote", value=decision)
    if at.inputs.serve_in:
        with part("deploy", at.parent_run) as run:
            outcome = deploy_promoted(name, version, decision, at.inputs.serve_in, store)
            run.tags({"mynah.deploy": outcome})
            emit_event("result", step="deploy", value=outcome)
    return version


def deploy_promoted(name: str, version: int, decision: str, namespace: str, store: Store) -> str:
    """Deploy a version to an InferenceService of this cluster, unless it was refused or this is no cluster.

    Args:
        name: The bot.
        version: The version.
        decision: The result of promoting it.
        namespace: The namespace of the service.
        store: The tracking store.

    Returns:
        What was done, in words.

    Raises:
        InputError, PlatformError: The version or the service cannot be had.
    """
    from components.deploy.settings import DeploySettings
    from components.deploy.step import deploy, record, serving_of
    from mynah.kubernetes.cluster import Cluster

    if decision != PROMOTED:
        return "nothing: it was not promoted"
    cluster = Cluster.connect()
    if not cluster:
        return "nothing: this is no cluster"
    done = deploy(serving_of(name, store, version), cluster, DeploySettings(namespace, address=MYNAH_BOT_ADDRESS.get()))
    record(done, store)
    return f"{done.action}: {namespace}/{name} version {done.version}"
