"""filter as a Kubeflow step. Kubeflow runs only the function's source, so the function imports what it needs."""

from kfp import dsl

from components.images import DATA_IMAGE


@dsl.component(base_image=DATA_IMAGE, install_kfp_package=False)
def filter_posts(rules: str, seed: int, parent_run: str, raw: dsl.Input[dsl.Dataset], data: dsl.Output[dsl.Dataset]) -> None:
    """Write the kept texts, train and held-out, with the funnel.

    Args:
        rules: The rules of the filter.
        seed: The seed of the split.
        parent_run: The bot's MLflow run.
        raw: The posts of the fetch step.
        data: The folder to write.
    """
    from pathlib import Path

    from components.filter.step import FilterSettings, filter_posts
    from components.step_runtime import step
    from mynah.registry.lineage import record_data

    with step("filter", parent_run, data=data.path) as run:
        funnel = filter_posts(Path(raw.path), Path(data.path), FilterSettings(rules=rules, seed=seed))
        run.params({"rules": rules, "split_seed": seed})
        run.metrics(funnel.counts(), headline=True)
        record_data(run, Path(data.path))
