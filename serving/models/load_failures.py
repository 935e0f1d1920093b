"""Loads of models that failed: what the client and the operator learn, and when a load is tried again."""

import time
from dataclasses import dataclass, field

from mynah.core.errors import InputError, PlatformError
from serving.engine.errors import LoadFailed, ModelTooLarge, ModelUnavailable
from serving.models.address import Key

SECONDS_BEFORE_RETRY = 5.0  # after a load that failed
SECONDS_TO_REPAIR = 60  # retry time reported for damaged files


@dataclass(slots=True)
class _Failure:
    at: float  # time.monotonic(), in seconds
    error: Exception


@dataclass(frozen=True, slots=True)
class LoadFailures:
    """The versions whose last load failed."""

    _failures: dict[Key, _Failure] = field(default_factory=dict)

    def __contains__(self, key: Key) -> bool:
        return key in self._failures

    def keys(self) -> set[Key]:
        """Return the versions that failed."""
        return set(self._failures)

    def get(self, key: Key) -> Exception | None:
        """Return why a version could not be loaded, or None. For the operator: the message may contain paths."""
        failed = self._failures.get(key)
        return failed.error if failed else None

    def record(self, key: Key, error: Exception) -> ModelUnavailable:
        """Record a failed load, which is not retried for SECONDS_BEFORE_RETRY, and return the error for the client."""
        self._failures[key] = _Failure(time.monotonic(), error)
        return _unavailable(key, error)

    def discard(self, key: Key) -> None:
        """Delete what is recorded about a version, if anything is."""
        self._failures.pop(key, None)

    def raise_if_recent(self, key: Key) -> None:
        """Raise ModelUnavailable, as `record` returned it, while a version's load is not retried."""
        failed = self._failures.get(key)
        if failed and time.monotonic() - failed.at < SECONDS_BEFORE_RETRY:
            raise _unavailable(key, failed.error)


def _unavailable(key: Key, error: Exception) -> ModelUnavailable:
    """Return the error of a failed load for the client, without paths."""
    name, version = key
    retry = int(SECONDS_BEFORE_RETRY)
    if isinstance(error, ModelTooLarge):
        return ModelTooLarge(name)
    if isinstance(error, InputError):
        return LoadFailed(f"version {version} of {name} cannot be loaded: its files are missing or damaged", SECONDS_TO_REPAIR)
    if isinstance(error, PlatformError | OSError):
        return LoadFailed(f"version {version} of {name} cannot be fetched now; try again in {retry} s", retry)
    if isinstance(error, MemoryError):
        return LoadFailed(f"there is not enough memory for {name} now; try again in {retry} s", retry)
    return LoadFailed(f"version {version} of {name} cannot be loaded", SECONDS_TO_REPAIR)
