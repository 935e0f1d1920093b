"""The models in memory: concurrent requests share one load, and the least recently used models are evicted to free memory.

Only fetching and loading run on other threads; everything else runs on the event loop and needs no locks.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from mynah.core.errors import InputError, PlatformError
from mynah.core.progress import strip_control_chars
from serving.engine.errors import ModelTooLarge, ModelUnavailable, NoRoom
from serving.models import malloc
from serving.models.address import Key
from serving.models.footprint import Footprint, KnownFootprints, MemoryUse, estimate, measure, memory_use
from serving.models.load_failures import LoadFailures
from serving.models.sources import ModelSource

if TYPE_CHECKING:
    from mynah.decoding.model import Model

MAX_LOADS = 2  # concurrent loads; one occupies a core
MAX_FETCHES = 4  # concurrent fetches, which wait for the network
MIB = 1 << 20


def _initialize_loader() -> None:
    from mynah.decoding.threads import use_one_core  # imports torch, which takes a second, when the first model is loaded

    use_one_core()


T = TypeVar("T")
log = logging.getLogger("mynah.repository")


class RepositoryObserver(Protocol):
    """Receives the repository's events, on the event loop; its methods must return quickly."""

    def loaded(self, name: str, seconds: float) -> None:
        """Record that a bot's version was loaded and warmed up, `seconds` after it was first requested."""

    def evicted(self, name: str) -> None:
        """Record that a version of a bot was evicted."""

    def swapped(self, name: str) -> None:
        """Record that another version of a bot became the champion."""

    def forgotten(self, name: str) -> None:
        """Record that a bot no longer exists."""


@dataclass(slots=True, eq=False)
class CacheEntry:
    """A version that is in memory or being loaded."""

    key: Key
    users: int = 0  # leases and waiting requests; while there are any, the model stays in memory
    model: "Model | None" = None
    footprint: Footprint | None = None  # estimated while it is being loaded; None before
    loading: "asyncio.Task[None] | None" = None
    evict_after_use: bool = False  # evicted when its last user leaves


@dataclass(slots=True)
class ModelCache:
    """A cache of at most `memory` bytes of models, which are fetched from `source` and loaded by `load`."""

    source: ModelSource
    memory: int
    load: "Callable[[Path], Model]"
    observer: RepositoryObserver
    quiet: bool = False  # the caller reports why a load failed, so it is not logged
    failed_gate: set[Key] = field(default_factory=set)  # fetched versions that failed the gate
    versions: dict[str, list[str]] = field(default_factory=dict)  # versions in memory, by bot
    _entries: "OrderedDict[Key, CacheEntry]" = field(default_factory=OrderedDict)  # the least recently used first
    _leaving: "set[CacheEntry]" = field(default_factory=set)  # evicted entries that are still in use
    _failures: LoadFailures = field(default_factory=LoadFailures)
    _sizes: KnownFootprints = field(default_factory=KnownFootprints)
    _dropped: int = 0  # bytes of evicted models since the last trim
    _turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_LOADS))
    _fetchers: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(MAX_FETCHES, "fetch"))
    _loaders: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(MAX_LOADS, "load", initializer=_initialize_loader)
    )

    @asynccontextmanager
    async def acquire(self, key: Key, replaced: Key | None = None) -> AsyncIterator["Model"]:
        """Keep a model in memory for the duration of the context; load it first if necessary.

        Args:
            key: the bot's name and version.
            replaced: the version that it replaces. It is not evicted meanwhile, and the two together may exceed the memory limit.

        Yields:
            The model.

        Raises:
            ModelUnavailable: it cannot be loaded.
        """
        entry = self._entries.get(key)
        if not entry:
            self._failures.raise_if_recent(key)
            entry = self._entries[key] = CacheEntry(key)
            entry.loading = asyncio.create_task(self._fill(entry, replaced))
            entry.loading.add_done_callback(_retrieve_error)
        entry.users += 1
        entry.evict_after_use = False
        try:
            if not entry.model:
                assert entry.loading
                await asyncio.shield(entry.loading)  # a cancelled request does not cancel the load for others
            assert entry.model
            yield entry.model
        finally:
            entry.users -= 1
            if self._entries.get(key) is entry:
                self._entries.move_to_end(key)
                if entry.evict_after_use:
                    self.evict_when_idle(key)
            self._evict_if_leaving(entry)

    def has(self, key: Key) -> bool:
        """Whether the model is in memory."""
        entry = self._entries.get(key)
        return bool(entry and entry.model)

    def loaded(self) -> list[Key]:
        """Return the models in memory, the least recently used first."""
        return [key for key, entry in self._entries.items() if entry.model]

    @property
    def used(self) -> int:
        """The bytes of models in memory or being loaded."""
        return self.memory_use().total

    def memory_use(self) -> MemoryUse:
        """Return the numbers and the bytes of base models and adapters in memory or being loaded."""
        return memory_use(entry.footprint for entry in (*self._entries.values(), *self._leaving) if entry.footprint)

    def evict_when_idle(self, key: Key) -> None:
        """Evict a version now, or after its last user unless it is requested again before."""
        entry = self._entries.get(key)
        if entry and (entry.users or not entry.model):
            entry.evict_after_use = True
        elif entry:
            self.evict(key)

    def evict(self, key: Key) -> None:
        """Evict a version. Later requests do not get this model; it stays in memory until its last user leaves."""
        before = self.used
        entry = self._entries.pop(key, None)
        if not entry:
            return
        if entry.model:
            self.versions[key[0]].remove(key[1])
            if not self.versions[key[0]]:
                del self.versions[key[0]]
        if entry.users or not entry.model:
            self._leaving.add(entry)
        else:
            self._count_evicted(before - self.used, key[0])

    def _evict_if_leaving(self, entry: CacheEntry) -> None:
        """Finish the eviction of an entry whose last user has left."""
        if entry in self._leaving and entry.model and not entry.users:
            before = self.used
            self._leaving.discard(entry)
            self._count_evicted(before - self.used, entry.key[0])

    def _count_evicted(self, dropped: int, name: str) -> None:
        self.observer.evicted(name)
        self._dropped += dropped
        if self._dropped >= malloc.TRIM_AFTER:
            self._dropped = 0
            self._loaders.submit(malloc.trim_memory)

    def forget(self, name: str, version: str = "") -> None:
        """Evict a version that no longer exists, and delete what is recorded about it.

        Args:
            name: the bot's name.
            version: the version; "" means all versions of the bot.
        """
        for key in {*self._entries, *self._failures.keys(), *self._sizes, *self.failed_gate}:
            if key[0] == name and version in ("", key[1]):
                self._failures.discard(key)
                self._sizes.pop(key, None)
                self.failed_gate.discard(key)
                self.evict(key)

    def failure(self, key: Key) -> Exception | None:
        """Return why a version could not be loaded, or None. For the operator: the message may contain paths."""
        return self._failures.get(key)

    async def close(self) -> None:
        """Stop loading and evict all models."""
        loading = [entry.loading for entry in (*self._entries.values(), *self._leaving) if entry.loading]
        for task in loading:
            task.cancel()
        await asyncio.gather(*loading, return_exceptions=True)
        self._entries.clear()
        self._leaving.clear()
        self.versions.clear()
        for pool in (self._fetchers, self._loaders):
            pool.shutdown(wait=False, cancel_futures=True)

    async def _fill(self, entry: CacheEntry, replaced: Key | None) -> None:
        """Load an entry's model; after a failure remove the entry, so that a later request tries again. Raises ModelUnavailable."""
        started = time.monotonic()
        try:
            folder, estimated = await self._thread(self._fetchers, self._fetch, entry.key)
            async with self._turns:
                self._make_room(entry, self._sizes.expect(entry.key, estimated), replaced)
                model = await self._thread(self._loaders, self._load_warm, folder)
            self._sizes.record(entry.key, estimated, measure(model))
            self._make_room(entry, self._sizes[entry.key], replaced)
            entry.model = model
            if self._entries.get(entry.key) is entry:
                self.versions.setdefault(entry.key[0], []).append(entry.key[1])
        except Exception as error:  # any error of a load affects this model only
            if isinstance(error, InputError):  # discard a damaged copy, so that it is fetched again
                await self._thread(self._fetchers, self.source.discard, *entry.key)
            if self._entries.get(entry.key) is entry:
                del self._entries[entry.key]
            self._leaving.discard(entry)
            raise self._record_failure(entry.key, error) from error
        finally:
            entry.loading = None
        self._failures.discard(entry.key)
        self.observer.loaded(entry.key[0], time.monotonic() - started)
        if entry.evict_after_use and not entry.users and entry not in self._leaving:
            self.evict_when_idle(entry.key)
        self._evict_if_leaving(entry)

    async def _thread(self, pool: ThreadPoolExecutor, work: Callable[..., T], *arguments: Any) -> T:  # noqa: ANN401 - those of `work`
        return await asyncio.get_running_loop().run_in_executor(pool, work, *arguments)

    def _fetch(self, key: Key) -> tuple[Path, Footprint]:
        """Return the version's folder, and the memory that it needs by the size of its files."""
        fetched = self.source.fetch(*key)
        if not fetched.passed:
            self.failed_gate.add(key)
        return fetched.folder, estimate(fetched.folder)

    def _load_warm(self, folder: Path) -> "Model":
        from mynah.decoding.decoder import warm_up  # imports torch, as `self.load` does

        model = self.load(folder)
        warm_up(model)
        return model

    def _make_room(self, entry: CacheEntry, footprint: Footprint, replaced: Key | None) -> None:
        """Count an entry's memory, and evict idle models until it fits. Raises ModelUnavailable when too many models are in use."""
        entry.footprint = footprint
        if (known := self._sizes.get(entry.key)) and known.total > self.memory:
            raise ModelTooLarge(entry.key[0])
        while self.used > self.memory:
            idle = next(
                (key for key, other in self._entries.items() if other.model and not other.users and key != replaced), None
            )
            if idle:
                self.evict_when_idle(idle)
            elif (
                replaced or self.used == footprint.total
            ):  # for a single model, try: the footprint is an estimate and may be too high
                return
            else:
                raise NoRoom

    def _record_failure(self, key: Key, error: Exception) -> ModelUnavailable:
        """Record a failed load, which is not retried for a while, and return the error for the client. NoRoom is not recorded."""
        if isinstance(error, NoRoom):
            return error
        if key not in self._failures and not self.quiet:
            log.warning("%s version %s cannot be loaded: %s", *key, strip_control_chars(self._describe_failure(key, error)))
        return self._failures.record(key, error)

    def _describe_failure(self, key: Key, error: Exception) -> str:
        """Return the reason of a failure for the operator."""
        if isinstance(error, ModelTooLarge):
            size, memory = self._sizes[key].total / MIB, self.memory / MIB
            return f"it needs {size:,.0f} MiB, and the limit for all models is {memory:,.0f} MiB"
        if isinstance(error, InputError | PlatformError):
            return error.problem
        return f"{type(error).__name__}: {error}"


def _retrieve_error(task: "asyncio.Task[None]") -> None:
    """Retrieve a load's exception; otherwise asyncio logs it when all waiting requests were cancelled."""
    if not task.cancelled():
        task.exception()
