"""evaluate as a Kubeflow step."""

from kfp import dsl

from components.steps import TRAIN_IMAGE


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
    """Metrics against the base model and the bot's champion, samples, and the gate's verdict.

    Data that register and promote read, never control flow. `verdict` and `page` are the report as Kubeflow's page shows it.
    """
    import shutil
    from pathlib import Path

    from components.evaluate import EvaluateSettings
    from components.evaluate import evaluate as work
    from components.evaluate.champion import champion_of
    from components.files import read_json
    from components.steps import step, step_store

    with step("evaluate", parent_run, report=report.path) as run:
        store = step_store()
        champion = champion_of(name, store) if store else None
        settings = EvaluateSettings(base_model, seed=seed)
        judged = work(Path(model.path), Path(data.path), Path(report.path), settings, champion)
        found = read_json(Path(report.path) / "metrics.json", "evaluate")
        run.metrics(found, headline=True)
        run.tags({"mynah.verdict": "passed" if judged.passed else "failed"})
        run.artifacts(Path(report.path), "report")
        for name, value in found.items():
            metrics.log_metric(name, value)
        for artifact, file in ((verdict, "report.md"), (page, "report.html")):
            Path(artifact.path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(Path(report.path) / file, artifact.path)
