"""Request handling shared by all protocols: check access, lease the bot's model, run the engine and clean up."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, MutableMapping
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mynah.decoding.errors import PromptTooLong
from serving.auth.middleware import caller_of
from serving.engine.errors import AliasNotFound, InvalidAddress, ModelNotFound, ServingError, VersionNotFound
from serving.errors import ApiError

if TYPE_CHECKING:
    from mynah.decoding.request import GenerationRequest
    from serving.auth.middleware import Caller
    from serving.engine.engine import Engine
    from serving.engine.stream import Answer, Stream
    from serving.models.repository import ModelLease, Repository

MAX_SHADOW_REQUESTS = 4  # shadow requests that a challenger runs at a time
STOPPING = "the server is stopping; try again later"


@dataclass(frozen=True, slots=True)
class RequestContext:
    """A request's context: the name of its protocol, the ASGI state with its caller, and its key for traffic splitting.

    Requests with the same `key` are answered by the same version while traffic is split.
    """

    protocol: str
    state: MutableMapping[str, Any] = field(default_factory=dict)
    key: str = ""

    @property
    def caller(self) -> "Caller | None":
        """The authenticated caller; None without authentication."""
        return caller_of(self.state)

    def count(self, tokens: int) -> None:
        """Count generated tokens, for the caller's limit, the metrics and the log."""
        self.state["tokens"] = self.state.get("tokens", 0) + tokens


# For code that the protocol's libraries call without the request.
REQUEST_CONTEXT: ContextVar[RequestContext] = ContextVar("request_context")


@dataclass(frozen=True, slots=True)
class RunningRequest:
    """A running request: its lease of the model and the stream of its answer."""

    lease: "ModelLease"
    stream: "Stream"

    @property
    def address(self) -> str:
        """The version that answers, such as wren:3; the value of X-Mynah-Version."""
        return f"{self.lease.name}:{self.lease.version}"


class Service:
    """Engine and repository behind one interface for the protocols; `running` counts the running requests."""

    def __init__(self, engine: "Engine", repository: "Repository") -> None:
        self.engine = engine
        self.repository = repository
        self.draining = False
        self.running = 0
        self._shadow_tasks: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def ready(self) -> bool:
        """Whether the server accepts requests now."""
        return not self.draining and self.engine.alive

    @property
    def alive(self) -> bool:
        """Whether this process can still recover; False once its GPU has failed."""
        return not self.engine.device_lost

    def names(self, caller: "Caller | None" = None) -> list[str]:
        """Return the names of the bots that answer the caller at their plain name; None can query all."""
        return [name for name in self.repository.champions() if caller is None or caller.can_access(name)]

    async def locate(self, address: str, caller: "Caller | None") -> tuple[str, str]:
        """Return the name and the version that answer requests to an address, loaded or not.

        Args:
            address: the bot's address.
            caller: the authenticated caller, or None.

        Raises:
            ModelNotFound, ApiError: (404) no bot is there; the message names only what the caller can query.
            RegistryUnavailable: the registry, which knows the version, is unreachable.
        """
        with self._not_found_for(address, caller):
            try:
                return await self.repository.locate(address)
            except InvalidAddress as error:  # a look-up says of any text whether a bot is there
                raise ApiError(404, error.message, param="model") from error

    @contextmanager
    def _not_found_for(self, address: str, caller: "Caller | None") -> Iterator[None]:
        """Reword the errors of the block, so that they name no bot, alias or version that the caller cannot query."""
        try:
            yield
        except (AliasNotFound, VersionNotFound) as error:
            name = name_of(address)
            if caller is None or caller.can_access(name):
                raise
            raise ApiError(404, f"{name} has no {address[len(name) + 1 :][:80]!r}", param="model") from error
        except ModelNotFound as error:
            raise ModelNotFound(name_of(address), self.names(caller)) from error

    @asynccontextmanager
    async def open(self, address: str, generation: "GenerationRequest", context: RequestContext) -> AsyncIterator[RunningRequest]:
        """Run a request for the duration of the context; leaving it early cancels the generation.

        Args:
            address: the bot's address.
            generation: the prompts and how to continue them.
            context: the request's context.

        Yields:
            The running request with its stream.

        Raises:
            ApiError: 403 without access, 503 when the server stops.
            ServingError, PromptTooLong: the engine or the repository rejects the request.
        """
        if self.draining:
            raise ApiError(503, STOPPING)
        require_access(address, context.caller)
        context.state["prompts"] = generation.prompts  # logged only if the operator enables it
        self._start_shadow(address, generation)
        self.running += 1
        self._idle.clear()
        try:
            with self._not_found_for(address, context.caller):
                async with self.repository.lease(address, context.key) as lease:
                    context.state.update(bot=lease.name, version=lease.version)
                    stream = self.engine.submit(lease.model, generation, lease.name)
                    try:
                        yield RunningRequest(lease, stream)
                    finally:
                        stream.cancel()
                        context.count(stream.written)  # also for a cancelled answer
        finally:
            self.running -= 1
            if not self.running:
                self._idle.set()

    async def answer(
        self, address: str, generation: "GenerationRequest", context: RequestContext
    ) -> "tuple[RunningRequest, list[list[Answer]]]":
        """Run a request and return its answers.

        Args:
            address: the bot's address.
            generation: the prompts and how to continue them.
            context: the request's context.

        Returns:
            The request, and a list of answers for each prompt.

        Raises:
            ApiError, ServingError, PromptTooLong: as `open` does.
        """
        async with self.open(address, generation, context) as running:
            return running, await running.stream.answers()

    async def drain(self, grace: float) -> None:
        """Reject new requests and let running ones finish within `grace` seconds; then stop."""
        self.draining = True
        deadline = asyncio.get_running_loop().time() + grace
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self._idle.wait()
        await self.close(max(0.0, deadline - asyncio.get_running_loop().time()))

    async def close(self, grace: float = 0.0) -> None:
        """Cancel running requests after `grace` seconds and stop the engine."""
        self.draining = True
        for task in self._shadow_tasks:
            task.cancel()
        await self.engine.close(grace)

    def _start_shadow(self, address: str, generation: "GenerationRequest") -> None:
        """Start a copy of the request on the challenger when traffic is shadowed and no request waits."""
        if len(self._shadow_tasks) >= MAX_SHADOW_REQUESTS or self.engine.waiting:
            return
        challenger = self.repository.shadow(address)
        if challenger:
            task = asyncio.create_task(self._run_shadow(challenger, generation))
            self._shadow_tasks.add(task)
            task.add_done_callback(self._shadow_tasks.discard)

    async def _run_shadow(self, address: str, generation: "GenerationRequest") -> None:
        with suppress(ServingError, PromptTooLong):  # the repository logged it, and no client waits
            async with self.repository.lease(address) as lease:
                stream = self.engine.submit(lease.model, generation, lease.name)
                try:
                    await stream.answers()
                finally:
                    stream.cancel()


def name_of(address: str) -> str:
    """Return the bot's name in an address: wren for wren, wren@challenger and wren:3."""
    return address.partition("@")[0].partition(":")[0]


def require_access(address: str, caller: "Caller | None") -> None:
    """Require that a caller can query a bot; without authentication everybody can.

    Args:
        address: the bot's address.
        caller: the authenticated caller, or None.

    Raises:
        AccessDenied: (403) the caller cannot query it.
    """
    if caller is not None:
        caller.require(name_of(address))


def require_admin(state: Mapping[str, Any]) -> None:
    """Raise ApiError (403) unless the caller has an admin key; without authentication nobody has."""
    caller = caller_of(state)
    if caller is None:
        raise ApiError(403, "this needs an admin key, and the server runs without keys")
    caller.require_admin()
