"""The bots as KServe's DataPlane sees them: a repository that asks ours, and models that are addresses until they are asked."""

import uuid
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any

from serving.engine.ask import Ask, from_v1, from_v2
from serving.protocols.kserve_import import DataPlane, InferOutput, InferRequest, InferResponse, Model, ModelRepository
from serving.refusals import Refusal
from serving.service import CALL, Call, Service, allow, name_of

INPUTS = [{"name": "prompt", "datatype": "BYTES", "shape": [-1]}]
OUTPUTS = [{"name": "text", "datatype": "BYTES", "shape": [-1]}]
VERSION_HEADER = "X-Mynah-Version"
CONTROL = "model_repository_extension"  # load and unload: for admins


class BotModel(Model):  # type: ignore[misc]  # kserve is untyped, so its Model is Any
    """The bot at an address, such as wren, wren@challenger or wren:3; it is in memory only while it is asked, or as room allows."""

    def __init__(self, address: str, service: Service) -> None:
        super().__init__(address)
        self._service = service
        self.ready = True  # for KServe, which would call load() otherwise; `lease` loads

    def get_input_types(self) -> list[dict[str, Any]]:
        """The tensors that a v2 request carries."""
        return INPUTS

    def get_output_types(self) -> list[dict[str, Any]]:
        """The tensors that a v2 answer carries."""
        return OUTPUTS

    async def healthy(self) -> bool:
        """Whether the bot can answer without being loaded first."""
        return self._service.ready and self._service.repository.ready(self.name)

    async def __call__(self, body: object, headers: Mapping[str, str] | None = None, verb: object = None) -> Any:  # noqa: ANN401
        """Answer, without KServe's own four histograms per model, which would grow with the number of addresses."""
        return await self.predict(body, headers)

    async def predict(self, payload: object, headers: Mapping[str, str] | None = None) -> Any:  # noqa: ANN401
        """Answer a v2 InferRequest with an InferResponse, and a v1 body (decoded JSON) with a dict; beside it, headers.

        Raises Refusal.
        """
        ask = from_v2(payload) if isinstance(payload, InferRequest) else from_v1(payload)
        opened, answers = await self._service.answer(self.name, ask, CALL.get(Call("kserve")))
        # As `mynah generate` prints them: the prompt and its continuation, without the space around them.
        texts = [[f"{prompt}{one.text}".strip() for one in several] for prompt, several in zip(ask.prompts, answers, strict=True)]
        said = {VERSION_HEADER: opened.address}
        if isinstance(payload, InferRequest):
            return v2_answer(payload.id, opened.lease.name, opened.lease.version, ask, texts), said
        return {"predictions": texts, "parameters": {"seed": ask.sampling.seed}}, said


def v2_answer(identity: str | None, name: str, served: str, ask: Ask, texts: list[list[str]]) -> Any:  # noqa: ANN401
    """KServe's InferResponse: the texts row by row, prompt by prompt."""
    flat = [text for several in texts for text in several]
    return InferResponse(
        response_id=identity or str(uuid.uuid4()),
        model_name=name,
        model_version=served,
        infer_outputs=[InferOutput("text", [len(flat)], "BYTES", flat, {"n": ask.sampling.n})],
        parameters={"seed": ask.sampling.seed},
    )


class BotRepository(ModelRepository):  # type: ignore[misc]  # kserve is untyped
    """KServe's view of our repository, where a bot may appear or vanish at any time."""

    def __init__(self, service: Service) -> None:
        super().__init__()
        self._service = service

    def get_model(self, name: str) -> BotModel:
        """The model at an address, known or not: our repository says what is wrong with one, when it is asked."""
        return BotModel(name, self._service)

    def get_models(self) -> dict[str, BotModel]:
        """Every bot that can be asked."""
        return {name: BotModel(name, self._service) for name in self._service.repository.names()}

    async def is_model_ready(self, name: str) -> bool:
        """Always: our repository loads a bot when it is asked; `BotDataPlane.model_ready` tells whether it is loaded already."""
        return True


class BotDataPlane(DataPlane):  # type: ignore[misc]  # kserve is untyped, so its DataPlane is Any
    """KServe's DataPlane, with answers that tell the truth about this server."""

    def __init__(self, service: Service, webhook_secret: str = "") -> None:
        """`webhook_secret`: what MLflow's webhooks sign their hints with; "" takes none."""
        super().__init__(BotRepository(service))
        self.service = service
        self.webhook_secret = webhook_secret

    def metadata(self) -> dict[str, Any]:
        """Server metadata: name, version, and the extension that admins may use."""
        return {"name": "mynah", "version": version("mynah"), "extensions": [CONTROL]}

    async def ready(self) -> bool:
        """Whether a request that comes now is answered."""
        return self.service.ready

    async def model_ready(self, model_name: str, disable_predictor_health_check: bool = False) -> bool:
        """Whether the bot at an address can answer without being loaded first. Raises Refusal (404)."""
        if await self.get_model_from_registry(model_name).healthy():
            return True
        self._versions(model_name)
        return False

    async def model_metadata(self, model_name: str) -> dict[str, Any]:
        """Model metadata with the versions that are served: the champion first. Raises Refusal (403, 404)."""
        allow(model_name, _caller())
        versions = self._versions(model_name)
        found: dict[str, Any] = await super().model_metadata(name_of(model_name))
        return {**found, "versions": versions, "platform": "mynah_gpt2"}

    def _versions(self, address: str) -> list[str]:
        """The versions that an address may mean, of those with an alias or in memory. Raises Refusal (404) when there is none."""
        caller = _caller()
        name = self.service.known(address, caller)
        info = self.service.repository.describe(name)
        versions = list(dict.fromkeys(_versions_at(address, info)))
        if not versions and not (caller is None or caller.may(name)):
            raise Refusal(404, f"{name} has no {address[len(name) + 1 :][:80]!r} with an alias or in memory")
        if not versions:
            known = ", ".join(dict.fromkeys(_versions_at(name, info))) or "none"
            raise Refusal(404, f"{name} has no {address[len(name) + 1 :][:80]!r} with an alias or in memory; known: {known}")
        return versions


def _caller() -> Any:  # noqa: ANN401 - see Call.caller
    return CALL.get(Call("kserve")).caller


def _versions_at(address: str, info: Any) -> Iterator[str]:  # noqa: ANN401 - a BotInfo
    """The versions of a bot that an address may mean: those with an alias or in memory, or the one that it names."""
    aliases = {"champion": info.champion, "challenger": info.challenger, "previous": info.previous}
    known = [*filter(None, aliases.values()), *info.loaded]
    _, at, alias = address.partition("@")
    _, colon, number = address.partition(":")
    if at:
        known = [aliases.get(alias, "")]
    elif colon:
        known = [one for one in known if one == number]
    yield from filter(None, known)
