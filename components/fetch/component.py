"""fetch as a Kubeflow step. Kubeflow runs only the function's source, so the function imports what it needs."""

from kfp import dsl

from components.images import DATA_IMAGE


@dsl.component(base_image=DATA_IMAGE, install_kfp_package=False)
def fetch(
    sources: list[str],
    limit: int,
    basis: str,
    max_cost: float,
    columns: dict[str, str],
    parent_run: str,
    kfp_run: str,
    raw: dsl.Output[dsl.Dataset],
) -> None:
    """Write the posts of `sources` to posts.jsonl and sources.json.

    Args:
        sources: What a person names, such as "x://wren".
        limit: The newest posts to keep of each source; 0 for all.
        basis: On what basis posts may be used, for sources that do not state their own.
        max_cost: US dollars for X's API; 0 for none, -1 for no limit.
        columns: The columns of tables that a person names: text, author and time.
        parent_run: The bot's MLflow run.
        kfp_run: The id of the Kubeflow run.
        raw: The folder to write.
    """
    from pathlib import Path

    from components.fetch.s3_sources import record_uploads
    from components.fetch.step import fetch
    from components.fetch.tables.columns import TableColumns
    from components.fetch.x.api_price import parse_budget
    from components.step_runtime import step
    from mynah.mlflow_client.store import step_store
    from mynah.registry.lineage import record_sources

    with step("fetch", parent_run, raw=raw.path) as run:
        record_uploads(run, sources)
        budget, named = parse_budget(max_cost), TableColumns.from_record(columns)
        provenances = fetch(sources, Path(raw.path), limit, step_store(), basis, budget, columns=named)
        run.params({"limit": limit})
        run.tags({"mynah.kfp_run_id": kfp_run})
        run.metrics({"posts": sum(provenance.posts for provenance in provenances)}, headline=True)
        record_sources(run, Path(raw.path))
