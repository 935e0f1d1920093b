"""Record pipeline runs in MLflow: one run per pipeline run, and a nested run per step (step_run.py).

Uses `MlflowClient` with explicit run ids, never the fluent API's hidden active run: a step is a process of its own, and leaving
`mlflow.start_run()` would mark the parent FINISHED. Importing mlflow takes seconds, so only functions import it.
"""

import importlib.metadata
from collections.abc import Mapping
from typing import Any

from mynah.core.settings import MYNAH_IMAGE
from mynah.mlflow_client.client import client, experiment, store_errors
from mynah.mlflow_client.store import BOT_TAG, Store
from mynah.tracking.energy import estimate
from mynah.tracking.outbox import apply
from mynah.tracking.tags import COST_TAG, ENERGY_TAG, NODE_TAG, PARENT_TAG, SECONDS_TAG, STEP_TAG, number
from mynah.tracking.unrecorded import spent_tags

MAX_PARAM = 500  # characters; MLflow rejects more than 6,000
MAX_STEPS = 10_000  # of a pipeline run, including a sweep's trials; MLflow allows 50,000


def start_parent(store: Store, name: str, tags: Mapping[str, str], params: Mapping[str, Any] | None = None) -> str:
    """Create the run of a pipeline run, tagged with the code's version. The launcher ends it with `end_run`.

    Args:
        store: The tracking store.
        name: The bot.
        tags: Further tags.
        params: Parameters to record.

    Returns:
        The run's id.

    Raises:
        PlatformError: The store does not respond.
    """
    api = client(store.tracking_uri)
    tags = {BOT_TAG: name, "mynah.code_version": importlib.metadata.version("mynah"), **image_tags(), **tags}
    with store_errors(store.tracking_uri):
        run_id = str(api.create_run(experiment(store), run_name=name, tags=tags).info.run_id)
        if params:
            apply(store, {"run": run_id, "do": "params", "values": as_texts(params, MAX_PARAM)})
    return run_id


def image_tags() -> dict[str, str]:
    """Return the digest of this process's image as a tag, where the pod names its image by digest (MYNAH_IMAGE)."""
    _, at, image_digest = MYNAH_IMAGE.get().partition("@")
    return {"mynah.image_digest": image_digest} if at else {}


def end_run(store: Store, run_id: str, status: str) -> None:
    """Set the final status of a pipeline run and of its running steps, and record the total cost.

    A step that still runs was canceled, killed or evicted, and could not record what it spent: what is known of that is recorded here.

    Args:
        store: The tracking store.
        run_id: The pipeline run.
        status: FINISHED, FAILED or KILLED.

    Raises:
        PlatformError: The store does not respond.
    """
    api = client(store.tracking_uri)
    with store_errors(store.tracking_uri):
        steps = steps_of(store, run_id)
        for step in steps.values():
            if step.info.status == "RUNNING":
                for key, value in spent_tags(api, step).items():
                    api.set_tag(step.info.run_id, key, value)
                api.set_terminated(step.info.run_id, status)
        for key, value in cost_tags(store, run_id).items():
            api.set_tag(run_id, key, value)
        api.set_terminated(run_id, status)


def steps_of(store: Store, run_id: str) -> dict[str, Any]:
    """Return the nested runs of a pipeline run by step name."""
    api = client(store.tracking_uri)
    with store_errors(store.tracking_uri):
        runs = api.search_runs(
            [api.get_run(run_id).info.experiment_id], f"tags.`{PARENT_TAG}` = '{run_id}'", max_results=MAX_STEPS
        )
    return {run.data.tags.get(STEP_TAG, run.info.run_id): run for run in reversed(runs)}


def cost_tags(store: Store, run_id: str) -> dict[str, str]:
    """Return seconds, US dollars and, where known, watt-hours of a pipeline run's steps so far, as tags; {} where no step has any."""
    tags = [step.data.tags for step in steps_of(store, run_id).values() if SECONDS_TAG in step.data.tags]
    if not tags:
        return {}
    seconds, cost = (sum(number(step_tags.get(key, "")) for step_tags in tags) for key in (SECONDS_TAG, COST_TAG))
    energy = estimate((step_tags.get(NODE_TAG, ""), number(step_tags[SECONDS_TAG])) for step_tags in tags)
    totals = {SECONDS_TAG: f"{seconds:.3f}", COST_TAG: f"{cost:.6f}"}
    return totals | ({ENERGY_TAG: f"{energy.watt_hours:.4f}"} if energy else {})


def as_texts(values: Mapping[str, Any], longest: int) -> dict[str, str]:
    """Return the values of parameters or tags as MLflow holds them.

    Args:
        values: By name.
        longest: Characters after which a value is cut off.
    """
    return {key: str(value)[:longest] for key, value in values.items()}
