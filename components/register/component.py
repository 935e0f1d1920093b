"""register as a Kubeflow step."""

from kfp import dsl

from components.images import TRAIN_IMAGE


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def register(
    name: str, parent_run: str, model: dsl.Input[dsl.Model], report: dsl.Input[dsl.Artifact], card: dsl.Input[dsl.Artifact]
) -> int:
    """Register the checkpoint with its card as the next version of the bot in MLflow's registry; return the version's number.

    Where training continued from a version and brought nothing better, no version is registered, and 0 is returned.
    """
    from pathlib import Path

    from components.register.step import register_or_keep
    from components.step_runtime import step
    from mynah.core.progress import emit_event
    from mynah.mlflow_client.store import Store

    with step("register", parent_run) as run:
        version = register_or_keep(name, Path(model.path), Path(report.path), Path(card.path), Store.from_environment(), run)
        emit_event("result", step="register", value=version)
        return version
