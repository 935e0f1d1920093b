# ruff: noqa: N818 - errors are named by condition
"""Errors of the engine and the model cache, independent of protocols.

`serving.protocols.errors` maps the classes to statuses for all protocols.

    ServingError
    ├── EngineError
    │   ├── EngineStopped       the server is stopping
    │   ├── QueueFull           too many requests wait already
    │   └── GenerationFailed    a decoding step raised
    └── ModelError
        ├── InvalidAddress      not a model's address
        ├── ModelNotFound       no bot of this name
        │   ├── AliasNotFound   the bot has no such alias
        │   └── VersionNotFound the bot has no such version
        ├── RegistryUnavailable the registry does not answer
        └── ModelUnavailable
            ├── NoRoom          every model in memory is in use
            ├── ModelTooLarge   the model alone exceeds the memory limit
            └── LoadFailed      its files cannot be fetched or loaded

Errors of a request itself, InvalidParameter and PromptTooLong, are in `mynah.decoding.errors`.
"""

from collections.abc import Iterable

from mynah.registry.versions import CHAMPION
from serving.errors import nearest


class ServingError(Exception):
    """Base class; `message` is shown to the client and contains no path and no prompt."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class EngineError(ServingError):
    """The engine rejects or aborts a request."""


class EngineStopped(EngineError):
    """The engine accepts no more requests, or stopped before this one had finished."""

    def __init__(self) -> None:
        super().__init__("the server is stopping; try again later")


class QueueFull(EngineError):
    """The queue has reached its limit.

    Attributes:
        wait: The estimated seconds until a request is accepted.
    """

    def __init__(self, waiting: int, wait: int) -> None:
        super().__init__(f"{waiting} requests are waiting already, for about {wait} s; try again then")
        self.wait = wait


class GenerationFailed(EngineError):
    """A decoding step raised an exception: a bug or a lost GPU. The log has the traceback; the client gets no details."""

    def __init__(self) -> None:
        super().__init__("internal error")


class ModelError(ServingError):
    """A model cannot be provided."""


class InvalidAddress(ModelError):
    """A text is not the address of a model."""


class ModelNotFound(ModelError):
    """There is no bot with this name; the message names the most similar of the `known` ones."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(f"there is no bot named {name[:80]!r} here; {nearest(name, known)}")


class AliasNotFound(ModelNotFound):
    """A bot has no such alias; `alias` is "" for a plain name without a champion, `aliases` are the bot's."""

    def __init__(self, name: str, alias: str, aliases: Iterable[str]) -> None:
        known = [f"{name}@{other[:80]}" for other in sorted(aliases)]
        has = ", ".join(known[:10]) + (" …" if len(known) > 10 else "") if known else f"versions, such as {name}:1"
        ModelError.__init__(self, f"{name} has no {alias[:80] or CHAMPION}; it has {has}")


class VersionNotFound(ModelNotFound):
    """A bot has no such version; `versions` are the bot's."""

    def __init__(self, name: str, version: str, versions: Iterable[str]) -> None:
        known = list(versions)
        has = ", ".join(known[:10]) + (" …" if len(known) > 10 else "") if known else "none"
        ModelError.__init__(self, f"{name} has no version {version[:20]}; it has {has}")


class RegistryUnavailable(ModelError):
    """The registry, which knows the versions of a bot, is unreachable."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the versions of {name} cannot be looked up now; try again")


class ModelUnavailable(ModelError):
    """A model exists but cannot be loaded into memory."""


class NoRoom(ModelUnavailable):
    """Every model in memory is in use, so none can be evicted until a request ends."""

    def __init__(self) -> None:
        super().__init__("every model in memory is answering; try again in a moment")


class ModelTooLarge(ModelUnavailable):
    """One model needs more memory than is configured for all models."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is too large for this server's memory; the operator can raise it with --memory")


class LoadFailed(ModelUnavailable):
    """A version cannot be fetched or loaded.

    Attributes:
        wait: Seconds after which to try again.
    """

    def __init__(self, message: str, wait: int) -> None:
        super().__init__(message)
        self.wait = wait
