"""Create a run or a recurring run of Kubeflow once.

The API may fail after it made the Workflow (its database refuses a text, a proxy cuts the connection, the answer comes too late). Such a
create is never sent again: what it made is looked for by its name, which no other run has.
"""

import time
from collections.abc import Callable

from mynah.core.errors import PlatformError
from mynah.core.progress import notify
from pipelines.kubeflow.client import http_status

PAUSES = (0.0, 1.0, 3.0)  # seconds before each look: a create that took too long may still be at work
RUN_NAME = r"pipelines\.kubeflow\.org/run_name"  # the Workflow's annotation


class MaybeCreated(PlatformError):  # noqa: N818 - a state, not a kind of failure
    """A create failed, and whether it made something is unknown: what the run would read must stay."""


def create_once(create: Callable[[], str], find: Callable[[str], str], name: str, namespace: str) -> str:
    """Create a run, and return its id, also where the API failed after it made the run.

    Args:
        create: Sends the request, and returns the id.
        find: Returns the id of what has exactly this name, or "".
        name: The name of the run or recurring run, which is unique.
        namespace: The namespace of its Workflow, for the message; "" for Kubeflow's own.

    Raises:
        PlatformError: Kubeflow refused it, and nothing was made.
        MaybeCreated: Nothing of that name is listed, or it cannot be looked for; the message says which, and what to check.
    """
    try:
        return create()
    except PlatformError as error:
        if 400 <= http_status(error) < 500:  # refused: nothing was made
            raise
        found = _look(find, name, error, namespace)
        notify(f"{error.problem}; but {name} was made, and goes on", "warning")
        return found


def _look(find: Callable[[str], str], name: str, failure: PlatformError, namespace: str) -> str:
    show = (
        f"kubectl -n {namespace or 'kubeflow'} get workflows,scheduledworkflows "
        f"-o custom-columns=KIND:.kind,NAME:.metadata.name,RUN:.metadata.annotations.{RUN_NAME}"
    )
    for pause in PAUSES:
        time.sleep(pause)
        try:
            found = find(name)
        except PlatformError as error:
            raise MaybeCreated(
                f"{failure.problem}; whether {name} was made cannot be looked for ({error.problem})",
                f"Before you try again, see whether it runs: mynah runs, or {show}",
            ) from failure
        if found:
            return found
    raise MaybeCreated(
        f"{failure.problem}; nothing named {name} is listed there",
        f"See kubectl -n kubeflow logs deploy/ml-pipeline. Before you try again, see that no unlisted Workflow was made: {show}",
    ) from failure
