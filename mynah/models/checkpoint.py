"""Loads Hugging Face checkpoints of the supported architectures; every defect of a folder is reported before the weights are read."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mynah.core.errors import InputError
from mynah.core.threads import cores_to_use
from mynah.models.adapter import check_adapter, is_adapter
from mynah.models.adapter_base import base_folder, model_folder
from mynah.models.architecture import Architecture, read_architecture
from mynah.models.checkpoint_files import check_full, end_token

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A causal language model with its tokenizer, in fp32 and evaluation mode."""

    folder: Path
    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    architecture: Architecture
    begin: int  # the id of the token that a post begins with: the end token, or the one that the tokenizer puts before every text
    end: int  # the id of the token that ends a post

    @property
    def context(self) -> int:
        """The longest sequence the model can attend to, in tokens."""
        return self.architecture.context


def check_folder(folder: Path) -> dict[str, Any]:
    """Return the config.json of a complete checkpoint; of an adapter, that of its base model. Raises InputError naming what is missing."""
    return check_full(model_folder(folder))


def load(folder: Path) -> Checkpoint:
    """Load a checkpoint from a local folder, in fp32 on the CPU; an adapter merged into its base model.

    Raises InputError when it, or the adapter's base model, is not complete.
    """
    if is_adapter(folder):
        return _load_adapter(folder)
    config = check_folder(folder)
    architecture = read_architecture(config, folder)
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer  # takes seconds with torch, so only when a model is loaded

    torch.set_num_threads(cores_to_use(torch.get_num_threads()))
    quiet_transformers()
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        model, info = AutoModelForCausalLM.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            dtype="float32",
            output_loading_info=True,
        )
    except Exception as error:  # broken files raise exceptions of many types: 9 seen
        raise InputError(
            f"{folder} cannot be loaded: {_first_line(error)}", "It may be incomplete: fetch or train it again."
        ) from error
    if info["missing_keys"]:  # transformers initialises these randomly and reports it only in its log
        missing = sorted(info["missing_keys"])
        raise InputError(f"{folder} lacks {len(missing)} of its weights, such as {missing[0]}", "Fetch or train it again.")
    end = end_token(config)
    if end is None or len(tokenizer) > architecture.vocabulary or end not in tokenizer.all_special_ids:
        raise InputError(
            f"{folder}: the tokenizer ({len(tokenizer)} tokens) does not fit the model ({architecture.vocabulary}, end of text = {end})",
            "Save the tokenizer that the model was trained with in the same folder.",
        )
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(end)
    first: list[int] = tokenizer("")["input_ids"]
    return Checkpoint(folder, model.eval(), tokenizer, architecture, first[0] if first else end, end)


def _load_adapter(folder: Path) -> Checkpoint:
    from mynah.models.adapter_weights import merge, read_adapter  # torch

    base = base_folder(folder)
    adapter = read_adapter(folder, read_architecture(check_full(base), base))  # before the base model's weights are read
    loaded = load(base)
    merge(loaded.model, adapter, check_adapter(folder).scale)
    return replace(loaded, folder=folder)


def quiet_transformers() -> None:
    """Silence transformers' progress bars and log messages; Mynah shows its own."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0][:200]
