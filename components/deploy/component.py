"""deploy as a Kubeflow step. Kubeflow runs only the function's source, so the function imports what it needs."""

from kfp import dsl

from components.images import TRAIN_IMAGE


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def deploy(name: str, version: int, decision: str, namespace: str, parent_run: str) -> str:
    """Deploy the version that was just promoted to an InferenceService of this cluster.

    Does nothing where `decision` (of promote) is a refusal, where `namespace` is "", and outside a cluster: the shared server follows the
    registry by itself.

    Args:
        name: The bot's name.
        version: The version.
        decision: The result of promote.
        namespace: The namespace of the InferenceService; "" for none.
        parent_run: The bot's MLflow run.

    Returns:
        What was done.
    """
    from components.deploy.step import DeploySettings, deploy, record, serving_of
    from components.step_runtime import step
    from mynah.core.progress import emit_event
    from mynah.core.settings import MYNAH_BOT_ADDRESS
    from mynah.kubernetes.cluster import Cluster
    from mynah.mlflow_client.store import Store

    with step("deploy", parent_run) as run:
        cluster = Cluster.connect() if namespace and decision == "promoted" else None
        if cluster:
            store = Store.from_environment()
            done = deploy(
                serving_of(name, store, version),
                cluster,
                DeploySettings(namespace, address=MYNAH_BOT_ADDRESS.get()),
            )
            record(done, store)
            outcome = f"{done.action}: {namespace}/{name} version {done.version}"
        else:
            outcome = "nothing: it was not promoted" if decision != "promoted" else "nothing: no cluster or namespace is named"
        run.tags({"mynah.deploy": outcome})
        emit_event("result", step="deploy", value=outcome)
        return outcome
