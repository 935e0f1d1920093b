"""promote as a Kubeflow step."""

from kfp import dsl

from components.images import TRAIN_IMAGE


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def promote(name: str, version: int, parent_run: str) -> str:
    """Move `champion` to the version unless the gate or the champion forbids it; return the decision. A refusal is not a failure.

    `version` is 0 where register made none: then the champion stays.
    """
    from components.promote.step import promote_registered
    from components.step_runtime import step
    from mynah.core.progress import emit_event
    from mynah.mlflow_client.store import Store

    with step("promote", parent_run) as run:
        outcome = promote_registered(name, Store.from_environment(), version)
        run.tags({"mynah.promotion": outcome})
        emit_event("result", step="promote", value=outcome)
        return outcome
