"""The bots that a server hosts: thousands by name, those in use in memory, and promotions that no reader notices."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.errors import InputError, MynahError, PlatformError
from components.registry import CHALLENGER, CHAMPION, PREVIOUS
from serving.refusals import Refusal, unknown_bot
from serving.repository.address import Address, parse, unknown_alias, unknown_version
from serving.repository.follow import Follower
from serving.repository.shelf import SECONDS_UNTIL_ROOM, RepositoryObserver, Shelf
from serving.repository.sources import CARD, PICTURE, Source
from serving.repository.traffic import Traffic, challenger

if TYPE_CHECKING:
    from components.decoding.model import Model

log = logging.getLogger("mynah.repository")


@dataclass(frozen=True, slots=True)
class Lease:
    """A model that stays in memory while the lease is held; `alias` is how the version was chosen, "" by its number."""

    name: str
    version: str
    alias: str
    model: "Model"


@dataclass(frozen=True, slots=True)
class BotInfo:
    """A bot for who looks at it; versions are "" where there is none."""

    name: str
    champion: str
    challenger: str
    previous: str
    loaded: tuple[str, ...]  # the versions in memory


@dataclass(frozen=True, slots=True)
class BotFiles:
    """README.md of a bot's champion, or else of its challenger, and the picture of what it writes, on this machine's disk."""

    card: Path | None
    picture: Path | None


class Repository:
    """The bots of a `source`, in `memory` bytes. Everything but `names` belongs on the event loop that called `start`."""

    def __init__(
        self,
        source: Source,
        memory: int,
        seconds_between_polls: float = 2.0,
        split: float = 0.0,
        shadow: float = 0.0,
        observer: RepositoryObserver | None = None,
        load: "Callable[[Path], Model] | None" = None,
    ) -> None:
        self._source = source
        self._traffic = Traffic(split, shadow)
        told = observer or _Nobody()
        self._shelf = Shelf(source, memory, load or _load_model, told)
        self._follower = Follower(source, self._shelf, told, seconds_between_polls)
        self._versions: dict[str, asyncio.Task[list[str]]] = {}  # by bot, as they were at the poll number below
        self._versions_at = 0

    async def start(self) -> None:
        """See which bots there are, load those that the source wants at once, and follow the registry from now on.

        Raises InputError when one of them is unknown, has no champion or cannot be loaded, PlatformError when the registry is away.
        """
        await asyncio.to_thread(_import_torch)
        await self._follower.begin()
        try:
            await self._load_at_start()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Stop following and loading, and let every model go."""
        await self._follower.close()
        await self._shelf.close()

    def names(self) -> list[str]:
        """Every bot that can be asked, by name, loaded or not."""
        return list(self._follower.names)

    @property
    def loaded(self) -> int:
        """How many versions are in memory."""
        return len(self._shelf.loaded())

    @property
    def nbytes(self) -> int:
        """Bytes that the models in memory take."""
        return self._shelf.used

    def knows(self, name: str) -> bool:
        """Whether there is a bot of this name."""
        return name in self._follower.serving

    @asynccontextmanager
    async def lease(self, address: str, key: str = "") -> AsyncIterator[Lease]:
        """The model at `address` (wren, wren@challenger, wren:3), in memory while the context lasts, loaded where need be.

        Where traffic is split, requests with one `key` get the same version; "" draws. Raises Refusal: 400 for what is no address,
        404 for a bot, alias or version that is not there, 503 when it cannot be loaded now.
        """
        asked = parse(address)
        async with AsyncExitStack() as stack:
            lease = await self._challenger(stack, asked, key) or await self._chosen(stack, asked)
            if asked.name not in self._follower.serving:  # forgotten while it was being loaded
                self._follower.forget(asked.name)
                raise unknown_bot(asked.name, self.names())
            yield lease

    def ready(self, address: str) -> bool:
        """Whether a request to `address` is answered without loading a model; False also for what is not there."""
        with contextlib.suppress(Refusal):
            asked = parse(address)
            return self._shelf.has((asked.name, asked.version or self._aliases(asked.name).get(asked.alias or CHAMPION, "")))
        return False

    def shadow(self, name: str) -> str | None:
        """The address that gets a copy of a request to the plain `name`, of which nobody waits for the answer; None: no copy."""
        version = challenger(self._follower.serving.get(name, {}))
        if version and (name, version) not in self._shelf.failed_gate and self._traffic.is_copied():
            return f"{name}@{CHALLENGER}"
        return None

    def describe(self, name: str) -> BotInfo:
        """What is known of a bot without asking anybody. Raises Refusal 404."""
        aliases = self._aliases(name)
        champion, rival, previous = (aliases.get(alias, "") for alias in (CHAMPION, CHALLENGER, PREVIOUS))
        return BotInfo(name, champion, rival, previous, tuple(self._shelf.versions.get(name, ())))

    async def files(self, name: str) -> BotFiles:
        """Its card and picture, fetched where they are elsewhere and can be had. Raises Refusal 404 for an unknown bot."""
        aliases = self._aliases(name)
        version = aliases.get(CHAMPION) or aliases.get(CHALLENGER)
        return await asyncio.to_thread(self._files, name, version) if version else BotFiles(None, None)

    async def load(self, address: str) -> None:
        """Load the model at `address` now rather than on its first use. Raises Refusal as `lease` does."""
        async with AsyncExitStack() as stack:
            await self._chosen(stack, parse(address))

    async def unload(self, address: str) -> None:
        """Let the model at `address` go, a plain name's every version; those in use go with their last lease. Raises Refusal."""
        asked = parse(address)
        aliases = self._aliases(asked.name)
        plain = not asked.alias and not asked.version
        for name, version in self._shelf.loaded():
            if name == asked.name and (plain or version == (asked.version or aliases.get(asked.alias))):
                self._shelf.expel((name, version))

    def hint(self) -> None:
        """Something moved in the registry: look now."""
        self._follower.hint()

    async def _challenger(self, stack: AsyncExitStack, asked: Address, key: str) -> Lease | None:
        """A lease of the challenger when this request is its to answer. Its failure is nobody's: the champion answers then."""
        version = challenger(self._follower.serving.get(asked.name, {}))
        if asked.alias or asked.version or not version or not self._traffic.goes_to_challenger(asked.name, key):
            return None
        rival = asked.name, version
        if rival in self._shelf.failed_gate:
            return None
        with contextlib.suppress(Refusal):
            model = await stack.enter_async_context(self._shelf.hold(rival))
            if rival not in self._shelf.failed_gate:
                return Lease(*rival, CHALLENGER, model)
        return None

    async def _chosen(self, stack: AsyncExitStack, asked: Address) -> Lease:
        if asked.version:
            self._aliases(asked.name)
            await self._require_version(asked.name, asked.version)
            return Lease(
                asked.name, asked.version, "", await stack.enter_async_context(self._shelf.hold((asked.name, asked.version)))
            )
        alias = asked.alias or CHAMPION
        while True:
            version = self._pointed(asked)
            try:
                model = await stack.enter_async_context(self._shelf.hold((asked.name, version)))
                self._follower.proved(asked.name, alias)
                return Lease(asked.name, version, alias, model)
            except Refusal as refusal:
                if self._aliases(asked.name).get(alias) != version:
                    continue  # it was replaced while we waited for it
                no_room = refusal.retry_after == SECONDS_UNTIL_ROOM
                if no_room or not self._follower.retreat(asked.name, alias, version):
                    raise

    def _pointed(self, asked: Address) -> str:
        aliases = self._aliases(asked.name)
        version = aliases.get(asked.alias or CHAMPION)
        if not version:
            raise unknown_alias(asked.name, asked.alias, aliases)
        return version

    def _aliases(self, name: str) -> Mapping[str, str]:
        """The aliases of a bot as they are served. Raises Refusal 404 for an unknown one."""
        found = self._follower.serving.get(name)
        if found is None:
            raise unknown_bot(name, self.names())
        return found

    async def _require_version(self, name: str, version: str) -> None:
        """Raise Refusal unless there is such a version: the registry is asked once a bot and poll, whoever asks for what number."""
        if version in self._aliases(name).values() or self._shelf.has((name, version)):
            return
        if self._versions_at != self._follower.polls:
            self._versions, self._versions_at = {}, self._follower.polls
        asking = self._versions.get(name)
        if asking is None:
            asking = self._versions[name] = asyncio.create_task(asyncio.to_thread(self._source.versions, name))
        try:
            known = await asyncio.shield(asking)
        except InputError as error:
            raise unknown_bot(name, self.names()) from error
        except PlatformError as error:
            raise Refusal(503, f"the versions of {name} cannot be looked up now; try again", retry_after=5) from error
        if version not in known:
            raise unknown_version(name, version, known)

    def _files(self, name: str, version: str) -> BotFiles:
        folder = None
        with contextlib.suppress(MynahError):
            folder = self._source.card_folder(name, version)
        card, picture = (folder / file if folder and (folder / file).is_file() else None for file in (CARD, PICTURE))
        return BotFiles(card, picture)

    async def _load_at_start(self) -> None:
        """Those that the source wants; else the only one there is. Past the memory limit, the files' being there is enough."""
        serving, size = self._follower.serving, 0
        self._shelf.quiet = True
        for name in self._source.eager:
            key = name, await self._champion(name)
            if self._shelf.used + size > self._shelf.memory:
                await asyncio.to_thread(self._source.fetch, *key)
                continue
            try:
                async with self._shelf.hold(key) as model:
                    size = model.nbytes
            except Refusal as refusal:
                why = self._shelf.failure(key)
                raise (
                    why
                    if isinstance(why, MynahError)
                    else PlatformError(refusal.message, "See the log; where it is about memory, give it more with --memory.")
                ) from refusal
        self._shelf.quiet = False
        if not self._source.eager and len(serving) == 1:
            with contextlib.suppress(Refusal):  # its readers will hear it, and it is in the log
                await self.load(next(iter(serving)))
        if not any(CHAMPION in aliases for aliases in serving.values()):
            log.warning("no bot has a champion yet; promote one with `mynah promote NAME`, and it is served from then on")

    async def _champion(self, name: str) -> str:
        if name not in self._follower.serving:
            await asyncio.to_thread(self._source.versions, name)  # raises the InputError that names the nearest
        version = self._follower.serving.get(name, {}).get(CHAMPION)
        if not version:
            raise InputError(f"{name} has no champion", f"Promote a version with `mynah promote {name}`.")
        return version


class _Nobody:
    """An observer that does not look."""

    def loaded(self, name: str, seconds: float) -> None: ...
    def evicted(self, name: str) -> None: ...
    def swapped(self, name: str) -> None: ...
    def forgotten(self, name: str) -> None: ...


def _load_model(folder: Path) -> "Model":
    from components.decoding.model import load_model

    return load_model(folder)


def _import_torch() -> None:
    """Two seconds, which no reader shall wait for."""
    import components.decoding.model  # noqa: F401
