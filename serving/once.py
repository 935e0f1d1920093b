"""One request without a server, in this process: what `mynah generate` does, and says word for word what the server would."""

import asyncio
from pathlib import Path

from components.decoding.model import decode_here, load_here, load_model
from components.errors import InputError
from components.generation import Sampling
from components.names import is_unicode
from serving.engine import Engine
from serving.engine.ask import Ask
from serving.refusals import Refusal


def answer_once(folder: Path, prompt: str, sampling: Sampling) -> list[str]:
    """Continue `prompt` `sampling.n` times with the checkpoint in `folder`; each answer begins with the prompt.

    Raises InputError for a folder that is no whole checkpoint, and for a prompt that is no text or too long.
    """
    if not is_unicode(prompt):
        raise InputError(f"the prompt {prompt[:80]!r} is not Unicode text", "Write it in UTF-8.")
    try:
        return asyncio.run(_answer(folder, Ask((prompt,), sampling)))
    except Refusal as refusal:
        raise InputError(refusal.message.removesuffix(" Shorten the prompt.").rstrip("."), "Shorten the prompt.") from refusal


async def _answer(folder: Path, ask: Ask) -> list[str]:
    load_here()
    engine = Engine()
    engine.start()
    try:
        [answers] = await engine.submit(load_model(folder), ask).answers()
    finally:
        await engine.close(0)
        decode_here()
    return [f"{ask.prompts[0]}{answer.text}".strip() for answer in answers]
