"""Watches the registry's aliases and replaces served versions without interrupting requests.

It polls, because MLflow retries a webhook for seconds only, so webhooks can be lost; a webhook triggers a poll earlier.
"""

import asyncio
import bisect
import contextlib
import logging
from collections.abc import Iterable, Mapping

from mynah.core.errors import MynahError
from mynah.core.progress import strip_control_chars
from mynah.registry.versions import CHAMPION
from serving.engine.errors import ModelUnavailable
from serving.models.address import Key
from serving.models.model_cache import ModelCache, RepositoryObserver
from serving.models.sources import Aliases, ModelSource

MAX_CHECKED = 8  # bots per poll whose versions are checked; each is a request to the registry, which delays the next poll
log = logging.getLogger("mynah.repository")


class RegistryWatcher:
    """The version of every alias of every bot.

    `serving` has the versions that answer requests, `_wanted` those of the registry. They differ while a new version is being loaded.
    """

    def __init__(self, source: ModelSource, cache: ModelCache, observer: RepositoryObserver, seconds: float) -> None:
        self.serving: dict[str, dict[str, str]] = {}
        self.names: list[str] = []
        self.polls = 0
        self._source, self._cache, self._observer, self._seconds = source, cache, observer, seconds
        self._wanted: dict[str, Mapping[str, str]] = {}
        self._swaps: dict[Key, asyncio.Task[None]] = {}  # by bot and alias
        self._stuck: dict[Key, str] = {}  # by bot and alias: the version that cannot be loaded, which is logged once
        self._before: dict[Key, str] = {}  # by bot and alias: the version served before one that was never loaded
        self._next_check = ""  # the bot whose versions without an alias are checked next
        self._is_unreachable = False
        self._poll_requested = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Poll once, and start polling. Raises PlatformError when the registry is unreachable."""
        await asyncio.to_thread(self._source.prepare)
        self._apply(await asyncio.to_thread(self._source.aliases))
        if self._source.is_dynamic:
            self._task = asyncio.create_task(self._poll_forever())

    async def close(self) -> None:
        """Stop polling."""
        tasks = [*self._swaps.values(), *([self._task] if self._task else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def poll_now(self) -> None:
        """Poll the registry now."""
        self._poll_requested.set()

    def forget(self, name: str) -> None:
        """Stop serving a bot that no longer exists; its models are evicted after their last users."""
        self.serving.pop(name, None)
        self._cache.forget(name)
        self._observer.forgotten(name)
        for known in (self._stuck, self._before):
            for key in [key for key in known if key[0] == name]:
                del known[key]

    def confirm_loaded(self, name: str, alias: str) -> None:
        """Record that an alias's version was loaded, so that `revert` no longer applies."""
        self._before.pop((name, alias), None)

    def revert(self, name: str, alias: str, version: str) -> bool:
        """Serve the previous version again, because a version cannot be loaded.

        Args:
            name: the bot's name.
            alias: the alias.
            version: the version that cannot be loaded.

        Returns:
            False when there is no previous version.
        """
        before = self._before.pop((name, alias), None)
        serving = self.serving.get(name, {})
        if before is None or serving.get(alias) != version:
            return False
        self._report_stuck(name, alias, before, version)
        serving[alias] = before
        return True

    async def _poll_forever(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._seconds):
                    await self._poll_requested.wait()
            self._poll_requested.clear()
            try:
                await self._poll()
            except Exception:  # a bug; serving and polling continue
                log.exception("polling the registry failed")

    async def _poll(self) -> None:
        try:
            aliases = await asyncio.to_thread(self._source.aliases)
        except MynahError as error:
            if not self._is_unreachable:
                log.warning(
                    "the registry is unreachable; the last known versions are served: %s", strip_control_chars(error.problem)
                )
            self._is_unreachable = True
            return
        if self._is_unreachable:
            log.warning("the registry is reachable again")
        self._is_unreachable = False
        self._apply(aliases)
        await self._check_unnamed()

    def _apply(self, wanted: Aliases) -> None:
        """Start serving what the registry's aliases name."""
        removed = self._wanted.keys() - wanted.keys()
        self._wanted = dict(wanted)
        self.polls += 1
        for name, aliases in wanted.items():
            if self.serving.get(name) != aliases:
                self._move(name, aliases)
        for name in removed:
            log.warning("%s was removed from the registry and is no longer served", name)
            self.forget(name)
        self.names = sorted(name for name, aliases in wanted.items() if aliases)

    def _move(self, name: str, wanted: Mapping[str, str]) -> None:
        serving = self.serving.setdefault(name, {})
        old = dict(serving)
        for alias in serving.keys() - wanted.keys():
            del serving[alias]
        for alias, version in wanted.items():
            now = serving.get(alias)
            if now == version:
                continue
            cold = now is not None and not self._cache.has((name, now))
            untried = self._stuck.get((name, alias)) != version or (now and self._cache.failure((name, now)))
            if now is None or self._cache.has((name, version)) or (cold and untried):
                before = self._before.get((name, alias), now)
                self._point(name, alias, version)
                if cold and before:  # the first request will show whether the new version can be loaded
                    self._before[name, alias] = before
            elif cold:
                continue  # it cannot be loaded; it is tried again when another model can answer meanwhile
            elif (name, alias) not in self._swaps:
                swap = self._swaps[name, alias] = asyncio.create_task(self._swap(name, alias, now, version))
                swap.add_done_callback(lambda _, key=(name, alias): self._swaps.pop(key, None))  # type: ignore[misc] # mypy infers no type of a default
        self._drop_unnamed(name, old.values())

    async def _swap(self, name: str, alias: str, old: str, version: str) -> None:
        """Load the new version while the old one answers, and switch once it is warmed up."""
        try:
            async with self._cache.acquire((name, version), replaced=(name, old)):
                if self._wanted.get(name, {}).get(alias) == version:  # otherwise the alias has moved again or was removed
                    self._point(name, alias, version)
                self._drop_unnamed(name, [old, version])
        except ModelUnavailable:
            self._report_stuck(name, alias, old, version)

    def _report_stuck(self, name: str, alias: str, old: str, version: str) -> None:
        if self._stuck.get((name, alias)) != version:
            log.warning("version %s stays %s of %s, because version %s cannot be loaded", old, alias, name, version)
        self._stuck[name, alias] = version

    def _point(self, name: str, alias: str, version: str) -> None:
        old = self.serving[name].get(alias)
        self.serving[name][alias] = version
        self._stuck.pop((name, alias), None)
        self._before.pop((name, alias), None)
        if alias == CHAMPION and old:
            log.info("version %s of %s replaces version %s", version, name, old)
            self._observer.swapped(name)

    def _drop_unnamed(self, name: str, versions: Iterable[str]) -> None:
        for version in versions:
            if not self._is_named(name, version):
                self._cache.evict_when_idle((name, version))

    async def _check_unnamed(self) -> None:
        """Evict versions requested by number that were deleted from the registry; no alias reports that. Checks MAX_CHECKED bots."""
        unnamed = [(name, version) for name, version in self._cache.loaded() if not self._is_named(name, version)]
        bots = sorted({name for name, _ in unnamed})
        turn = bisect.bisect_left(bots, self._next_check)
        bots = [*bots[turn:], *bots[:turn]]
        self._next_check = bots[MAX_CHECKED] if len(bots) > MAX_CHECKED else ""
        for name in bots[:MAX_CHECKED]:
            with contextlib.suppress(MynahError):
                existing = await asyncio.to_thread(self._source.versions, name)
                for key in unnamed:
                    if key[0] == name and key[1] not in existing:
                        self._cache.forget(*key)
                        await asyncio.to_thread(self._source.discard, *key)

    def _is_named(self, name: str, version: str) -> bool:
        return version in self.serving.get(name, {}).values() or version in self._wanted.get(name, {}).values()
