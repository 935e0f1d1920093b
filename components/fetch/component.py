"""fetch as a Kubeflow step. Kubeflow runs only the function's source, so the function imports what it needs."""

from typing import NamedTuple

from kfp import dsl

from components.images import DATA_IMAGE


@dsl.component(base_image=DATA_IMAGE, install_kfp_package=False)
def fetch(spec: str, kfp_run: str, parent_run: str) -> NamedTuple("Fetched", [("raw", str), ("run", str)]):  # type: ignore[valid-type]
    """Start the bot's MLflow run, unless one is given, and write the posts of the sources to posts.jsonl and sources.json.

    Args:
        spec: The reference of the run's specification.
        kfp_run: The id of the Kubeflow run; "" on a laptop.
        parent_run: The bot's MLflow run; "" on a cluster, where this step starts it.

    Returns:
        The reference of the folder of posts, and the id of the bot's MLflow run.
    """
    from components.fetch.s3_sources import record_uploads
    from components.fetch.step import fetch
    from components.fetch.tables.columns import TableColumns
    from components.fetch.x.api_price import parse_budget
    from components.filter.rules import rule_for
    from components.step_runtime import step
    from mynah.mlflow_client.store import step_store
    from mynah.registry.lineage import record_sources

    with step("fetch", spec, kfp_run, parent_run) as at:
        asked, run, raw = at.inputs, at.run, at.files.new("raw")
        rule_for(asked.rules)  # before anything is spent
        record_uploads(run, asked.sources)
        budget, named = parse_budget(asked.max_cost), TableColumns.from_record(asked.columns)
        provenances = fetch(asked.sources, raw, asked.limit, step_store(), asked.basis, budget, columns=named)
        run.params({"limit": asked.limit})
        if kfp_run:
            run.tags({"mynah.kfp_run_id": kfp_run})
        run.metrics({"posts": sum(provenance.posts for provenance in provenances)}, headline=True)
        record_sources(run, raw)
        return at.files.hand_on("raw"), at.parent_run
