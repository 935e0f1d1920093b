"""filter as a Kubeflow step. Kubeflow runs only the function's source, so the function imports what it needs."""

from kfp import dsl

from components.images import DATA_IMAGE


@dsl.component(base_image=DATA_IMAGE, install_kfp_package=False)
def filter_posts(spec: str, kfp_run: str, parent_run: str, raw: str) -> str:
    """Write the kept texts, train and held-out, with the funnel.

    Args:
        spec: The reference of the run's specification.
        kfp_run: The id of the Kubeflow run; "" on a laptop.
        parent_run: The bot's MLflow run.
        raw: The posts of the fetch step.

    Returns:
        The reference of the folder of texts; "nothing new" where the run wants news and a version was trained on these texts.
    """
    from components.filter.new_texts import NOTHING_NEW, version_without_news
    from components.filter.step import FilterSettings, filter_posts
    from components.step_runtime import step
    from mynah.core.progress import notify
    from mynah.mlflow_client.store import Store, step_store
    from mynah.registry.forgotten_authors import refuse_forgotten_posts
    from mynah.registry.lineage import record_data
    from mynah.tracking.kfp_runs import SKIPPED_TAG

    with step("filter", spec, kfp_run, parent_run) as at:
        asked, data = at.inputs, at.files.new("data")
        posts = at.files.open(raw)
        refuse_forgotten_posts(step_store(), posts)
        funnel = filter_posts(posts, data, FilterSettings(rules=asked.rules, seed=asked.seed))
        at.run.params({"rules": asked.rules, "split_seed": asked.seed})
        at.run.metrics(funnel.counts(), headline=True)
        version = version_without_news(asked.name, data, Store.from_environment(), asked.start) if asked.only_news else 0
        if version:
            notify(f"nothing new since version {version} of {asked.name}")
            at.run.tags({SKIPPED_TAG: f"nothing new since version {version}"})
            return NOTHING_NEW
        record_data(at.run, data)
        return at.files.hand_on("data")
