"""The cost of bots: of each run's steps, what a budget leaves for fine-tuning, and what a thousand responses cost.

A step's cost is its seconds times its node's price (mynah/core/prices.yaml). Its run's tags hold both; failed runs cost too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mynah.core.errors import InputError
from mynah.core.machine import node_kind, price_per_hour
from mynah.core.progress import notify
from mynah.core.settings import MYNAH_SERVING_NODE_KIND
from mynah.mlflow_client.client import client, experiment, store_errors
from mynah.mlflow_client.store import BOT_TAG, Store, step_store
from mynah.tracking.runs import cost_tags
from mynah.tracking.tags import COST_TAG, SECONDS_TAG, STEP_TAG, number

# Reserved for the steps after fine-tuning (evaluate, card, register, promote): a share of the budget, at least so many seconds.
SHARE_AFTER, SECONDS_AFTER = 0.1, 30.0
PAGE = 1000


@dataclass(frozen=True, slots=True)
class StepCost:
    """The cost of one step of a run, all attempts together."""

    step: str
    node: str
    seconds: float
    usd: float


@dataclass(frozen=True, slots=True)
class RunCost:
    """The cost of a pipeline run; `started` in seconds since 1970."""

    bot: str
    run: str
    status: str
    started: float
    steps: Sequence[StepCost]

    @property
    def seconds(self) -> float:
        """The sum over its steps."""
        return sum(step.seconds for step in self.steps)

    @property
    def usd(self) -> float:
        """The sum over its steps."""
        return sum(step.usd for step in self.steps)


def run_costs(store: Store, name: str = "") -> list[RunCost]:
    """Return every pipeline run of the bot `name`, or of all bots, newest first. Raises PlatformError."""
    query = f"tags.`{BOT_TAG}` = '{name}'" if name else f"tags.`{BOT_TAG}` != ''"
    steps: dict[str, list[StepCost]] = {}
    for run in _runs(store, f"tags.`{STEP_TAG}` != ''"):
        tags = run.data.tags
        cost = StepCost(
            tags[STEP_TAG], tags.get("mynah.node", ""), number(tags.get(SECONDS_TAG, "")), number(tags.get(COST_TAG, ""))
        )
        steps.setdefault(tags.get("mlflow.parentRunId", ""), []).append(cost)
    return [
        RunCost(
            run.data.tags[BOT_TAG], run.info.run_id, run.info.status, run.info.start_time / 1000,
            steps.get(run.info.run_id, [])[::-1],
        )
        for run in _runs(store, query)
    ]  # fmt: skip


def _runs(store: Store, query: str) -> list[Any]:
    """Return all runs that match a filter, newest first, page by page."""
    api, runs, token = client(store.tracking_uri), [], ""
    with store_errors(store.tracking_uri):
        while True:
            batch = api.search_runs(
                [experiment(store)], query, max_results=PAGE, order_by=["start_time DESC"], page_token=token or None
            )
            runs += batch
            token = batch.token
            if not token:
                return runs


def spent_so_far(parent_run: str) -> float | None:
    """Return the US dollars that this pipeline run's steps have cost so far; None where nothing records them. Raises PlatformError."""
    store = step_store()
    if not parent_run or not store:
        return None
    return number(cost_tags(store, parent_run).get(COST_TAG, ""))


def seconds_within_budget(budget: float, spent: float) -> float | None:
    """Return the seconds of this node that fine-tuning may take.

    A tenth of the budget, and at least half a minute of the node, is reserved for the steps after it.

    Args:
        budget: US dollars for the whole pipeline run; 0 for no limit.
        spent: US dollars that the run has spent so far.

    Returns:
        Seconds; None for no limit.

    Raises:
        InputError: Nothing remains for fine-tuning.
    """
    price = price_per_hour(node_kind())
    if not budget or not price:
        if budget:
            notify(
                f"an hour of the node kind {node_kind()!r} costs nothing, so the budget of ${budget:g} sets no limit", "warning"
            )
        return None
    reserved = max(SHARE_AFTER * budget, SECONDS_AFTER * price / 3600)
    remaining = budget - reserved - spent
    if remaining <= 0:
        raise InputError(
            f"the budget of ${budget:g} leaves nothing for fine-tuning: ${spent:.4f} is spent, ${reserved:.4f} reserved for later steps",
            "Raise --budget.",
        )
    return remaining / price * 3600


def usd_per_1000_answers(answers_per_second: float) -> float:
    """Return the US dollars that a thousand responses cost on a busy serving node (MYNAH_SERVING_NODE_KIND, or `cpu`)."""
    kind = MYNAH_SERVING_NODE_KIND.get()
    return 1000 / answers_per_second * price_per_hour(kind) / 3600


def require_budget(budget: float) -> None:
    """Raise InputError for an invalid amount of money."""
    if not 0 <= budget < 1e9:
        raise InputError(f"the budget is {budget}, and must be US dollars from 0 (no limit)", "Write for example --budget 2.50.")
