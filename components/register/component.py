"""register as a Kubeflow step."""

from kfp import dsl

from components.steps import TRAIN_IMAGE


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def register(
    name: str, parent_run: str, model: dsl.Input[dsl.Model], report: dsl.Input[dsl.Artifact], card: dsl.Input[dsl.Artifact]
) -> int:
    """The checkpoint with its card as the next version of the bot in MLflow's registry; returns the version's number."""
    from pathlib import Path

    from components.events import send
    from components.register import register as work
    from components.steps import step
    from components.store import Store

    with step("register", parent_run) as run:
        found = work(name, Path(model.path), Path(report.path), Path(card.path), Store.from_environment(), run.run_id)
        run.tags({"mynah.version": str(found.version)})
        send("result", step="register", value=found.version)
        return found.version
