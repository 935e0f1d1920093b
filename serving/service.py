"""What every protocol does with a request: let it in, lease its bot, give its prompts to the engine, and clean up after it."""

import asyncio
from collections.abc import AsyncIterator, Mapping, MutableMapping
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from serving.refusals import Refusal, unknown_bot

if TYPE_CHECKING:
    from serving.engine import Engine
    from serving.engine.ask import Ask
    from serving.engine.stream import Answer, Stream
    from serving.repository import Lease, Repository

MOST_COPIES = 4  # requests that a challenger works on beside those of readers
STOPPING = "the server is stopping; try again later"


@dataclass(frozen=True, slots=True)
class Call:
    """What is known of a request beside what it asks: its protocol's name, the ASGI state with its caller, and its split key.

    Requests with the same `key` get the same of two versions, where traffic is split between them.
    """

    protocol: str
    state: MutableMapping[str, Any] = field(default_factory=dict)
    key: str = ""

    @property
    def caller(self) -> Any:  # noqa: ANN401 - a Caller of the doors, or None where there are none
        """Who asks."""
        return self.state.get("caller")

    def count(self, tokens: int) -> None:
        """Note so many tokens of an answer, for its caller's tokens a minute, the metrics and the log."""
        self.state["tokens"] = self.state.get("tokens", 0) + tokens


CALL: ContextVar[Call] = ContextVar("call")  # the way of a Call through KServe's DataPlane, which has no room for it


@dataclass(frozen=True, slots=True)
class Opened:
    """A request that runs: its lease of the model, and the stream of its answer."""

    lease: "Lease"
    stream: "Stream"

    @property
    def address(self) -> str:
        """Which version answers, such as wren:3; what X-Mynah-Version says."""
        return f"{self.lease.name}:{self.lease.version}"


class Service:
    """The engine and the repository, as the protocols see them; `running` counts the requests between them."""

    def __init__(self, engine: "Engine", repository: "Repository") -> None:
        self.engine = engine
        self.repository = repository
        self.draining = False
        self.running = 0
        self._copies: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def ready(self) -> bool:
        """Whether a request that comes now is answered."""
        return not self.draining and self.engine.alive

    @property
    def alive(self) -> bool:
        """Whether it is of any use to wait for this process."""
        return not self.engine.device_lost

    def names(self, caller: Any = None) -> list[str]:  # noqa: ANN401 - see Call.caller
        """The bots that the caller may ask, by name."""
        names = self.repository.names()
        return names if caller is None else [name for name in names if caller.may(name)]

    def known(self, address: str, caller: Any) -> str:  # noqa: ANN401 - see Call.caller
        """The bot's name in `address`. Raises Refusal (404), with names that the caller may ask, when there is no such bot."""
        name = name_of(address)
        if not self.repository.knows(name):
            raise unknown_bot(name, self.names(caller))
        return name

    @asynccontextmanager
    async def open(self, address: str, ask: "Ask", call: Call) -> AsyncIterator[Opened]:
        """The answer to `ask` by the bot at `address`, while the context lasts; leaving it early cancels what still runs.

        Raises Refusal: 400, 403, 404, or 503 when the server stops, is full or cannot load the bot.
        """
        if self.draining:
            raise Refusal(503, STOPPING)
        allow(address, call.caller)
        call.state["prompts"] = ask.prompts  # the log leaves them out unless the operator wants them
        self._copy(address, ask)
        self.running += 1
        self._idle.clear()
        try:
            async with self.repository.lease(address, call.key) as lease:
                call.state.update(bot=lease.name, version=lease.version)
                stream = self.engine.submit(lease.model, ask, lease.name)
                try:
                    yield Opened(lease, stream)
                finally:
                    stream.cancel()
                    call.count(stream.written)  # also of an answer that was given up
        finally:
            self.running -= 1
            if not self.running:
                self._idle.set()

    async def answer(self, address: str, ask: "Ask", call: Call) -> "tuple[Opened, list[list[Answer]]]":
        """The whole answer: a list for each prompt. Raises as `open` does."""
        async with self.open(address, ask, call) as opened:
            return opened, await opened.stream.answers()

    async def drain(self, grace: float) -> None:
        """Refuse what is new, and let what runs finish within `grace` seconds; then end it."""
        self.draining = True
        over = asyncio.get_running_loop().time() + grace
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self._idle.wait()
        await self.close(max(0.0, over - asyncio.get_running_loop().time()))

    async def close(self, grace: float = 0.0) -> None:
        """End what runs after `grace` seconds, and the engine with it."""
        self.draining = True
        for copy in self._copies:
            copy.cancel()
        await self.engine.close(grace)

    def _copy(self, address: str, ask: "Ask") -> None:
        """Give the challenger a copy of the request where traffic is shadowed, and there is nobody whom that would keep waiting."""
        if len(self._copies) >= MOST_COPIES or self.engine.waiting:
            return
        rival = self.repository.shadow(address)
        if rival:
            copy = asyncio.create_task(self._unanswered(rival, ask))
            self._copies.add(copy)
            copy.add_done_callback(self._copies.discard)

    async def _unanswered(self, address: str, ask: "Ask") -> None:
        with suppress(Refusal):  # it is in the repository's log, and nobody waits for it
            async with self.repository.lease(address) as lease:
                stream = self.engine.submit(lease.model, ask, lease.name)
                try:
                    await stream.answers()
                finally:
                    stream.cancel()


def name_of(address: str) -> str:
    """The bot's name in an address: wren of wren, wren@challenger and wren:3."""
    return address.partition("@")[0].partition(":")[0]


def allow(address: str, caller: Any) -> None:  # noqa: ANN401 - see Call.caller
    """Raise Refusal (403) unless the caller's key is good for the bot; without doors everybody may."""
    if caller is not None:
        caller.require(name_of(address))


def allow_admin(state: Mapping[str, Any]) -> None:
    """Raise Refusal (403) unless the caller's key is an admin's; without doors nobody's is."""
    caller = state.get("caller")
    if caller is None:
        raise Refusal(403, "this takes an admin key, and the server was started without keys")
    caller.require_admin()
