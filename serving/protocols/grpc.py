"""KServe's v2 over gRPC: inference.GRPCInferenceService, on a port of its own, with the limits and checks of HTTP.

https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc  # type: ignore[import-untyped] # grpc has no types
from grpc import aio

from mynah.core.errors import PlatformError
from serving.auth.rate_limits import AccessDenied
from serving.errors import ApiError
from serving.protocols.errors import MAPPED, to_api_error
from serving.protocols.grpc_messages import address_of, from_message, to_message
from serving.protocols.grpc_schema import handlers, message
from serving.protocols.kserve_models import BotDataPlane
from serving.protocols.kserve_routes import SESSION_HEADER
from serving.service import REQUEST_CONTEXT, RequestContext, require_admin

if TYPE_CHECKING:
    from serving.auth.middleware import AuthMiddleware
    from serving.observability.middleware import ObservabilityMiddleware

CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
PROBES = ("ServerLive", "ServerReady", "ModelReady")  # need no key and are not logged, as over HTTP
CLIENT_LEFT = 499
OPTIONS = (
    ("grpc.so_reuseport", 0),
    # Clients ping to keep a connection open that a load balancer would close, also between requests. gRPC's own server disconnects
    # those that ping more often than every five minutes (too_many_pings), with the answers that they wait for.
    # https://github.com/grpc/grpc/blob/master/doc/keepalive.md
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_ping_strikes", 0),
)
log = logging.getLogger("mynah.grpc")


class Servicer:
    """Implements the methods of the gRPC service, with the protocol's names and signatures, on untyped messages."""

    def __init__(
        self, data_plane: BotDataPlane, auth: "AuthMiddleware", observability: "ObservabilityMiddleware", deadline: float
    ) -> None:
        self._data_plane = data_plane
        self._auth = auth
        self._observability = observability
        self._deadline = deadline

    async def ServerLive(self, request: Any, context: Any) -> Any:  # noqa: ANN401, N802, D102 - the protocol's name; untyped
        return message("ServerLiveResponse")(live=self._data_plane.service.alive)

    async def ServerReady(self, request: Any, context: Any) -> Any:  # noqa: ANN401, N802, D102 - the protocol's name; untyped
        return message("ServerReadyResponse")(ready=await self._data_plane.ready())

    async def ServerMetadata(self, request: Any, context: Any) -> Any:  # noqa: ANN401, N802, D102 - the protocol's name; untyped
        return message("ServerMetadataResponse")(**self._data_plane.metadata())

    async def ModelReady(self, request: Any, context: Any) -> Any:  # noqa: ANN401, N802, D102 - the protocol's name; untyped
        async def ready(_: RequestContext) -> Any:  # noqa: ANN401 - untyped
            return message("ModelReadyResponse")(
                ready=await self._data_plane.model_ready(address_of(request.name, request.version))
            )

        return await self._run("ModelReady", context, ready)

    async def ModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: ANN401, N802, D102 - the protocol's name; untyped
        async def metadata(_: RequestContext) -> Any:  # noqa: ANN401 - untyped
            metadata = await self._data_plane.model_metadata(address_of(request.name, request.version))
            return message("ModelMetadataResponse")(**metadata)

        return await self._run("ModelMetadata", context, metadata)

    async def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: ANN401, N802, D102 - the protocol's name; untyped
        async def infer(_: RequestContext) -> Any:  # noqa: ANN401 - untyped
            address = address_of(request.model_name, request.model_version)
            answer, headers = await self._data_plane.infer(address, from_message(request))
            context.set_trailing_metadata([(name.lower(), value) for name, value in headers.items()])
            return to_message(answer, raw=bool(request.raw_input_contents))

        return await self._run("ModelInfer", context, infer)

    async def RepositoryModelLoad(self, request: Any, context: Any) -> Any:  # noqa: ANN401, N802, D102 - the protocol's name; untyped
        async def load(request_context: RequestContext) -> Any:  # noqa: ANN401 - untyped
            require_admin(request_context.state)
            await self._data_plane.service.repository.load(request.model_name)
            return message("RepositoryModelLoadResponse")(model_name=request.model_name, isLoaded=True)

        return await self._run("RepositoryModelLoad", context, load)

    async def RepositoryModelUnload(self, request: Any, context: Any) -> Any:  # noqa: ANN401, N802, D102 - the protocol's name; untyped
        async def unload(request_context: RequestContext) -> Any:  # noqa: ANN401 - untyped
            require_admin(request_context.state)
            await self._data_plane.service.repository.unload(request.model_name)
            return message("RepositoryModelUnloadResponse")(model_name=request.model_name, isUnloaded=True)

        return await self._run("RepositoryModelUnload", context, unload)

    async def _run(self, method: str, context: Any, handler: Callable[[RequestContext], Awaitable[Any]]) -> Any:  # noqa: ANN401 - messages are untyped
        """Run a handler with authentication, limits and observability. A disconnecting client cancels it.

        Args:
            method: the gRPC method's name.
            context: the gRPC context, which is aborted with a status code after an error.
            handler: the handler.

        Returns:
            The handler's response message.
        """
        headers = {name: value for name, value in context.invocation_metadata() if isinstance(value, str)}
        request_context = RequestContext("grpc", {}, headers.get(SESSION_HEADER, "")[:200])
        observability = self._observability if method not in PROBES else None
        trace = observability.begin("grpc", "POST", f"/{method}", headers, request_context.state) if observability else None
        status = 200
        try:
            with self._admitted(method, headers, request_context.state):
                REQUEST_CONTEXT.set(request_context)
                async with asyncio.timeout(self._deadline):  # grpc enforces the client's own deadline
                    return await handler(request_context)
        except asyncio.CancelledError:
            status = CLIENT_LEFT
            raise
        except Exception as error:  # noqa: BLE001 - answered with its status; unexpected errors are logged
            api_error = _to_api_error(error, self._deadline)
            status = api_error.status
            request_context.state.setdefault("rejected", api_error.reason if isinstance(api_error, AccessDenied) else None)
            if api_error.retry_after:
                context.set_trailing_metadata([("retry-after", str(api_error.retry_after))])
            await context.abort(CODES.get(api_error.status, grpc.StatusCode.INTERNAL), api_error.message)
        finally:
            if trace:
                trace.end(status)

    @contextmanager
    def _admitted(self, method: str, headers: Mapping[str, str], state: MutableMapping[str, Any]) -> Iterator[None]:
        """Authenticate and limit a request while the block runs, as over HTTP, and charge its tokens at the end.

        Args:
            method: the gRPC method's name.
            headers: the metadata, with lower-case names.
            state: the request's state, which gets the caller.

        Raises:
            AccessDenied: the request is rejected.
        """
        if method in PROBES:
            state["caller"] = self._auth.unauthenticated_caller
            yield
            return
        caller = state["caller"] = self._auth.authenticate(headers)
        with self._auth.limit(caller) as admission:
            try:
                yield
            finally:
                admission.tokens = state.get("tokens", 0)


def _to_api_error(error: Exception, deadline: float) -> ApiError:
    if isinstance(error, MAPPED):
        return to_api_error(error)
    if isinstance(error, TimeoutError):
        return ApiError(504, f"the answer took more than {deadline:g} seconds; ask for fewer tokens or texts")
    log.error("a request failed", exc_info=error)
    return to_api_error(error)


async def start_grpc(servicer: Servicer, host: str, port: int, max_bytes: int) -> tuple[aio.Server, int]:
    """Start a gRPC server.

    Args:
        servicer: the methods.
        host: the address to bind.
        port: the port to bind; 0 picks a free one.
        max_bytes: the largest message that is accepted.

    Returns:
        The running server and its port.

    Raises:
        PlatformError: the address cannot be bound.
    """
    server = aio.server(options=[("grpc.max_receive_message_length", max_bytes), *OPTIONS])
    server.add_generic_rpc_handlers((handlers(servicer),))
    try:
        bound_port = server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    except RuntimeError as error:
        raise PlatformError(
            f"gRPC cannot bind port {port} on {host}", "Name another with --grpc-port, or 0 for any free one."
        ) from error
    await server.start()
    return server, bound_port
