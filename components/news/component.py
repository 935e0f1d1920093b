"""news as a Kubeflow step."""

from kfp import dsl

from components.steps import DATA_IMAGE


@dsl.component(base_image=DATA_IMAGE, install_kfp_package=False)
def news(name: str, only_news: bool, start: str, parent_run: str, data: dsl.Input[dsl.Dataset]) -> str:
    """ "new", or "nothing new" when `only_news` is wanted and a version was trained on these very texts, or on all of them where it goes on."""
    from pathlib import Path

    from components.events import say
    from components.news import NEW, NOTHING_NEW, SKIPPED_TAG, champion_that_knows, version_with
    from components.steps import step
    from components.store import Store

    with step("news", parent_run) as run:
        store = Store.from_environment()
        version = version_with(name, Path(data.path), store) if only_news else 0
        if only_news and start == "champion":
            version = version or champion_that_knows(name, Path(data.path), store)
        if not version:
            return NEW
        say(f"nothing new since version {version} of {name}")
        run.tags({SKIPPED_TAG: f"nothing new since version {version}"})
        return NOTHING_NEW
