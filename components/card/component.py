"""card as a Kubeflow step."""

from kfp import dsl

from components.steps import DATA_IMAGE


@dsl.component(base_image=DATA_IMAGE, install_kfp_package=False)
def card(
    name: str,
    parent_run: str,
    model: dsl.Input[dsl.Model],
    data: dsl.Input[dsl.Dataset],
    report: dsl.Input[dsl.Artifact],
    card: dsl.Output[dsl.Artifact],
) -> None:
    """The model card, its pictures and the share page."""
    from pathlib import Path

    from components.card import card as work
    from components.card.record import read_record
    from components.steps import step

    with step("card", parent_run, card=card.path) as run:
        work(name, Path(model.path), Path(data.path), Path(report.path), Path(card.path), read_record(parent_run))
        run.artifacts(Path(card.path), "card")
