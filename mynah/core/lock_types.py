"""Types shared by the locks of promotions and of Kubernetes leases."""

from collections.abc import Callable

from mynah.core.errors import PlatformError

StillHeld = Callable[[], None]  # raises PlatformError when the lock was lost


def held_too_long(what: str, timeout: float) -> PlatformError:
    """Create the error for a lock that another process did not release within `timeout` seconds."""
    return PlatformError(f"another promotion has held {what} for {timeout:.0f} s", "Wait for it, and try again.")
