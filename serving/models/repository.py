"""The bots that a server hosts: loads models on their first request, and follows promotions without interrupting requests."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mynah.core.errors import InputError, MynahError, PlatformError
from mynah.registry.versions import CHALLENGER, CHAMPION, PREVIOUS
from serving.engine.errors import ModelError, ModelNotFound, ModelUnavailable, NoRoom
from serving.models.address import Address, Key, parse
from serving.models.footprint import MemoryUse
from serving.models.model_cache import ModelCache, RepositoryObserver
from serving.models.registry_watcher import RegistryWatcher
from serving.models.resolver import Resolver
from serving.models.sources import CARD, PICTURE, ModelSource
from serving.models.traffic_split import Traffic, challenger

if TYPE_CHECKING:
    from mynah.decoding.model import Model

log = logging.getLogger("mynah.repository")


@dataclass(frozen=True, slots=True)
class ModelLease:
    """A model that stays in memory while the lease is held; `alias` is "" when the request named a version."""

    name: str
    version: str
    alias: str
    model: "Model"


@dataclass(frozen=True, slots=True)
class BotInfo:
    """The versions of a bot's aliases ("" without one), all versions with an alias, and its versions in memory."""

    name: str
    champion: str
    challenger: str
    previous: str
    named: tuple[str, ...]  # the versions with any alias; the champion, the challenger and the previous one first
    loaded: tuple[str, ...]  # the versions in memory


@dataclass(frozen=True, slots=True)
class BotFiles:
    """The card and the picture of a bot's champion, or else of its challenger, on this machine's disk."""

    card: Path | None
    picture: Path | None


class Repository:
    """The bots of a model source. Call everything except `names` on the event loop that called `start`.

    Args:
        source: where the models come from.
        memory: the maximum bytes of models in memory.
        seconds_between_polls: seconds between two reads of the registry's aliases.
        split: the share of a bot's requests that its challenger answers, 0 to 1.
        shadow: the share of the other requests of which the challenger gets a copy, 0 to 1.
        observer: receives loads, evictions and swaps.
        load: loads a model from a checkpoint's folder.
    """

    def __init__(
        self,
        source: ModelSource,
        memory: int,
        seconds_between_polls: float = 2.0,
        split: float = 0.0,
        shadow: float = 0.0,
        observer: RepositoryObserver | None = None,
        load: "Callable[[Path], Model] | None" = None,
    ) -> None:
        self._source = source
        self._traffic = Traffic(split, shadow)
        observer = observer or _NullObserver()
        self._cache = ModelCache(source, memory, load or _load_model, observer)
        self._watcher = RegistryWatcher(source, self._cache, observer, seconds_between_polls)
        self._resolver = Resolver(source, self._cache, self._watcher)

    async def start(self) -> None:
        """Read the aliases, load the bots that the source preloads, and start watching the registry.

        Raises:
            InputError: one of these bots is unknown, has no champion or cannot be loaded.
            PlatformError: the registry is unreachable.
        """
        await asyncio.to_thread(_import_torch)
        await self._watcher.start()
        try:
            await self._load_at_start()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Stop watching and loading, and evict all models."""
        await self._watcher.close()
        await self._cache.close()

    def names(self) -> list[str]:
        """Return the names of all bots that can be requested, loaded or not."""
        return list(self._watcher.names)

    def champions(self) -> list[str]:
        """Return the names of the bots with a champion, which answers at the plain name."""
        return [name for name in self._watcher.names if CHAMPION in self._watcher.serving.get(name, {})]

    @property
    def loaded(self) -> int:
        """The number of versions in memory."""
        return len(self._cache.loaded())

    def memory_use(self) -> MemoryUse:
        """Return the numbers and the bytes of base models and adapters in memory."""
        return self._cache.memory_use()

    def knows(self, name: str) -> bool:
        """Whether a bot with this name exists."""
        return name in self._watcher.serving

    @asynccontextmanager
    async def lease(self, address: str, key: str = "") -> AsyncIterator[ModelLease]:
        """Keep the model at an address in memory for the duration of the context; load it first if necessary.

        Args:
            address: wren, wren@challenger or wren:3.
            key: while traffic is split, requests with the same key get the same version; "" is random.

        Yields:
            The lease.

        Raises:
            InvalidAddress: the text is not an address.
            ModelNotFound: there is no such bot, alias or version.
            ModelUnavailable: it cannot be loaded now.
            RegistryUnavailable: the registry, which knows the version, is unreachable.
        """
        requested = parse(address)
        async with AsyncExitStack() as stack:
            lease = await self._challenger(stack, requested, key) or await self._chosen(stack, requested)
            if requested.name not in self._watcher.serving:  # forgotten while it was being loaded
                self._watcher.forget(requested.name)
                raise ModelNotFound(requested.name, self.names())
            yield lease

    async def locate(self, address: str) -> Key:
        """Return the name and the version at an address, loaded or not. Raises as `lease` does, except ModelUnavailable."""
        return await self._resolver.resolve(parse(address))

    def ready(self, address: str) -> bool:
        """Whether the model at an address is in memory; False also when it does not exist."""
        with contextlib.suppress(ModelError):
            requested = parse(address)
            return self._cache.has((requested.name, requested.version or self._resolver.version_of_alias(requested)))
        return False

    def shadow(self, name: str) -> str | None:
        """Return the challenger's address when it gets a copy of a request to a bot's plain name, or None."""
        version = challenger(self._watcher.serving.get(name, {}))
        if version and (name, version) not in self._cache.failed_gate and self._traffic.is_copied():
            return f"{name}@{CHALLENGER}"
        return None

    def describe(self, name: str) -> BotInfo:
        """Return a bot's versions without a request to the registry. Raises ModelNotFound."""
        aliases = self._resolver.aliases(name)
        champion, candidate, previous = (aliases.get(alias, "") for alias in (CHAMPION, CHALLENGER, PREVIOUS))
        named = dict.fromkeys(filter(None, (champion, candidate, previous, *aliases.values())))
        return BotInfo(name, champion, candidate, previous, tuple(named), tuple(self._cache.versions.get(name, ())))

    async def files(self, name: str) -> BotFiles:
        """Return a bot's card and picture, fetched if possible. Raises ModelNotFound."""
        aliases = self._resolver.aliases(name)
        version = aliases.get(CHAMPION) or aliases.get(CHALLENGER)
        return await asyncio.to_thread(self._files, name, version) if version else BotFiles(None, None)

    async def load(self, address: str) -> None:
        """Load the model at an address before its first request. Raises as `lease` does."""
        async with AsyncExitStack() as stack:
            await self._chosen(stack, parse(address))

    async def unload(self, address: str) -> None:
        """Evict the model at an address, or all versions for a plain name; models in use stay until their last lease ends.

        Raises:
            InvalidAddress: the text is not an address.
            ModelNotFound: there is no such bot, alias or version.
        """
        requested = parse(address)
        self._resolver.aliases(requested.name)
        plain = not requested.alias and not requested.version
        chosen = None if plain else await self._resolver.resolve(requested)
        for key in self._cache.loaded():
            if key == chosen or (plain and key[0] == requested.name):
                self._cache.evict(key)

    def poll_now(self) -> None:
        """Poll the registry now, because it has changed."""
        self._watcher.poll_now()

    async def _challenger(self, stack: AsyncExitStack, requested: Address, key: str) -> ModelLease | None:
        """Return a lease of the challenger when it answers this request; None when not, or when it cannot be loaded."""
        version = challenger(self._watcher.serving.get(requested.name, {}))
        if requested.alias or requested.version or not version or not self._traffic.goes_to_challenger(requested.name, key):
            return None
        candidate = requested.name, version
        if candidate in self._cache.failed_gate:
            return None
        with contextlib.suppress(ModelError):
            model = await stack.enter_async_context(self._cache.acquire(candidate))
            if candidate not in self._cache.failed_gate:
                return ModelLease(*candidate, CHALLENGER, model)
        return None

    async def _chosen(self, stack: AsyncExitStack, requested: Address) -> ModelLease:
        if requested.version:
            key = await self._resolver.resolve(requested)
            return ModelLease(*key, "", await stack.enter_async_context(self._cache.acquire(key)))
        alias = requested.alias or CHAMPION
        while True:
            version = self._resolver.version_of_alias(requested)
            try:
                model = await stack.enter_async_context(self._cache.acquire((requested.name, version)))
                self._watcher.confirm_loaded(requested.name, alias)
                return ModelLease(requested.name, version, alias, model)
            except ModelUnavailable as error:
                if self._resolver.aliases(requested.name).get(alias) != version:
                    continue  # the alias moved during the load
                if isinstance(error, NoRoom) or not self._watcher.revert(requested.name, alias, version):
                    raise

    def _files(self, name: str, version: str) -> BotFiles:
        folder = None
        with contextlib.suppress(MynahError):
            folder = self._source.card_folder(name, version)
        card, picture = (folder / file if folder and (folder / file).is_file() else None for file in (CARD, PICTURE))
        return BotFiles(card, picture)

    async def _load_at_start(self) -> None:
        """Load the source's preloaded bots, or else the only bot. Beyond the memory limit, models are fetched but not loaded."""
        serving, size = self._watcher.serving, 0
        self._cache.quiet = True
        for name in self._source.eager:
            key = name, await self._champion(name)
            if self._cache.used + size > self._cache.memory:
                await asyncio.to_thread(self._source.fetch, *key)
                continue
            try:
                async with self._cache.acquire(key) as model:
                    size = model.own_bytes or model.nbytes  # of the next one, if it is alike
            except ModelUnavailable as error:
                why = self._cache.failure(key)
                raise (
                    why
                    if isinstance(why, MynahError)
                    else PlatformError(error.message, "See the log; if memory is too low, raise it with --memory.")
                ) from error
        self._cache.quiet = False
        if not self._source.eager and len(serving) == 1:
            with contextlib.suppress(ModelError):  # it is logged, and requests get the error
                await self.load(next(iter(serving)))
        if not any(CHAMPION in aliases for aliases in serving.values()):
            log.warning("no bot has a champion yet; promote one with `mynah promote NAME` to serve it")

    async def _champion(self, name: str) -> str:
        if name not in self._watcher.serving:
            await asyncio.to_thread(self._source.versions, name)  # raises the InputError that names the nearest
        version = self._watcher.serving.get(name, {}).get(CHAMPION)
        if not version:
            raise InputError(f"{name} has no champion", f"Promote a version with `mynah promote {name}`.")
        return version


class _NullObserver:
    """An observer that ignores all events."""

    def loaded(self, name: str, seconds: float) -> None: ...
    def evicted(self, name: str) -> None: ...
    def swapped(self, name: str) -> None: ...
    def forgotten(self, name: str) -> None: ...


def _load_model(folder: Path) -> "Model":
    from mynah.decoding.model import load_model

    return load_model(folder)


def _import_torch() -> None:
    """Import torch, which takes two seconds, before the first request."""
    import mynah.decoding.model  # noqa: F401 - for the import of torch
