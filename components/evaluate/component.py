"""The evaluate step as a Kubeflow component."""

from kfp import dsl

from components.images import TRAIN_IMAGE


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def evaluate(
    name: str,
    base_model: str,
    seed: int,
    parent_run: str,
    model: dsl.Input[dsl.Model],
    data: dsl.Input[dsl.Dataset],
    report: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    verdict: dsl.Output[dsl.Markdown],
    page: dsl.Output[dsl.HTML],
) -> None:
    """Measure a model against its base model and the bot's champion, sample from it, and judge it by the gate.

    The verdict is data that register and promote read; it never changes the pipeline's control flow.

    Args:
        name: the bot's name.
        base_model: the base model; "" for the one named in training.json.
        seed: of the sampling.
        parent_run: the pipeline run's id in MLflow.
        model: the finetune step's checkpoint.
        data: the filter step's texts.
        report: the report's folder.
        metrics: the metrics, for Kubeflow's UI.
        verdict: the report as Markdown, for Kubeflow's UI.
        page: the report as HTML, for Kubeflow's UI.
    """
    import shutil
    from pathlib import Path

    from components.evaluate.champion_comparison import registry_champion
    from components.evaluate.step import EvaluateSettings, evaluate
    from components.step_runtime import step
    from mynah.mlflow_client.store import step_store
    from mynah.models.evaluation_record import REPORT_FILE, REPORT_PAGE, Metrics

    with step("evaluate", parent_run, report=report.path) as run:
        store = step_store()
        champion = registry_champion(name, store) if store else None
        settings = EvaluateSettings(base_model, seed=seed)
        judged = evaluate(Path(model.path), Path(data.path), Path(report.path), settings, champion)
        measured = Metrics.read(Path(report.path)).measured
        run.metrics(measured, headline=True)
        run.tags({"mynah.verdict": "passed" if judged.passed else "failed"})
        run.artifacts(Path(report.path), "report")
        for name, value in measured.items():
            metrics.log_metric(name, value)
        for artifact, file in ((verdict, REPORT_FILE), (page, REPORT_PAGE)):
            Path(artifact.path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(Path(report.path) / file, artifact.path)
