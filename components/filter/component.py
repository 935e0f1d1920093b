"""filter as a Kubeflow step."""

from kfp import dsl

from components.steps import DATA_IMAGE


@dsl.component(base_image=DATA_IMAGE, install_kfp_package=False)
def filter_posts(rules: str, seed: int, parent_run: str, raw: dsl.Input[dsl.Dataset], data: dsl.Output[dsl.Dataset]) -> None:
    """Kept texts, train and held-out, with the funnel."""
    from pathlib import Path

    from components.filter import FilterSettings
    from components.filter import filter_posts as work
    from components.lineage import record_data
    from components.steps import step

    with step("filter", parent_run, data=data.path) as run:
        funnel = work(Path(raw.path), Path(data.path), FilterSettings(rules=rules, seed=seed))
        run.params({"rules": rules, "split_seed": seed})
        run.metrics(funnel.counts(), headline=True)
        record_data(run, Path(data.path))
