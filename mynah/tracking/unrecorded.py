"""What an attempt of a step spent that was killed before it could record it."""

import time
from typing import Any

from mynah.core.errors import InputError
from mynah.core.machine import price_per_hour
from mynah.tracking.tags import COST_TAG, NODE_TAG, SECONDS_TAG, STARTED_TAG, number
from mynah.tracking.usage_meter import SECONDS_BETWEEN_SAMPLES

SIGN_OF_LIFE = "system/cpu_utilization_percentage"  # which UsageMeter samples


def spent_tags(api: Any, step: Any) -> dict[str, str]:  # noqa: ANN401 - MlflowClient, and MLflow's run
    """Return the seconds and US dollars of a step as tags, with those of its last attempt, which still runs according to the store.

    The attempt lasted from its start to its last sample of the machine, and at most until the next sample was due.

    Args:
        api: MLflow's client.
        step: The step's run.
    """
    tags = step.data.tags
    seconds = max(0.0, min(time.time(), last_sign_of_life(api, step) + SECONDS_BETWEEN_SAMPLES) - _started(step))
    cost = seconds / 3600 * _price(tags.get(NODE_TAG, ""))
    return {
        SECONDS_TAG: f"{number(tags.get(SECONDS_TAG, '')) + seconds:.3f}",
        COST_TAG: f"{number(tags.get(COST_TAG, '')) + cost:.6f}",
    }


def last_sign_of_life(api: Any, step: Any) -> float:  # noqa: ANN401 - MlflowClient, and MLflow's run
    """Return when a step last showed that it runs: its start, or a sample of the machine. Seconds since 1970."""
    samples = [point.timestamp / 1000 for point in api.get_metric_history(step.info.run_id, SIGN_OF_LIFE)]
    return float(max([_started(step), *samples]))


def _started(step: Any) -> float:  # noqa: ANN401 - MLflow's run
    return (number(step.data.tags.get(STARTED_TAG, "")) or float(step.info.start_time)) / 1000


def _price(kind: str) -> float:
    """Return the price of a node kind; 0 for one that the step did not record, or that this machine has no price for."""
    try:
        return price_per_hour(kind) if kind else 0.0
    except InputError:
        return 0.0
