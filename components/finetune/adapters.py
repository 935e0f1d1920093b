"""Low-rank adapters on a model that is trained (Hu et al. 2021, https://arxiv.org/abs/2106.09685): peft makes them, and its format keeps them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mynah.core.errors import InputError
from mynah.core.files import digest, set_mode, storage_errors, write_json
from mynah.models.adapter import (
    CONFIG_FILE,
    PREFIX,
    WEIGHTS_FILE,
    block_prefix,
    check_adapter,
    matrix_sizes,
    read_base,
    write_base,
)
from mynah.models.adapter_weights import Matrices, read_adapter
from mynah.models.architecture import Architecture
from mynah.models.base_model_record import BaseModelRecord
from mynah.models.base_models import BaseModel
from mynah.training.recipe import Recipe

ADAPTER = "default"  # peft's name of the only one
ALPHA_PER_RANK = (
    2  # the scale of what is added, whatever the rank; the rank-stabilised one was worse at rank 64: docs/finetuning.md
)


class Adapters:
    """Adapters on all matrices of a model's blocks; its other weights are frozen.

    Args:
        model: transformers' model, whose matrices become peft's layers.
        of: its architecture.
        recipe: for their rank and dropout.
        start: what they start from; None: they add nothing at first.

    Raises:
        InputError: peft is not installed.
    """

    def __init__(self, model: Any, of: Architecture, recipe: Recipe, start: Matrices | None = None) -> None:  # noqa: ANN401
        try:
            from peft import LoraConfig, get_peft_model
        except ImportError as error:
            raise InputError(
                "LoRA needs the package peft", "Install mynah[train], or train all weights: --set lora_rank=0."
            ) from error
        self._of = of
        self._config: Any = LoraConfig(
            r=recipe.lora_rank, lora_alpha=ALPHA_PER_RANK * recipe.lora_rank, lora_dropout=recipe.dropout,
            target_modules=sorted({name.rpartition(".")[2] for name in matrix_sizes(of)}), fan_in_fan_out=of.family == "gpt2",
        )  # fmt: skip
        self._peft_model: Any = get_peft_model(model, self._config)
        self._weights = {_file_name(name): weight for name, weight in model.named_parameters() if weight.requires_grad}
        if start:
            self._start_from(start)

    def _start_from(self, start: Matrices) -> None:
        with torch.no_grad():
            for place, matrices in start.items():
                for side, matrix in zip("AB", matrices, strict=True):
                    self._weights[f"{block_prefix(self._of)}{place}.lora_{side}.weight"].copy_(matrix)

    def merge(self) -> Any:  # noqa: ANN401
        """Return the plain transformers model, with what the adapters add in its matrices."""
        return self._peft_model.merge_and_unload()

    def write(self, folder: Path, base: BaseModel, record: BaseModelRecord) -> None:
        """Write an adapter's folder: matrices in bf16, their settings, and which base model they belong to.

        Args:
            folder: the folder to write into.
            base: the base model, which the adapter is loaded with from where it lies now.
            record: the same, by digest.
        """
        from safetensors.torch import save_file

        tensors = {name: weight.detach().to("cpu", torch.bfloat16).contiguous() for name, weight in self._weights.items()}
        with storage_errors(folder):
            save_file(tensors, folder / WEIGHTS_FILE, metadata={"format": "pt"})
        set_mode(folder / WEIGHTS_FILE, 0o644)  # the server runs as another user
        settings: Mapping[str, Any] = self._config.to_dict() | {
            "base_model_name_or_path": str(base.folder.resolve()), "inference_mode": True, "task_type": "CAUSAL_LM",
        }  # fmt: skip
        write_json(
            folder / CONFIG_FILE, {key: sorted(value) if isinstance(value, set) else value for key, value in settings.items()}
        )
        write_base(folder, record)


def read_start(folder: Path, base: BaseModel, of: Architecture, recipe: Recipe) -> Matrices:
    """Return the matrices of an adapter to go on from, B multiplied by its scale over that of `Adapters`.

    Args:
        folder: the adapter's.
        base: the base model.
        of: its architecture.
        recipe: for the rank.

    Raises:
        InputError: it is broken, of another rank, or belongs to another base model.
    """
    config, owner = check_adapter(folder), read_base(folder)
    if config.rank != recipe.lora_rank:
        rank = config.rank
        raise InputError(f"the adapter in {folder} has rank {rank}, and the recipe {recipe.lora_rank}", f"Set lora_rank={rank}.")
    if owner.digest != base.weights_digest:
        raise InputError(
            f"the adapter in {folder} belongs to the base model {owner.name} with the digest {owner.digest[:12]}…, and {base.name} has "
            f"{base.weights_digest[:12]}…",
            "Name the base model that it was trained on.",
        )
    return {place: (a, b * (config.scale / ALPHA_PER_RANK)) for place, (a, b) in read_adapter(folder, of).items()}


def start_digest(folder: Path) -> str:
    """The digest of the matrices in an adapter's folder."""
    return digest(folder / WEIGHTS_FILE)


def _file_name(name: str) -> str:
    """A matrix's name in the file, from the model's own."""
    return PREFIX + name.replace(f".{ADAPTER}.", ".")
