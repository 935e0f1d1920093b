"""The evaluate step as a Kubeflow component."""

from kfp import dsl

from components.images import TRAIN_IMAGE


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def evaluate(spec: str, kfp_run: str, parent_run: str, model: str, data: str) -> str:
    """Measure a model against its base model and the bot's champion, sample from it, and judge it by the gate.

    The verdict is data that the step register reads; it never changes the pipeline's control flow.

    Args:
        spec: the reference of the run's specification.
        kfp_run: the id of the Kubeflow run; "" on a laptop.
        parent_run: the pipeline run's id in MLflow.
        model: the finetune step's checkpoint.
        data: the filter step's texts.

    Returns:
        The reference of the report's folder.
    """
    from components.evaluate.champion_comparison import registry_champion
    from components.evaluate.step import EvaluateSettings, evaluate
    from components.step_runtime import step
    from mynah.mlflow_client.store import step_store
    from mynah.models.evaluation_record import Metrics

    with step("evaluate", spec, kfp_run, parent_run) as at:
        asked, report, store = at.inputs, at.files.new("report"), step_store()
        champion = registry_champion(asked.name, store) if store else None
        settings = EvaluateSettings(asked.base_model, seed=asked.seed)
        judged = evaluate(at.files.open(model), at.files.open(data), report, settings, champion)
        at.run.metrics(Metrics.read(report).measured, headline=True)
        at.run.tags({"mynah.verdict": "passed" if judged.passed else "failed"})
        at.run.artifacts(report, "report")
        return at.files.hand_on("report")
