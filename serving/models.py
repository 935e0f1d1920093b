"""One bot as KServe's model: it reads v1 and v2 requests, and writes their answers."""

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.names import bot_name
from serving.ask import Ask, from_v1, from_v2
from serving.engine import Engine
from serving.kserve_import import InferOutput, InferRequest, InferResponse, Model
from serving.turns import Turns

INPUTS = [{"name": "prompt", "datatype": "BYTES", "shape": [-1]}]
OUTPUTS = [{"name": "text", "datatype": "BYTES", "shape": [-1]}]


@dataclass(frozen=True, slots=True)
class ServedBot:
    """A bot to serve: its name, the version shown to callers, and a folder with its whole Hugging Face checkpoint.

    Raises InputError when the name is no bot's name.
    """

    name: str
    version: str
    folder: Path

    def __post_init__(self) -> None:
        bot_name(self.name)


class BotModel(Model):  # type: ignore[misc]  # kserve is untyped, so its Model is Any
    """A served bot behind KServe's DataPlane."""

    def __init__(self, bot: ServedBot, turns: Turns) -> None:
        """Load the bot's checkpoint, in seconds. Raises InputError when it is not whole."""
        super().__init__(bot.name)
        self.version = bot.version
        self._turns = turns
        self._engine = Engine(bot.folder)
        self.ready = True

    def get_input_types(self) -> list[dict[str, Any]]:
        """The tensors that a v2 request carries."""
        return INPUTS

    def get_output_types(self) -> list[dict[str, Any]]:
        """The tensors that a v2 answer carries."""
        return OUTPUTS

    async def predict(self, payload: object, headers: dict[str, str] | None = None) -> Any:  # noqa: ANN401
        """Answer a v2 InferRequest with an InferResponse, and a v1 body (decoded JSON) with a dict. Raises Refusal."""
        if isinstance(payload, InferRequest):
            ask = from_v2(payload)
            return self._v2_answer(payload, ask, await self._turns.answer(self._engine, ask))
        ask = from_v1(payload)
        texts = await self._turns.answer(self._engine, ask)
        return {"predictions": texts, "parameters": {"seed": ask.sampling.seed}}

    def _v2_answer(self, request: Any, ask: Ask, texts: list[list[str]]) -> Any:  # noqa: ANN401 - KServe's, untyped
        flat = [text for several in texts for text in several]
        return InferResponse(
            response_id=request.id or str(uuid.uuid4()),
            model_name=self.name,
            model_version=self.version,
            infer_outputs=[InferOutput("text", [len(flat)], "BYTES", flat, {"n": ask.sampling.n})],
            parameters={"seed": ask.sampling.seed},
        )
