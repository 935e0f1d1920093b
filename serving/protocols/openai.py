"""OpenAI's API: completions, chat completions and models, below /openai/v1 and below /v1.

https://platform.openai.com/docs/api-reference
"""

from contextlib import AsyncExitStack
from typing import Any

from fastapi import APIRouter, Request, Response

from serving.protocols.kserve_routes import request_context
from serving.protocols.kserve_schemas import ModelEntry
from serving.protocols.openai_chat_types import ChatCompletion, ChatRequest
from serving.protocols.openai_models import ModelCards
from serving.protocols.openai_replies import ChatReply, CompletionReply, stream_events
from serving.protocols.openai_requests import context_errors, generation_request, read_request
from serving.protocols.openai_types import Completion, CompletionRequest, ModelList, OpenAIProblem
from serving.protocols.openapi import documented
from serving.protocols.sse import EventStream, encode
from serving.service import RequestContext, Service

BASE = "/openai/v1"
SECOND_BASE = "/v1"  # what many clients take for granted


def create_openai(service: Service, cards: ModelCards) -> APIRouter:
    """Create the routes below both base addresses.

    KServe's v1 has /v1/models too, and answers for both. The document has each route once.
    """
    router = APIRouter(tags=["OpenAI"])
    for base in (BASE, SECOND_BASE):
        router.include_router(_create_generation(service), prefix=base, include_in_schema=base == BASE)
    router.include_router(_create_models(cards), prefix=BASE)
    return router


def _create_generation(service: Service) -> APIRouter:
    router = APIRouter()

    async def completions(request: Request) -> Response:
        body = read_request(CompletionRequest, request.state.body)
        context = _context(request, body.user)
        return await _answer(service, body, context, "prompt")

    async def chat_completions(request: Request) -> Response:
        body = read_request(ChatRequest, request.state.body)
        context = _context(request, body.user or body.safety_identifier)
        return await _answer(service, body, context, "messages")

    completion_docs = documented(Completion, CompletionRequest, problem=OpenAIProblem, streams=True)
    chat_docs = documented(ChatCompletion, ChatRequest, problem=OpenAIProblem, streams=True)
    router.add_api_route("/completions", completions, **completion_docs)
    router.add_api_route("/chat/completions", chat_completions, **chat_docs)
    return router


def _create_models(cards: ModelCards) -> APIRouter:
    router = APIRouter()

    async def models(request: Request) -> dict[str, Any]:
        return cards.list(request_context(request, "openai").caller)

    async def model(model_id: str, request: Request) -> dict[str, Any]:
        return await cards.get(model_id, request_context(request, "openai").caller)

    router.add_api_route("/models", models, **documented(ModelList, problem=OpenAIProblem))
    router.add_api_route("/models/{model_id}", model, **documented(ModelEntry, errors=(403, 404), problem=OpenAIProblem))
    return router


def _context(request: Request, user: str | None) -> RequestContext:
    """Return the request's context, with the user as its key for traffic splitting where there is one."""
    context = request_context(request, "openai")
    return RequestContext(context.protocol, context.state, user[:200]) if user else context


async def _answer(service: Service, body: CompletionRequest | ChatRequest, context: RequestContext, param: str) -> Response:
    """Run a request.

    Args:
        service: engine and repository.
        body: the request.
        context: its context.
        param: the field with its prompt, for errors.
    """
    generation = generation_request(body)
    async with AsyncExitStack() as stack:
        with context_errors(param):
            running = await stack.enter_async_context(service.open(body.model, generation, context))
        reply: CompletionReply | ChatReply = (
            ChatReply(body, generation, running) if isinstance(body, ChatRequest) else CompletionReply(body, generation, running)
        )
        headers = {"X-Mynah-Version": running.address}
        if body.stream:
            return EventStream(stream_events(reply), headers, stack.pop_all())
        whole = reply.whole(await running.stream.answers())
    return Response(encode(whole), headers=headers, media_type="application/json")
