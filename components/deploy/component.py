"""deploy as a Kubeflow step."""

from kfp import dsl

from components.steps import TRAIN_IMAGE


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def deploy(name: str, version: int, decision: str, namespace: str, parent_run: str) -> str:
    """Deploy the version that was just promoted to an InferenceService of the cluster that this runs in; returns what was done.

    Nothing where `decision` (of promote) refused it, where `namespace` is "", and outside a cluster: the shared server follows
    the registry by itself.
    """
    import os

    from components.cluster import Cluster
    from components.deploy import Wanted, record, serving_of
    from components.deploy import deploy as work
    from components.events import send
    from components.steps import step
    from components.store import Store

    with step("deploy", parent_run) as run:
        cluster = Cluster.connect() if namespace and decision == "promoted" else None
        if cluster:
            store = Store.from_environment()
            done = work(
                serving_of(name, store, version), cluster, Wanted(namespace, address=os.environ.get("MYNAH_BOT_ADDRESS", ""))
            )
            record(done, store)
            said = f"{done.action}: {namespace}/{name} version {done.version}"
        else:
            said = "nothing: it was not promoted" if decision != "promoted" else "nothing: no cluster or namespace is named"
        run.tags({"mynah.deploy": said})
        send("result", step="deploy", value=said)
        return said
