"""fetch as a Kubeflow step."""

from kfp import dsl

from components.steps import DATA_IMAGE


@dsl.component(base_image=DATA_IMAGE, install_kfp_package=False)
def fetch(
    sources: list[str], limit: int, basis: str, max_cost: float, parent_run: str, kfp_run: str, raw: dsl.Output[dsl.Dataset]
) -> None:
    """Posts of `sources`, the newest `limit` of each (0: all), as posts.jsonl and sources.json.

    `basis`: on which those may be used that do not tell their own. `max_cost`: US dollars for X's API; 0 none, -1 what it takes.
    """
    from pathlib import Path

    from components.fetch import fetch as work
    from components.fetch.s3 import record_uploads
    from components.fetch.x_price import spend_of
    from components.lineage import record_sources
    from components.steps import step, step_store

    with step("fetch", parent_run, raw=raw.path) as run:
        record_uploads(run, sources)
        found = work(sources, Path(raw.path), limit, step_store(), basis, spend_of(max_cost))
        run.params({"limit": limit})
        run.tags({"mynah.kfp_run_id": kfp_run})
        run.metrics({"posts": sum(each.posts for each in found)}, headline=True)
        record_sources(run, Path(raw.path))
