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
    from components.step_log import step_log
    from components.step_runtime import process
    from mynah.mlflow_client.store import Store
    from mynah.registry.forgotten_bots import unforgotten_runs

    with process("finish_run"):
        store = Store.from_environment()
        kept = unforgotten_runs(store, [spec] if spec else specs)  # nothing is written below an id that was erased
        with step_log("".join(kept[:1]), kfp_run, "finish_run"):
            close(kfp_run, store, kept)
