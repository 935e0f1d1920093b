"""finish_run as a Kubeflow step: the exit handler."""

from kfp import dsl

from components.images import DATA_IMAGE


@dsl.component(base_image=DATA_IMAGE, install_kfp_package=False)
def finish_run(kfp_run: str, spec: str, specs: list[str]) -> None:
    """End the MLflow runs of this Kubeflow run, and remove the folders that the steps of finished runs handed on.

    Args:
        kfp_run: The id of the Kubeflow run.
        spec: The reference of the bot's specification; "" for a fleet.
        specs: Those of a fleet's bots.
    """
    from components.finish_run.step import close
    from components.step_runtime import process
    from mynah.mlflow_client.store import Store

    with process("finish_run"):
        close(kfp_run, Store.from_environment(), [spec] if spec else specs)
