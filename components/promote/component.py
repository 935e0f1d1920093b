"""promote as a Kubeflow step."""

from kfp import dsl

from components.steps import TRAIN_IMAGE


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def promote(name: str, version: int, parent_run: str) -> str:
    """Move `champion` to the version unless the gate or the champion is against it; returns the decision. A refusal is no failure."""
    from components.events import send
    from components.promote import promote as work
    from components.steps import step
    from components.store import Store

    with step("promote", parent_run) as run:
        decision = work(name, Store.from_environment(), version)
        said = "promoted" if decision.promoted else "refused: " + "; ".join(decision.reasons)
        run.tags({"mynah.promotion": said})
        send("result", step="promote", value=said)
        return said
