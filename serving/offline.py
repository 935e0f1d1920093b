"""Runs one request in this process without a server, for `mynah generate`; the texts are the same as the server's."""

from pathlib import Path

from mynah.core.errors import InputError
from mynah.decoding.errors import PromptTooLong
from mynah.decoding.generate import generate
from mynah.decoding.model import load_model
from mynah.models.sampling import Sampling


def answer_once(folder: Path, prompt: str, sampling: Sampling) -> list[str]:
    """Continue a prompt with a checkpoint. Blocks.

    Args:
        folder: The folder of a Hugging Face checkpoint.
        prompt: The prompt.
        sampling: The sampling parameters, with the number of answers (`n`).

    Returns:
        The answers, each of which begins with the prompt.

    Raises:
        InputError: The folder is not a complete checkpoint, or the prompt is not Unicode text or too long.
    """
    try:
        [texts] = generate(load_model(folder), [prompt], sampling, allow_verbatim=False, repeatable=True).texts
    except PromptTooLong as error:
        raise InputError(error.problem, "Shorten the prompt.") from error
    return texts
