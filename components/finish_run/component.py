"""finish_run as a Kubeflow step: the exit handler."""

from typing import Any

from kfp import dsl

from components.images import DATA_IMAGE


@dsl.component(base_image=DATA_IMAGE, install_kfp_package=False)
def finish_run(
    kfp_run: str, bots: list[dict[str, Any]], table: dsl.Output[dsl.Markdown], outcomes: dsl.Output[dsl.Artifact]
) -> None:
    """End the MLflow runs of this Kubeflow run, and write a table of each bot's outcome, as Markdown and as CSV.

    `bots` are the fleet's, so that the table includes those that never started.
    """
    from pathlib import Path

    from components.finish_run.step import as_csv, as_markdown, finish_run
    from components.step_runtime import step
    from mynah.mlflow_client.store import Store

    with step("finish_run", ""):
        results = finish_run(kfp_run, Store.from_environment(), [str(bot.get("bot")) for bot in bots])
        Path(table.path).write_text(as_markdown(results), encoding="utf-8")
        Path(outcomes.path).write_text(as_csv(results), encoding="utf-8")
