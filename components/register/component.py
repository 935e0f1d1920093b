"""register as a Kubeflow step: the card, the new version, its promotion, and its service."""

from kfp import dsl

from components.images import TRAIN_IMAGE


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def register(spec: str, kfp_run: str, parent_run: str, model: str, data: str, report: str) -> int:
    """Write the card, register the checkpoint with it, promote the version, and deploy it where the bot has a service of its own.

    A refusal of the gate is not a failure.

    Args:
        spec: The reference of the run's specification.
        kfp_run: The id of the Kubeflow run; "" on a laptop.
        parent_run: The pipeline run's id in MLflow.
        model: The finetune step's checkpoint.
        data: The filter step's texts.
        report: The evaluate step's report.

    Returns:
        The version's number; 0 where training continued from a version and brought nothing better.
    """
    from components.register.release import Outputs, release
    from components.step_runtime import steps

    with steps("register", spec, kfp_run, parent_run) as at:
        files = at.files
        return release(at, Outputs(files.open(model), files.open(data), files.open(report), files.new("card")))
