"""check_new_data as a Kubeflow step."""

from kfp import dsl

from components.images import DATA_IMAGE


@dsl.component(base_image=DATA_IMAGE, install_kfp_package=False)
def check_new_data(name: str, only_news: bool, start: str, parent_run: str, data: dsl.Input[dsl.Dataset]) -> str:
    """Return "nothing new" if `only_news` is set and a version was trained on exactly these texts, else "new".

    Where training continues from the champion, it is enough that the champion was trained on all of them, or that continuing from it
    with exactly these texts was tried and brought nothing.
    """
    from pathlib import Path

    from components.check_new_data.step import NEW, NOTHING_NEW, champion_trained_on, champion_tried_with, version_trained_on
    from components.step_runtime import step
    from mynah.core.progress import notify
    from mynah.mlflow_client.store import Store
    from mynah.tracking.kfp_runs import SKIPPED_TAG

    with step("check_new_data", parent_run) as run:
        store = Store.from_environment()
        version = version_trained_on(name, Path(data.path), store) if only_news else 0
        if only_news and start == "champion":
            version = (
                version or champion_trained_on(name, Path(data.path), store) or champion_tried_with(name, Path(data.path), store)
            )
        if not version:
            return NEW
        notify(f"nothing new since version {version} of {name}")
        run.tags({SKIPPED_TAG: f"nothing new since version {version}"})
        return NOTHING_NEW
