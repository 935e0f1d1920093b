"""close as a Kubeflow step: the exit handler."""

from typing import Any

from kfp import dsl

from components.steps import DATA_IMAGE


@dsl.component(base_image=DATA_IMAGE, install_kfp_package=False)
def close(kfp_run: str, bots: list[dict[str, Any]], table: dsl.Output[dsl.Markdown], outcomes: dsl.Output[dsl.Artifact]) -> None:
    """End the MLflow runs of this Kubeflow run; a table of what became of each bot, as Markdown and as CSV.

    `bots`: the fleet's, so that one that never began is not missing from the table.
    """
    from pathlib import Path

    from components.close import as_csv, as_markdown
    from components.close import close as work
    from components.steps import step
    from components.store import Store

    with step("close", ""):
        found = work(kfp_run, Store.from_environment(), [str(each.get("bot")) for each in bots])
        Path(table.path).write_text(as_markdown(found), encoding="utf-8")
        Path(outcomes.path).write_text(as_csv(found), encoding="utf-8")
