"""evaluate as a Kubeflow step."""

from kfp import dsl

from components.steps import TRAIN_IMAGE


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def evaluate(
    base_model: str,
    seed: int,
    parent_run: str,
    model: dsl.Input[dsl.Model],
    data: dsl.Input[dsl.Dataset],
    report: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
) -> None:
    """Metrics against the base model, samples, and the gate's verdict: data that register and promote read, never control flow."""
    from pathlib import Path

    from components.evaluate import EvaluateSettings
    from components.evaluate import evaluate as work
    from components.files import read_json
    from components.steps import step

    with step("evaluate", parent_run, report=report.path) as run:
        verdict = work(Path(model.path), Path(data.path), Path(report.path), EvaluateSettings(base_model, seed=seed))
        found = read_json(Path(report.path) / "metrics.json", "evaluate")
        run.metrics(found, headline=True)
        run.tags({"mynah.verdict": "passed" if verdict.passed else "failed"})
        run.artifacts(Path(report.path), "report")
        for name, value in found.items():
            metrics.log_metric(name, value)
