"""begin: the MLflow run of a bot within a Kubeflow run, made once however often the step is tried.

On a cluster a step makes it, not whoever submits: a recurring run submits itself, and each of its runs needs a run of its own.
"""

from collections.abc import Mapping
from typing import Any

from components.names import bot_name
from components.store import BOT_TAG, Store, client, experiment, store_errors
from components.tracking import start_parent

KFP_RUN_TAG = "mynah.kfp_run_id"


def begin(name: str, kfp_run: str, store: Store, params: Mapping[str, Any]) -> str:
    """The id of the MLflow run of the bot `name` in the Kubeflow run `kfp_run`, which an earlier attempt may have made.

    Raises InputError for what can be no bot's name, PlatformError when the store does not answer.
    """
    bot_name(name)
    for run in runs_of(kfp_run, store):
        if run.data.tags[BOT_TAG] == name:
            return str(run.info.run_id)
    return start_parent(store, name, {KFP_RUN_TAG: kfp_run}, params)


def runs_of(kfp_run: str, store: Store) -> list[Any]:
    """MLflow's runs of the bots that the Kubeflow run `kfp_run` makes, in the order in which they began. Raises PlatformError."""
    query = f"tags.`{KFP_RUN_TAG}` = '{_quotable(kfp_run)}' and tags.`{BOT_TAG}` != ''"
    api, found, token = client(store.tracking_uri), [], ""
    with store_errors(store.tracking_uri):
        while True:
            page = api.search_runs(
                [experiment(store)], query, max_results=1000, order_by=["start_time ASC"], page_token=token or None
            )
            found += page
            token = page.token
            if not token:
                return found


def _quotable(text: str) -> str:
    assert "'" not in text, text  # Kubeflow's run ids are UUIDs
    return text
