"""Ollama's Modelfile of a bot: https://docs.ollama.com/modelfile."""

from pathlib import Path

from mynah.models.architecture import read_architecture
from mynah.models.checkpoint import check_folder
from mynah.models.sampling import Sampling

# A bot continues a prompt: no chat, and no system prompt. The token that a post begins with is put before it by what runs the file, as
# the file says (add_bos_token).
TEMPLATE = "{{ .Prompt }}"


def modelfile(file: str, checkpoint: Path, licence: str) -> str:
    """Return the Modelfile of a GGUF beside it, which samples as `mynah generate` does unless told otherwise.

    Args:
        file: The GGUF's name.
        checkpoint: The folder that it was made of.
        licence: Its licence, "" where unknown.
    """
    sampling = Sampling()
    parameters = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": 0.0,
        "repeat_penalty": 1.0,
        "num_predict": sampling.max_tokens,
        "num_ctx": read_architecture(check_folder(checkpoint), checkpoint).context,
    }
    lines = [f"FROM ./{file}", f'TEMPLATE """{TEMPLATE}"""', *(f"PARAMETER {name} {value}" for name, value in parameters.items())]
    return "\n".join([*lines, *([f'LICENSE """{licence}"""'] if licence else [])]) + "\n"
