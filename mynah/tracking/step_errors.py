"""The error of a step, on its run in MLflow: for people, and for the attempts that Kubeflow makes after it.

Kubeflow repeats a step whatever its error was. An error in the input stays, so a further attempt ends with it at once.
"""

import json
import time
from collections.abc import Mapping

from mynah.core.errors import InputError, MynahError
from mynah.tracking.tags import ERROR_TAG, REFUSED_TAG

MAX_LINE = 500  # characters
# After that a person may have corrected the input, and repeated the run on Kubeflow's page; the longest pause between two attempts is 240 s.
SECONDS_REFUSED = 600.0


def error_tags(error: Exception) -> dict[str, str]:
    """Return the tags that record the error of a step."""
    problem = error.problem if isinstance(error, MynahError) else str(error)
    tags = {ERROR_TAG: f"{type(error).__name__}: {' '.join(problem.split())}"[:MAX_LINE]}
    if isinstance(error, InputError):
        tags[REFUSED_TAG] = json.dumps([time.time(), error.problem[:MAX_LINE], error.fix[:MAX_LINE]])
    return tags


def require_not_refused(tags: Mapping[str, str]) -> None:
    """Raise the InputError with which the attempt before this one ended, a moment ago."""
    try:
        when, problem, fix = json.loads(tags.get(REFUSED_TAG, "[0, 0, 0]"))
        is_recent = 0 <= time.time() - float(when) < SECONDS_REFUSED
    except (ValueError, TypeError):  # anybody can write tags
        return
    if is_recent:
        raise InputError(str(problem), str(fix))
