"""Following a registry: whose aliases moved, and the new version in the old one's place without a reader's noticing.

Aliases are looked at again and again, as MLflow's webhooks are hints: retried for seconds, and lost.
"""

import asyncio
import bisect
import contextlib
import logging
from collections.abc import Iterable, Mapping

from components.errors import MynahError
from components.events import visible
from components.registry import CHAMPION
from serving.refusals import Refusal
from serving.repository.shelf import Key, RepositoryObserver, Shelf
from serving.repository.sources import Aliases, Source

CHECKED_AT_ONCE = 8  # bots a poll; each is a request to the registry, and aliases are to be seen within seconds
log = logging.getLogger("mynah.repository")


class Follower:
    """Which version every alias of every bot stands for.

    `serving` is what readers get; `_wanted` what the registry says. They differ while a new version is being loaded.
    """

    def __init__(self, source: Source, shelf: Shelf, observer: RepositoryObserver, seconds: float) -> None:
        self.serving: dict[str, dict[str, str]] = {}
        self.names: list[str] = []
        self.polls = 0
        self._source, self._shelf, self._observer, self._seconds = source, shelf, observer, seconds
        self._wanted: dict[str, Mapping[str, str]] = {}
        self._swaps: dict[Key, asyncio.Task[None]] = {}  # by bot and alias
        self._stuck: dict[Key, str] = {}  # by bot and alias: the version that cannot be loaded, told once
        self._before: dict[Key, str] = {}  # by bot and alias: what served before a version that nobody has loaded yet
        self._next_check = ""  # the bot whose unnamed versions are looked at next
        self._away = False
        self._hinted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Look for the first time, and from now on. Raises PlatformError when the registry is away."""
        await asyncio.to_thread(self._source.prepare)
        self._apply(await asyncio.to_thread(self._source.aliases))
        if self._source.moves:
            self._task = asyncio.create_task(self._follow())

    async def close(self) -> None:
        """Stop."""
        tasks = [*self._swaps.values(), *([self._task] if self._task else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def hint(self) -> None:
        """Look now."""
        self._hinted.set()

    def forget(self, name: str) -> None:
        """Let a bot go that is no more, from memory with its last reader."""
        self.serving.pop(name, None)
        self._shelf.forget(name)
        self._observer.forgotten(name)
        for known in (self._stuck, self._before):
            for key in [key for key in known if key[0] == name]:
                del known[key]

    def proved(self, name: str, alias: str) -> None:
        """The version that an alias points to has been loaded: there is no going back from it."""
        self._before.pop((name, alias), None)

    def retreat(self, name: str, alias: str, version: str) -> bool:
        """Serve again what served before `version`, which cannot be loaded. False when there is nothing to go back to."""
        before = self._before.pop((name, alias), None)
        serving = self.serving.get(name, {})
        if before is None or serving.get(alias) != version:
            return False
        self._tell_stuck(name, alias, before, version)
        serving[alias] = before
        return True

    async def _follow(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._seconds):
                    await self._hinted.wait()
            self._hinted.clear()
            try:
                await self._look()
            except Exception:  # a bug; the next look may do without it, and what is served is
                log.exception("looking at the registry failed")

    async def _look(self) -> None:
        try:
            found = await asyncio.to_thread(self._source.aliases)
        except MynahError as error:
            if not self._away:
                log.warning("the registry is away; what is known of it is served meanwhile: %s", visible(error.problem))
            self._away = True
            return
        if self._away:
            log.warning("the registry is back")
        self._away = False
        self._apply(found)
        await self._check_unnamed()

    def _apply(self, found: Aliases) -> None:
        """Do as the registry says."""
        gone = self._wanted.keys() - found.keys()
        self._wanted = dict(found)
        self.polls += 1
        for name, aliases in found.items():
            if self.serving.get(name) != aliases:
                self._move(name, aliases)
        for name in gone:
            log.warning("%s is no more in the registry, and is no longer served", name)
            self.forget(name)
        self.names = sorted(name for name, aliases in found.items() if aliases)

    def _move(self, name: str, wanted: Mapping[str, str]) -> None:
        serving = self.serving.setdefault(name, {})
        old = dict(serving)
        for alias in serving.keys() - wanted.keys():
            del serving[alias]
        for alias, version in wanted.items():
            now = serving.get(alias)
            if now == version:
                continue
            cold = now is not None and not self._shelf.has((name, now))
            untried = self._stuck.get((name, alias)) != version or (now and self._shelf.failure((name, now)))
            if now is None or self._shelf.has((name, version)) or (cold and untried):
                before = self._before.get((name, alias), now)
                self._point(name, alias, version)
                if cold and before:  # its first reader will see whether the new one can be loaded
                    self._before[name, alias] = before
            elif cold:
                continue  # it cannot; it is tried again when there is a model to answer meanwhile
            elif (name, alias) not in self._swaps:
                swap = self._swaps[name, alias] = asyncio.create_task(self._swap(name, alias, now, version))
                swap.add_done_callback(lambda _, key=(name, alias): self._swaps.pop(key, None))  # type: ignore[misc]
        self._drop_unnamed(name, old.values())

    async def _swap(self, name: str, alias: str, old: str, version: str) -> None:
        """Load the new version beside the old, and put it in its place once it is warm."""
        try:
            async with self._shelf.hold((name, version), beside=(name, old)):
                if self._wanted.get(name, {}).get(alias) == version:  # else it moved on meanwhile, or is no more
                    self._point(name, alias, version)
                self._drop_unnamed(name, [old, version])
        except Refusal:
            self._tell_stuck(name, alias, old, version)

    def _tell_stuck(self, name: str, alias: str, old: str, version: str) -> None:
        if self._stuck.get((name, alias)) != version:
            log.warning("version %s stays %s of %s, for version %s cannot be loaded", old, alias, name, version)
        self._stuck[name, alias] = version

    def _point(self, name: str, alias: str, version: str) -> None:
        old = self.serving[name].get(alias)
        self.serving[name][alias] = version
        self._stuck.pop((name, alias), None)
        self._before.pop((name, alias), None)
        if alias == CHAMPION and old:
            log.info("%s is answered by version %s, and was by %s", name, version, old)
            self._observer.swapped(name)

    def _drop_unnamed(self, name: str, versions: Iterable[str]) -> None:
        for version in versions:
            if not self._is_named(name, version):
                self._shelf.drop((name, version))

    async def _check_unnamed(self) -> None:
        """Let go of versions that were asked for by their number and have been deleted since: no alias tells. A few bots a poll."""
        unnamed = [(name, version) for name, version in self._shelf.loaded() if not self._is_named(name, version)]
        bots = sorted({name for name, _ in unnamed})
        turn = bisect.bisect_left(bots, self._next_check)
        bots = [*bots[turn:], *bots[:turn]]
        self._next_check = bots[CHECKED_AT_ONCE] if len(bots) > CHECKED_AT_ONCE else ""
        for name in bots[:CHECKED_AT_ONCE]:
            with contextlib.suppress(MynahError):
                there = await asyncio.to_thread(self._source.versions, name)
                for key in unnamed:
                    if key[0] == name and key[1] not in there:
                        self._shelf.forget(*key)
                        await asyncio.to_thread(self._source.discard, *key)

    def _is_named(self, name: str, version: str) -> bool:
        return version in self.serving.get(name, {}).values() or version in self._wanted.get(name, {}).values()
