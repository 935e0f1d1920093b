"""The files of a Hugging Face checkpoint; every defect of a folder is reported before the weights are read. Imports no torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mynah.core.errors import InputError
from mynah.core.files import path_exists, read_json
from mynah.models.architecture import require_family

END_OF_TEXT = "<|endoftext|>"
TOKENIZER_FILES = (("tokenizer.json",), ("vocab.json", "merges.txt"))


def check_full(folder: Path) -> dict[str, Any]:
    """Return the config.json of a complete checkpoint, which is no adapter, of a supported architecture, with tokenizer and safetensors weights.

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
