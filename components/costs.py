"""What bots cost: each run's steps, what a budget leaves for fine-tuning, and what a thousand answers take of a node.

A step's cost is its seconds times its node's price (components/prices.yaml), and its run's tags hold both; failed runs cost too.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from components.errors import InputError
from components.events import say
from components.machine import node_kind, price_per_hour
from components.steps import step_store
from components.store import BOT_TAG, Store, client, experiment, store_errors
from components.tracking import COST_TAG, SECONDS_TAG, STEP_TAG, cost_tags, number

# Evaluate, card, register and promote come after fine-tuning: so much of a budget is theirs, or so many seconds if that is more.
SHARE_AFTER, SECONDS_AFTER = 0.1, 30.0
PAGE = 1000


@dataclass(frozen=True, slots=True)
class StepCost:
    """What one step of a run took, all attempts together."""

    step: str
    node: str
    seconds: float
    usd: float


@dataclass(frozen=True, slots=True)
class RunCost:
    """What a pipeline run took; `started` in seconds since 1970."""

    bot: str
    run: str
    status: str
    started: float
    steps: Sequence[StepCost]

    @property
    def seconds(self) -> float:
        """Of all its steps."""
        return sum(step.seconds for step in self.steps)

    @property
    def usd(self) -> float:
        """Of all its steps."""
        return sum(step.usd for step in self.steps)


def run_costs(store: Store, name: str = "") -> list[RunCost]:
    """Every pipeline run of the bot `name`, or of all, with its steps; the newest first. Raises PlatformError."""
    whose = f"tags.`{BOT_TAG}` = '{name}'" if name else f"tags.`{BOT_TAG}` != ''"
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
        for run in _runs(store, whose)
    ]  # fmt: skip


def _runs(store: Store, which: str) -> list[Any]:
    """All runs that a filter finds, the newest first, page by page."""
    api, found, page = client(store.tracking_uri), [], ""
    with store_errors(store.tracking_uri):
        while True:
            some = api.search_runs(
                [experiment(store)], which, max_results=PAGE, order_by=["start_time DESC"], page_token=page or None
            )
            found += some
            page = some.token
            if not page:
                return found


def spent(parent_run: str) -> float | None:
    """US dollars that the steps of this step's pipeline run have cost so far; None where nothing records them. Raises PlatformError."""
    store = step_store()
    if not parent_run or not store:
        return None
    return number(cost_tags(store, parent_run).get(COST_TAG, ""))


def seconds_within(budget: float, spent: float) -> float | None:
    """Seconds of this node that fine-tuning may take within `budget` US dollars, of which the run has spent `spent`; None: no limit.

    A tenth of the budget is left to the steps after it, or half a minute of the node. Raises InputError when nothing remains.
    """
    price = price_per_hour(node_kind())
    if not budget or not price:
        if budget:
            say(f"an hour of the node kind {node_kind()!r} costs nothing, so the budget of ${budget:g} sets no limit", "warning")
        return None
    kept = max(SHARE_AFTER * budget, SECONDS_AFTER * price / 3600)
    left = budget - kept - spent
    if left <= 0:
        raise InputError(
            f"the budget of ${budget:g} leaves nothing for fine-tuning: ${spent:.4f} went into the steps before, ${kept:.4f} is for those after",
            "Give it more with --budget.",
        )
    return left / price * 3600


def usd_per_1000_answers(answers_per_second: float) -> float:
    """What a thousand answers cost on a busy node of the kind that serves (MYNAH_SERVING_NODE_KIND, or `cpu`), in US dollars."""
    kind = os.environ.get("MYNAH_SERVING_NODE_KIND") or "cpu"
    return 1000 / answers_per_second * price_per_hour(kind) / 3600
