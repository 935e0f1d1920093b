"""Read what MLflow records about a card's pipeline run: its pages, cost and energy."""

import re
from collections.abc import Mapping
from typing import Any

from components.card.inputs import RunRecord
from mynah.core.progress import notify
from mynah.core.settings import MYNAH_MLFLOW_URL
from mynah.mlflow_client.store import Store, public, step_store
from mynah.tracking.costs import spent_so_far
from mynah.tracking.energy import Energy, estimate
from mynah.tracking.runs import steps_of
from mynah.tracking.tags import NODE_TAG, SECONDS_TAG, number

ADDRESS = re.compile(r"https?://[^\s<>()\[\]\"'`\\|]+")


def read_record(parent_run: str) -> RunRecord:
    """Return the record of this step's pipeline run so far; an empty one without MLflow. Raises PlatformError."""
    store = step_store()
    if not parent_run or not store:
        return RunRecord()
    steps = steps_of(store, parent_run)
    return RunRecord(parent_run, _pages(store, parent_run, steps), spent_so_far(parent_run), _energy(steps))


def _energy(steps: Mapping[str, Any]) -> Energy | None:
    tags_of_steps = [step.data.tags for step in steps.values() if SECONDS_TAG in step.data.tags]
    return estimate((tags.get(NODE_TAG, ""), number(tags[SECONDS_TAG])) for tags in tags_of_steps)


def _pages(store: Store, parent_run: str, steps: Mapping[str, Any]) -> dict[str, str]:
    """Return the URLs of the run ("") and its steps in MLflow's UI; none on a laptop, where the UI does not run permanently."""
    address = public(MYNAH_MLFLOW_URL.get() or (store.tracking_uri if store.is_server else "")).rstrip("/")
    if not address or not steps:
        return {}
    if not ADDRESS.fullmatch(address):
        notify(
            f"{MYNAH_MLFLOW_URL.name} is not the URL of a page, so the card has no links to MLflow: {address[:100]!r}", "warning"
        )
        return {}
    runs = {"": parent_run} | {name: str(step.info.run_id) for name, step in steps.items()}
    experiment = next(iter(steps.values())).info.experiment_id
    return {name: f"{address}/#/experiments/{experiment}/runs/{run}" for name, run in runs.items()}
