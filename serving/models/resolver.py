"""Which version an address stands for. Every protocol and route asks here, so that what answers requests has metadata and readiness too."""

import asyncio
from collections.abc import Mapping

from mynah.core.errors import InputError, PlatformError
from mynah.registry.versions import CHAMPION
from serving.engine.errors import AliasNotFound, ModelNotFound, RegistryUnavailable, VersionNotFound
from serving.models.address import Address, Key
from serving.models.model_cache import ModelCache
from serving.models.registry_watcher import RegistryWatcher
from serving.models.sources import ModelSource


class Resolver:
    """Looks addresses up among the aliases that are served, and versions in the registry. Call it on the event loop.

    Args:
        source: where the models come from.
        cache: the models in memory, whose versions exist without asking the source.
        watcher: the versions of every alias.
    """

    def __init__(self, source: ModelSource, cache: ModelCache, watcher: RegistryWatcher) -> None:
        self._source, self._cache, self._watcher = source, cache, watcher
        self._versions: dict[str, asyncio.Task[list[str]]] = {}  # by bot, as of poll number `_versions_at`
        self._versions_at = 0

    async def resolve(self, requested: Address) -> Key:
        """Return the name and the version that an address stands for.

        Args:
            requested: a bot and an alias or a version of it; without both, the champion.

        Raises:
            ModelNotFound: there is no such bot, alias or version.
            RegistryUnavailable: the registry, which knows the version, is unreachable.
        """
        if not requested.version:
            return requested.name, self.version_of_alias(requested)
        await self._require_version(requested.name, requested.version)
        return requested.name, requested.version

    def version_of_alias(self, requested: Address) -> str:
        """Return the version of an address's alias. Raises ModelNotFound."""
        aliases = self.aliases(requested.name)
        version = aliases.get(requested.alias or CHAMPION)
        if not version:
            raise AliasNotFound(requested.name, requested.alias, aliases)
        return version

    def aliases(self, name: str) -> Mapping[str, str]:
        """Return the served versions of a bot's aliases. Raises ModelNotFound."""
        aliases = self._watcher.serving.get(name)
        if aliases is None:
            raise ModelNotFound(name, self._watcher.names)
        return aliases

    async def _require_version(self, name: str, version: str) -> None:
        """Raise VersionNotFound unless a version exists. The registry is requested at most once per bot and poll."""
        if version in self.aliases(name).values() or self._cache.has((name, version)):
            return
        if self._versions_at != self._watcher.polls:
            self._versions, self._versions_at = {}, self._watcher.polls
        lookup = self._versions.get(name)
        if lookup is None:
            lookup = self._versions[name] = asyncio.create_task(asyncio.to_thread(self._source.versions, name))
        try:
            known = await asyncio.shield(lookup)
        except InputError as error:
            raise ModelNotFound(name, self._watcher.names) from error
        except PlatformError as error:
            raise RegistryUnavailable(name) from error
        if version not in known:
            raise VersionNotFound(name, version, known)
