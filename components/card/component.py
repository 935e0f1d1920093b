"""card as a Kubeflow step. Kubeflow runs only the function's source, so the function imports what it needs."""

from kfp import dsl

from components.images import DATA_IMAGE


@dsl.component(base_image=DATA_IMAGE, install_kfp_package=False)
def card(
    name: str,
    parent_run: str,
    model: dsl.Input[dsl.Model],
    data: dsl.Input[dsl.Dataset],
    report: dsl.Input[dsl.Artifact],
    card: dsl.Output[dsl.Artifact],
) -> None:
    """Write the model card, its pictures and the share page.

    Args:
        name: The bot's name.
        parent_run: The pipeline run's id in MLflow.
        model: The finetune step's checkpoint.
        data: The filter step's texts.
        report: The evaluate step's report.
        card: The card's folder.
    """
    from pathlib import Path

    from components.card.run_record import read_record
    from components.card.step import card as write_card
    from components.step_runtime import step

    with step("card", parent_run, card=card.path) as run:
        write_card(name, Path(model.path), Path(data.path), Path(report.path), Path(card.path), read_record(parent_run))
        run.artifacts(Path(card.path), "card")
