"""The models in memory: each loaded once however many wait for it, the least recently used ones dropped when room is needed.

All of it runs on the event loop but the fetching and loading themselves, so nothing here needs a lock.
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

from components.errors import InputError, PlatformError
from components.events import visible
from serving.refusals import Refusal
from serving.repository import heap
from serving.repository.sources import Source

if TYPE_CHECKING:
    from components.decoding.model import Model

LOADS_AT_ONCE = 2  # reading and laying out weights takes a core each
FETCHES_AT_ONCE = 4  # these wait for the network
SECONDS_BEFORE_RETRY = 5.0  # after a load that failed
SECONDS_UNTIL_ROOM = 2  # told to who finds every model in use: about as long as an answer takes
MIB = 1 << 20


def _load_here() -> None:
    from components.decoding.model import load_here  # torch takes a second: when the first model is loaded

    load_here()


Key = tuple[str, str]  # a bot's name and version
T = TypeVar("T")
log = logging.getLogger("mynah.repository")


class RepositoryObserver(Protocol):
    """Who counts what becomes of models; called on the event loop, must be quick."""

    def loaded(self, name: str, seconds: float) -> None:
        """A version of the bot is in memory and warm; `seconds` since it was first wanted."""

    def evicted(self, name: str) -> None:
        """A version of the bot left memory."""

    def swapped(self, name: str) -> None:
        """The bot's readers are answered by another version from now on."""

    def forgotten(self, name: str) -> None:
        """There is no such bot any more."""


@dataclass(slots=True, eq=False)
class Slot:
    """A version that is in memory or on its way there."""

    key: Key
    users: int = 0  # leases, and those who wait for it: while there are any, it stays
    model: "Model | None" = None
    loading: "asyncio.Task[None] | None" = None
    unwanted: bool = False  # leaves memory with its last user


@dataclass(slots=True)
class _Failure:
    at: float
    refusal: Refusal
    error: Exception


@dataclass(slots=True)
class Shelf:
    """Models within `memory` bytes, from `source` by `load`."""

    source: Source
    memory: int
    load: "Callable[[Path], Model]"
    observer: RepositoryObserver
    quiet: bool = False  # whoever asks tells why a load failed, so the log need not
    failed_gate: set[Key] = field(default_factory=set)  # versions that the gate did not pass, as far as they were fetched
    versions: dict[str, list[str]] = field(default_factory=dict)  # those in memory, by bot
    _slots: "OrderedDict[Key, Slot]" = field(default_factory=OrderedDict)  # the least recently used first
    _leaving: "set[Slot]" = field(default_factory=set)  # no request gets them any more; they go with their last user
    _failures: dict[Key, _Failure] = field(default_factory=dict)
    _sizes: dict[Key, int] = field(default_factory=dict)  # bytes, of what was loaded once
    _dropped: int = 0  # bytes of models since memory was last given back
    _reserved: int = 0  # bytes for models that are being read
    _turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(LOADS_AT_ONCE))
    _fetchers: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(FETCHES_AT_ONCE, "fetch"))
    _loaders: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(LOADS_AT_ONCE, "load", initializer=_load_here)
    )

    @asynccontextmanager
    async def hold(self, key: Key, beside: Key | None = None) -> AsyncIterator["Model"]:
        """The model, loaded where need be, in memory for as long as the context lasts. Raises Refusal 503.

        `beside`: the version that it replaces, which stays meanwhile; the two may pass the memory limit together.
        """
        slot = self._slots.get(key)
        if not slot:
            self._raise_if_failed(key)
            slot = self._slots[key] = Slot(key)
            slot.loading = asyncio.create_task(self._fill(slot, beside))
            slot.loading.add_done_callback(_heard)
        slot.users += 1
        slot.unwanted = False
        try:
            if not slot.model:
                assert slot.loading
                await asyncio.shield(slot.loading)  # whoever stops waiting does not stop the load for the others
            assert slot.model
            yield slot.model
        finally:
            slot.users -= 1
            if self._slots.get(key) is slot:
                self._slots.move_to_end(key)
                if slot.unwanted:
                    self.drop(key)
            self._leave(slot)

    def has(self, key: Key) -> bool:
        """Whether the model is in memory."""
        slot = self._slots.get(key)
        return bool(slot and slot.model)

    def loaded(self) -> list[Key]:
        """What is in memory, the least recently used first."""
        return [key for key, slot in self._slots.items() if slot.model]

    @property
    def used(self) -> int:
        """Bytes of the models in memory and of those on their way."""
        return self._reserved + sum(slot.model.nbytes for slot in (*self._slots.values(), *self._leaving) if slot.model)

    def drop(self, key: Key) -> None:
        """Let a version go: now, or with its last user, unless somebody asks for it meanwhile."""
        slot = self._slots.get(key)
        if slot and (slot.users or not slot.model):
            slot.unwanted = True
        elif slot:
            self.expel(key)

    def expel(self, key: Key) -> None:
        """Let a version go: no further request gets this model; it leaves memory with its last user."""
        slot = self._slots.pop(key, None)
        if not slot:
            return
        if slot.model:
            self.versions[key[0]].remove(key[1])
            if not self.versions[key[0]]:
                del self.versions[key[0]]
        if slot.users or not slot.model:
            self._leaving.add(slot)
        else:
            self._let_go(slot.model.nbytes, key[0])

    def _leave(self, slot: Slot) -> None:
        """Take note when the last user of a model that was expelled has gone."""
        if slot in self._leaving and slot.model and not slot.users:
            self._leaving.discard(slot)
            self._let_go(slot.model.nbytes, slot.key[0])

    def _let_go(self, dropped: int, name: str) -> None:
        self.observer.evicted(name)
        self._dropped += dropped
        if self._dropped >= heap.AFTER:
            self._dropped = 0
            self._loaders.submit(heap.give_back)

    def forget(self, name: str, version: str = "") -> None:
        """Let a version of a bot go that is no more, or all of them, and what was known of it."""
        for key in {*self._slots, *self._failures, *self._sizes, *self.failed_gate}:
            if key[0] == name and version in ("", key[1]):
                self._failures.pop(key, None)
                self._sizes.pop(key, None)
                self.failed_gate.discard(key)
                self.expel(key)

    def failure(self, key: Key) -> Exception | None:
        """Why the version could not be loaded a moment ago; for who runs the server, it may name paths."""
        failed = self._failures.get(key)
        return failed.error if failed else None

    async def close(self) -> None:
        """Stop loading, and let every model go."""
        loading = [slot.loading for slot in (*self._slots.values(), *self._leaving) if slot.loading]
        for task in loading:
            task.cancel()
        await asyncio.gather(*loading, return_exceptions=True)
        self._slots.clear()
        self._leaving.clear()
        self.versions.clear()
        for pool in (self._fetchers, self._loaders):
            pool.shutdown(wait=False, cancel_futures=True)

    async def _fill(self, slot: Slot, beside: Key | None) -> None:
        """Load the slot's model; on failure take the slot away, so that a later request tries again. Raises Refusal."""
        began = time.monotonic()
        try:
            folder, weight = await self._thread(self._fetchers, self._fetch, slot.key)
            async with self._turns:
                model = await self._read(slot.key, folder, weight, beside)
            self._sizes[slot.key] = model.nbytes  # the files' weight was a guess
            self._make_room(slot.key, model.nbytes, beside)
            slot.model = model
            if self._slots.get(slot.key) is slot:
                self.versions.setdefault(slot.key[0], []).append(slot.key[1])
        except Exception as error:  # whatever it is, it concerns this model alone
            if isinstance(error, InputError):  # a copy that is damaged on this disk is fetched again the next time
                await self._thread(self._fetchers, self.source.discard, *slot.key)
            if self._slots.get(slot.key) is slot:
                del self._slots[slot.key]
            self._leaving.discard(slot)
            raise self._failed(slot.key, error) from error
        finally:
            slot.loading = None
        self._failures.pop(slot.key, None)
        self.observer.loaded(slot.key[0], time.monotonic() - began)
        if slot.unwanted and not slot.users and slot not in self._leaving:
            self.drop(slot.key)
        self._leave(slot)

    async def _read(self, key: Key, folder: Path, weight: int, beside: Key | None) -> "Model":
        size = self._sizes.get(key, weight)
        self._make_room(key, size, beside)
        self._reserved += size
        try:
            return await self._thread(self._loaders, self._load_warm, folder)
        finally:
            self._reserved -= size

    async def _thread(self, pool: ThreadPoolExecutor, work: Callable[..., T], *arguments: Any) -> T:  # noqa: ANN401
        return await asyncio.get_running_loop().run_in_executor(pool, work, *arguments)

    def _fetch(self, key: Key) -> tuple[Path, int]:
        """The version's folder, and the bytes of its weights: about what they take in memory."""
        fetched = self.source.fetch(*key)
        if not fetched.passed:
            self.failed_gate.add(key)
        return fetched.folder, sum(path.stat().st_size for path in fetched.folder.glob("*.safetensors"))

    def _load_warm(self, folder: Path) -> "Model":
        model = self.load(folder)
        model.warm_up()
        return model

    def _make_room(self, key: Key, size: int, beside: Key | None) -> None:
        """Drop models until `size` bytes more fit, unless so many are leased that they cannot. Raises Refusal 503."""
        if self._sizes.get(key, 0) > self.memory:
            raise Refusal(503, f"{key[0]} is too large for this server's memory; who runs it can give it more (--memory)")
        while self.used + size > self.memory:
            idle = next((slot.key for slot in self._slots.values() if slot.model and not slot.users and slot.key != beside), None)
            if idle:
                self.drop(idle)
            elif beside or not self.used:  # alone: `size` is a guess then, and may be too much
                return
            else:
                raise Refusal(503, "every model in memory is answering; try again in a moment", retry_after=SECONDS_UNTIL_ROOM)

    def _failed(self, key: Key, error: Exception) -> Refusal:
        """The refusal for a load that failed, remembered for a while; one for want of room is no failure."""
        if isinstance(error, Refusal) and error.retry_after:
            return error
        reason, wait = _reason(key, error)
        if key not in self._failures and not self.quiet:
            log.warning("%s version %s cannot be loaded: %s", *key, visible(_told(key, error, self)))
        refusal = error if isinstance(error, Refusal) else Refusal(503, reason, retry_after=wait)
        self._failures[key] = _Failure(time.monotonic(), refusal, error)
        return refusal

    def _raise_if_failed(self, key: Key) -> None:
        failed = self._failures.get(key)
        if failed and time.monotonic() - failed.at < SECONDS_BEFORE_RETRY:
            raise Refusal(failed.refusal.status, failed.refusal.message, failed.refusal.retry_after)


def _heard(task: "asyncio.Task[None]") -> None:
    """Take note of how a load ended: everybody who waited for it may have gone."""
    if not task.cancelled():
        task.exception()


def _reason(key: Key, error: Exception) -> tuple[str, int]:
    """Why a version cannot be loaded, as its readers hear it: without a path; and when to try again, in seconds."""
    name, version = key
    retry = int(SECONDS_BEFORE_RETRY)
    if isinstance(error, InputError):
        return f"version {version} of {name} cannot be loaded: its files are missing or damaged", 60
    if isinstance(error, PlatformError | OSError):
        return f"version {version} of {name} cannot be fetched now; try again in {retry} s", retry
    if isinstance(error, MemoryError):
        return f"there is no memory for {name} now; try again in {retry} s", retry
    return f"version {version} of {name} cannot be loaded", 60


def _told(key: Key, error: Exception, shelf: Shelf) -> str:
    """Why, for who runs the server."""
    if isinstance(error, Refusal):
        return f"it takes {shelf._sizes.get(key, 0) / MIB:,.0f} MiB, and there are {shelf.memory / MIB:,.0f} for all models"
    if isinstance(error, InputError | PlatformError):
        return error.problem
    return f"{type(error).__name__}: {error}"
