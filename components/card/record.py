"""What MLflow knows of the pipeline run that a card is of: its pages, what it cost, the energy it took."""

import os
import re
from collections.abc import Mapping
from typing import Any

from components.card.facts import Record
from components.costs import spent
from components.energy import Energy, estimate
from components.events import say
from components.steps import step_store
from components.store import Store, public
from components.tracking import NODE_TAG, SECONDS_TAG, number, steps_of

PAGES = "MYNAH_MLFLOW_URL"  # where people open MLflow, when that is not where the steps reach it
ADDRESS = re.compile(r"https?://[^\s<>()\[\]\"'`\\|]+")


def read_record(parent_run: str) -> Record:
    """The record of this step's pipeline run so far; an empty one where nothing records it. Raises PlatformError."""
    store = step_store()
    if not parent_run or not store:
        return Record()
    steps = steps_of(store, parent_run)
    return Record(parent_run, _pages(store, parent_run, steps), spent(parent_run), _energy(steps))


def _energy(steps: Mapping[str, Any]) -> Energy | None:
    tags = [step.data.tags for step in steps.values() if SECONDS_TAG in step.data.tags]
    return estimate((each.get(NODE_TAG, ""), number(each[SECONDS_TAG])) for each in tags)


def _pages(store: Store, parent_run: str, steps: Mapping[str, Any]) -> dict[str, str]:
    """The pages of the run ("") and of its steps in MLflow's own page; none on a laptop, whose page is only sometimes open."""
    address = public(os.environ.get(PAGES) or (store.tracking_uri if store.is_server else "")).rstrip("/")
    if not address or not steps:
        return {}
    if not ADDRESS.fullmatch(address):
        say(f"{PAGES} is no address of a page, so the card has no links to MLflow: {address[:100]!r}", "warning")
        return {}
    runs = {"": parent_run} | {name: str(step.info.run_id) for name, step in steps.items()}
    experiment = next(iter(steps.values())).info.experiment_id
    return {name: f"{address}/#/experiments/{experiment}/runs/{run}" for name, run in runs.items()}
