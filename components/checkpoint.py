"""Loading a Hugging Face folder of the GPT-2 family, with every way it can be wrong named before the weights are read."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.errors import InputError
from components.files import read_json, there_is
from components.machine import cores_to_use

if TYPE_CHECKING:
    from transformers import GPT2LMHeadModel, PreTrainedTokenizerBase

END_OF_TEXT = "<|endoftext|>"
TOKENIZER_FILES = (("tokenizer.json",), ("vocab.json", "merges.txt"))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A causal language model with its tokenizer, in fp32 and evaluation mode."""

    folder: Path
    model: "GPT2LMHeadModel"
    tokenizer: "PreTrainedTokenizerBase"

    @property
    def context(self) -> int:
        """The longest sequence the model can attend to, in tokens."""
        return int(self.model.config.n_positions)

    @property
    def end(self) -> int:
        """The id of the token that stands between posts."""
        return int(self.model.config.eos_token_id)


def check_folder(folder: Path) -> dict[str, Any]:
    """Return the folder's config.json when it holds a whole GPT-2 checkpoint with its tokenizer and safetensors weights.

    Raises InputError naming what is missing. Nothing is unpickled: a folder with only pytorch_model.bin is refused.
    """
    if not there_is(folder) or not folder.is_dir():
        raise InputError(f"there is no folder {folder}", "Name a folder that `mynah finetune` or save_pretrained wrote.")
    if not (folder / "config.json").is_file():
        raise InputError(
            f"{folder} is no checkpoint: it has no config.json", "Name a folder that `mynah finetune` or save_pretrained wrote."
        )
    config = read_json(folder / "config.json", "finetune")
    if not isinstance(config, dict) or config.get("model_type") != "gpt2":
        found = config.get("model_type") if isinstance(config, dict) else config
        raise InputError(
            f"{folder} holds a model of type {found!r}, not of the GPT-2 family", "Use gpt2, distilgpt2 or another GPT-2."
        )
    # Without these files transformers builds an empty tokenizer and says nothing.
    if not any(all((folder / name).is_file() for name in names) for names in TOKENIZER_FILES):
        raise InputError(
            f"{folder} has no tokenizer files: tokenizer.json, or vocab.json and merges.txt",
            "Save the tokenizer into the same folder.",
        )
    if not any(folder.glob("*.safetensors")):
        raise InputError(
            f"{folder} has no *.safetensors weights", "Save the model with save_pretrained (pickled weights are refused)."
        )
    return config


def load(folder: Path) -> Checkpoint:
    """Load a checkpoint from a local folder, fp32, on the CPU. Raises InputError when it is not whole."""
    check_folder(folder)
    import torch
    from transformers import AutoTokenizer, GPT2LMHeadModel  # takes seconds, with torch: only when a model is loaded

    torch.set_num_threads(cores_to_use(torch.get_num_threads()))
    quiet_transformers()
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        model, info = GPT2LMHeadModel.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype="float32", output_loading_info=True
        )
    except Exception as error:  # their loaders raise whatever a broken file leads to: 9 types seen
        raise InputError(f"{folder} cannot be loaded: {_first_line(error)}", "Is it whole? Fetch or train it again.") from error
    if info["missing_keys"]:  # transformers fills these with random numbers, and says so only in its log
        missing = sorted(info["missing_keys"])
        raise InputError(f"{folder} lacks {len(missing)} of its weights, {missing[0]} for one", "Fetch or train it again.")
    end = model.config.eos_token_id
    if len(tokenizer) > model.config.vocab_size or tokenizer.convert_tokens_to_ids(END_OF_TEXT) != end:
        raise InputError(
            f"{folder}: the tokenizer ({len(tokenizer)} tokens) does not fit the model ({model.config.vocab_size}, {END_OF_TEXT} = {end})",
            "Save the tokenizer that the model was trained with beside it.",
        )
    tokenizer.pad_token = END_OF_TEXT
    return Checkpoint(folder, model.eval(), tokenizer)


def quiet_transformers() -> None:
    """Keep transformers' bars and notices off the terminal: Mynah shows its own."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0][:200]
