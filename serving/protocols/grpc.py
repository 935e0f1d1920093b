"""v2 over gRPC: inference.GRPCInferenceService, on a port of its own, with the limits, checks and answers of REST.

https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc  # type: ignore[import-untyped]
from grpc import aio

from components.errors import PlatformError
from serving.protocols.grpc_messages import address_of, read, written
from serving.protocols.kserve_import import InvalidInput, messages, stubs
from serving.protocols.kserve_models import BotDataPlane
from serving.protocols.kserve_routes import SESSION_HEADER
from serving.refusals import Refusal
from serving.service import CALL, Call, allow_admin

if TYPE_CHECKING:
    from serving.doors import Doors
    from serving.signals import Signals

CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
PROBES = ("ServerLive", "ServerReady", "ModelReady")  # without a key and unseen by the log, as over REST
CLIENT_LEFT = 499
log = logging.getLogger("mynah.grpc")


class Servicer(stubs.GRPCInferenceServiceServicer):  # type: ignore[misc]  # kserve is untyped
    """The service's methods, each around KServe's DataPlane."""

    def __init__(self, plane: BotDataPlane, doors: "Doors", signals: "Signals", deadline: float) -> None:
        self._plane = plane
        self._doors = doors
        self._signals = signals
        self._deadline = deadline

    async def ServerLive(self, request: Any, context: Any) -> Any:  # noqa: ANN401, N802, D102
        return messages.ServerLiveResponse(live=self._plane.service.alive)

    async def ServerReady(self, request: Any, context: Any) -> Any:  # noqa: ANN401, N802, D102
        return messages.ServerReadyResponse(ready=await self._plane.ready())

    async def ServerMetadata(self, request: Any, context: Any) -> Any:  # noqa: ANN401, N802, D102
        return messages.ServerMetadataResponse(**self._plane.metadata())

    async def ModelReady(self, request: Any, context: Any) -> Any:  # noqa: ANN401, N802, D102
        async def ready(_: Call) -> Any:  # noqa: ANN401
            return messages.ModelReadyResponse(ready=await self._plane.model_ready(address_of(request.name, request.version)))

        return await self._run("ModelReady", context, ready)

    async def ModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: ANN401, N802, D102
        async def metadata(_: Call) -> Any:  # noqa: ANN401
            found = await self._plane.model_metadata(address_of(request.name, request.version))
            return messages.ModelMetadataResponse(**found)

        return await self._run("ModelMetadata", context, metadata)

    async def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: ANN401, N802, D102
        async def infer(_: Call) -> Any:  # noqa: ANN401
            address = address_of(request.model_name, request.model_version)
            answer, headers = await self._plane.infer(address, read(request, address))
            context.set_trailing_metadata([(name.lower(), value) for name, value in headers.items()])
            return written(answer, raw=bool(request.raw_input_contents))

        return await self._run("ModelInfer", context, infer)

    async def RepositoryModelLoad(self, request: Any, context: Any) -> Any:  # noqa: ANN401, N802, D102
        async def load(call: Call) -> Any:  # noqa: ANN401
            allow_admin(call.state)
            await self._plane.service.repository.load(request.model_name)
            return messages.RepositoryModelLoadResponse(model_name=request.model_name, isLoaded=True)

        return await self._run("RepositoryModelLoad", context, load)

    async def RepositoryModelUnload(self, request: Any, context: Any) -> Any:  # noqa: ANN401, N802, D102
        async def unload(call: Call) -> Any:  # noqa: ANN401
            allow_admin(call.state)
            await self._plane.service.repository.unload(request.model_name)
            return messages.RepositoryModelUnloadResponse(model_name=request.model_name, isUnloaded=True)

        return await self._run("RepositoryModelUnload", context, unload)

    async def _run(self, method: str, context: Any, work: Callable[[Call], Awaitable[Any]]) -> Any:  # noqa: ANN401
        """Do `work` at the doors' and the signals' eyes; its refusals become status codes. A client that leaves cancels it."""
        headers = {name: value for name, value in context.invocation_metadata() if isinstance(value, str)}
        call = Call("grpc", {}, headers.get(SESSION_HEADER, "")[:200])
        watched = self._signals if method not in PROBES else None
        watch = watched.begin("grpc", "POST", f"/{method}", headers, call.state) if watched else None
        status = 200
        try:
            with self._passed(method, headers, call.state):
                CALL.set(call)
                async with asyncio.timeout(self._deadline):  # grpc itself holds the client's own
                    return await work(call)
        except asyncio.CancelledError:
            status = CLIENT_LEFT
            raise
        except Exception as error:  # noqa: BLE001 - it is answered as what it is, and logged where it is a bug
            refusal = _refusal(error, self._deadline)
            status = refusal.status
            call.state.setdefault("rejected", getattr(refusal, "reason", None))
            if refusal.retry_after:
                context.set_trailing_metadata([("retry-after", str(refusal.retry_after))])
            await context.abort(CODES.get(refusal.status, grpc.StatusCode.INTERNAL), refusal.message)
        finally:
            if watch:
                watch.end(status)

    @contextmanager
    def _passed(self, method: str, headers: Mapping[str, str], state: MutableMapping[str, Any]) -> Iterator[None]:
        """Through the doors, as REST's requests are; the tokens that were written are charged at the end."""
        if method in PROBES:
            state["caller"] = self._doors.stranger
            yield
            return
        caller = state["caller"] = self._doors.admit(headers)
        with self._doors.passing(caller) as visit:
            try:
                yield
            finally:
                visit.tokens = state.get("tokens", 0)


def _refusal(error: Exception, deadline: float) -> Refusal:
    if isinstance(error, Refusal):
        return error
    if isinstance(error, InvalidInput):
        return Refusal(400, str(error)[:300])
    if isinstance(error, TimeoutError):
        return Refusal(504, f"the answer took more than {deadline:g} seconds; ask for fewer tokens or texts")
    log.error("a request failed", exc_info=error)
    return Refusal(500, "internal error")


async def start_grpc(servicer: Servicer, host: str, port: int, largest: int) -> tuple[aio.Server, int]:
    """A running server that takes messages of `largest` bytes, and its port: `port`, or a free one for 0.

    Raises PlatformError when the address can't be had.
    """
    server = aio.server(options=[("grpc.max_receive_message_length", largest), ("grpc.so_reuseport", 0)])
    stubs.add_GRPCInferenceServiceServicer_to_server(servicer, server)
    try:
        bound = server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    except RuntimeError as error:
        raise PlatformError(
            f"gRPC can't have port {port} on {host}", "Name another with --grpc-port, or 0 for any free one."
        ) from error
    await server.start()
    return server, bound
