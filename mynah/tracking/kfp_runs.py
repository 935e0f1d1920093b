"""The MLflow run of a bot within a Kubeflow run: created by its first step, once for all attempts, and found again by its tag.

On a cluster a step creates it, not `mynah submit`: a recurring run starts by itself, and each of its runs needs an MLflow run of its own.
"""

import re
from collections.abc import Mapping
from typing import Any

from mynah.core.names import bot_name
from mynah.mlflow_client.client import client, experiment, store_errors
from mynah.mlflow_client.store import BOT_TAG, Store
from mynah.tracking.runs import start_parent

KFP_RUN_TAG = "mynah.kfp_run_id"
SKIPPED_TAG = "mynah.skipped"  # on a pipeline run that ended without training: the reason
KFP_RUN = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")  # Kubeflow's ids; its local runner counts in digits


def is_kfp_run(text: str) -> bool:
    """Return whether a text is the id of a run in a Kubeflow Pipelines, and not one of its local runner on a laptop."""
    return KFP_RUN.fullmatch(text) is not None


def start_run(name: str, kfp_run: str, store: Store, params: Mapping[str, Any]) -> str:
    """Return the id of the MLflow run of a bot in a Kubeflow run, created unless an earlier attempt did.

    Args:
        name: The bot.
        kfp_run: The id of the Kubeflow run.
        store: The tracking store.
        params: Parameters to record.

    Returns:
        The run's id.

    Raises:
        InputError: The name is invalid.
        PlatformError: The store does not respond.
    """
    bot_name(name)
    for run in runs_of(kfp_run, store):
        if run.data.tags[BOT_TAG] == name:
            return str(run.info.run_id)
    return start_parent(store, name, {KFP_RUN_TAG: kfp_run}, params)


def runs_of(kfp_run: str, store: Store) -> list[Any]:
    """Return the MLflow runs of the bots of the Kubeflow run `kfp_run`, in the order of their start. Raises PlatformError."""
    return _runs(f"tags.`{KFP_RUN_TAG}` = '{_quotable(kfp_run)}' and tags.`{BOT_TAG}` != ''", "ASC", store)


def newest_runs(store: Store, count: int) -> list[Any]:
    """Return the newest `count` MLflow runs of bots that a Kubeflow run made, newest first. Raises PlatformError."""
    return _runs(f"tags.`{KFP_RUN_TAG}` != '' and tags.`{BOT_TAG}` != ''", "DESC", store, count)


def running_kfp_runs(store: Store) -> set[str]:
    """Return the ids of the Kubeflow runs of which an MLflow run has not ended. Raises PlatformError."""
    runs = _runs(f"attributes.status = 'RUNNING' and tags.`{KFP_RUN_TAG}` != ''", "ASC", store)
    return {str(run.data.tags[KFP_RUN_TAG]) for run in runs}


def _runs(query: str, order: str, store: Store, count: int = 0) -> list[Any]:
    api, runs, token = client(store.tracking_uri), [], ""
    with store_errors(store.tracking_uri):
        while True:
            page = api.search_runs(
                [experiment(store)], query, max_results=1000, order_by=[f"start_time {order}"], page_token=token or None
            )
            runs += page
            token = page.token
            if not token or 0 < count <= len(runs):
                return runs[: count or None]


def _quotable(text: str) -> str:
    assert "'" not in text, text  # Kubeflow's run ids are UUIDs
    return text
