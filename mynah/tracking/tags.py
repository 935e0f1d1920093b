"""Tags on the runs of pipelines and steps."""

import contextlib
from collections.abc import Mapping

PARENT_TAG, STEP_TAG = "mlflow.parentRunId", "mynah.step"

FOLDER_TAG = "mynah.folder"  # on a pipeline run: its folder in runs/ of the work folder

COST_TAG, SECONDS_TAG = "mynah.cost_usd", "mynah.seconds"

NODE_TAG, ENERGY_TAG = "mynah.node", "mynah.energy_wh"

STARTED_TAG = "mynah.attempt_started"  # on a step: milliseconds since 1970
ERROR_TAG = "mynah.error"  # on a step: the last attempt's error, as one line
REFUSED_TAG = "mynah.refused"  # on a step: the error in its input, for the attempts that Kubeflow makes after it


def number(text: str) -> float:
    """Return the number in a tag, at least 0; 0 where it has none: anybody can write tags."""
    with contextlib.suppress(ValueError):
        return max(0.0, float(text))
    return 0.0


def attempts(tags: Mapping[str, str]) -> int:
    """Return how often a step was started, from its run's tags."""
    text = tags.get("mynah.attempts", "1")
    return int(text) if text.isdecimal() and len(text) < 6 else 1
