"""The actor of a change in the registry."""

import contextlib
import getpass
import socket

from mynah.core.settings import MLFLOW_TRACKING_USERNAME, MYNAH_ACTOR


def actor() -> str:
    """Return who makes a change: MYNAH_ACTOR, the user of the MLflow server, or this machine's user."""
    named = MYNAH_ACTOR.get() or MLFLOW_TRACKING_USERNAME.get()
    if named:
        return named[:200]
    user = "unknown"
    with contextlib.suppress(KeyError, OSError):  # a container's user may have no name
        user = getpass.getuser()
    return f"{user}@{socket.gethostname()}"
