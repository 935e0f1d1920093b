"""KServe's v1 and v2 on this server's bots: the data plane that HTTP routes and gRPC methods call."""

import uuid
from importlib.metadata import version
from typing import Any

from mynah.decoding.request import GenerationRequest
from serving.auth.middleware import Caller
from serving.infer_types import InferRequest, InferResponse, InferTensor
from serving.protocols.kserve_requests import from_v1, from_v2
from serving.service import REQUEST_CONTEXT, RequestContext, RunningRequest, Service, require_access

INPUTS = [{"name": "prompt", "datatype": "BYTES", "shape": [-1]}]
OUTPUTS = [{"name": "text", "datatype": "BYTES", "shape": [-1]}]
VERSION_HEADER = "X-Mynah-Version"
REPOSITORY_EXTENSION = "model_repository_extension"  # load and unload, for admins


class BotDataPlane:
    """The operations of v1 and v2, for HTTP and gRPC. An address names a bot or a version: wren, wren@challenger or wren:3."""

    def __init__(self, service: Service, webhook_secret: str = "") -> None:
        """Create the data plane.

        Args:
            service: engine and repository.
            webhook_secret: the secret with which MLflow's webhooks sign; "" accepts no webhooks.
        """
        self.service = service
        self.webhook_secret = webhook_secret

    async def predict(self, address: str, body: object) -> tuple[dict[str, Any], dict[str, str]]:
        """Answer a v1 request.

        Args:
            address: the bot's address.
            body: the decoded JSON.

        Returns:
            The response body and its headers.

        Raises:
            ApiError: the request is invalid or cannot be answered.
        """
        generation = from_v1(body)
        running, texts = await self._texts(address, generation)
        return {"predictions": texts, "parameters": {"seed": generation.sampling.seed}}, {VERSION_HEADER: running.address}

    async def infer(self, address: str, request: InferRequest) -> tuple[InferResponse, dict[str, str]]:
        """Answer a v2 request.

        Args:
            address: the bot's address.
            request: the request.

        Returns:
            The response and its headers.

        Raises:
            ApiError: the request is invalid or cannot be answered.
        """
        generation = from_v2(request)
        running, texts = await self._texts(address, generation)
        flat = [text for samples in texts for text in samples]
        answer = InferResponse(
            id=request.id or str(uuid.uuid4()),
            model_name=running.lease.name,
            model_version=running.lease.version,
            outputs=[InferTensor("text", [len(flat)], "BYTES", flat, {"n": generation.sampling.n})],
            parameters={"seed": generation.sampling.seed},
        )
        return answer, {VERSION_HEADER: running.address}

    async def _texts(self, address: str, generation: GenerationRequest) -> tuple[RunningRequest, list[list[str]]]:
        """Run a request; return it and the texts of each prompt.

        A text is the prompt and its continuation without surrounding white space, as `mynah generate` prints it.
        """
        running, answers = await self.service.answer(address, generation, REQUEST_CONTEXT.get(RequestContext("kserve")))
        texts = [
            [f"{prompt}{answer.text}".strip() for answer in samples]
            for prompt, samples in zip(generation.prompts, answers, strict=True)
        ]
        return running, texts

    def metadata(self) -> dict[str, Any]:
        """Return the server metadata: name, version, and the extension for admins."""
        return {"name": "mynah", "version": version("mynah"), "extensions": [REPOSITORY_EXTENSION]}

    async def ready(self) -> bool:
        """Whether the server accepts requests now."""
        return self.service.ready

    async def model_ready(self, address: str) -> bool:
        """Whether the bot at an address is in memory. Raises ApiError (404)."""
        if self.service.ready and self.service.repository.ready(address):
            return True
        await self.service.locate(address, _caller())
        return False

    async def model_metadata(self, address: str) -> dict[str, Any]:
        """Return the metadata of a bot, or of one version of it.

        Args:
            address: the bot's address; a plain name stands for all versions with an alias or in memory, the champion first.

        Raises:
            ApiError: (403, 404) the caller cannot query the bot, or nothing answers there.
        """
        caller = _caller()
        require_access(address, caller)
        name, version = await self.service.locate(address, caller)
        versions = [version]
        if address == name:
            bot = self.service.repository.describe(name)
            versions = list(dict.fromkeys([*bot.named, *bot.loaded]))
        return {"name": name, "platform": "mynah_gpt2", "inputs": INPUTS, "outputs": OUTPUTS, "versions": versions}


def _caller() -> Caller | None:
    return REQUEST_CONTEXT.get(RequestContext("kserve")).caller
