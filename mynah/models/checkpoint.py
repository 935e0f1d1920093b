"""Loads Hugging Face checkpoints of the supported architectures; every defect of a folder is reported before the weights are read."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mynah.core.errors import InputError
from mynah.core.files import path_exists, read_json
from mynah.core.threads import cores_to_use
from mynah.models.architecture import Architecture, read_architecture, require_family

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

END_OF_TEXT = "<|endoftext|>"
TOKENIZER_FILES = (("tokenizer.json",), ("vocab.json", "merges.txt"))


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
    """Return the config.json of a complete checkpoint of a supported architecture, with tokenizer and safetensors weights.

    Raises InputError naming what is missing. Nothing is unpickled: a folder with only pytorch_model.bin is rejected.
    """
    if not path_exists(folder) or not folder.is_dir():
        raise InputError(f"there is no folder {folder}", "Name a folder that `mynah finetune` or save_pretrained wrote.")
    if not (folder / "config.json").is_file():
        raise InputError(
            f"{folder} is not a checkpoint: it has no config.json",
            "Name a folder that `mynah finetune` or save_pretrained wrote.",
        )
    config = read_json(folder / "config.json", "finetune")
    if not isinstance(config, dict):
        raise InputError(f"{folder}/config.json is no object", "Fetch or train the model again.")
    require_family(config, folder)
    # Without these files transformers silently builds an empty tokenizer.
    if not any(all((folder / name).is_file() for name in names) for names in TOKENIZER_FILES):
        raise InputError(
            f"{folder} has no tokenizer files: tokenizer.json, or vocab.json and merges.txt",
            "Save the tokenizer into the same folder.",
        )
    if not weight_files(folder):
        raise InputError(
            f"{folder} has no *.safetensors weights", "Save the model with save_pretrained (pickled weights are rejected)."
        )
    return config


def end_token(config: Mapping[str, Any]) -> int | None:
    """Return the id of the token that ends a text by a config.json, the first one of several; None where it names none."""
    end = config.get("eos_token_id")
    end = end[0] if isinstance(end, list) and end else end
    return end if isinstance(end, int) and not isinstance(end, bool) else None


def weight_files(folder: Path) -> list[Path]:
    """Return a checkpoint's weight files, sorted by name, without the `._NAME` files that macOS writes on foreign disks."""
    return sorted(path for path in folder.glob("*.safetensors") if not path.name.startswith("."))


def load(folder: Path) -> Checkpoint:
    """Load a checkpoint from a local folder, in fp32 on the CPU. Raises InputError when it is not complete."""
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


def quiet_transformers() -> None:
    """Silence transformers' progress bars and log messages; Mynah shows its own."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0][:200]
