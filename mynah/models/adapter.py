"""Adapters: low-rank matrices added to those of a base model (Hu et al. 2021, https://arxiv.org/abs/2106.09685). Imports no torch.

An adapter's folder holds what peft writes (adapter_config.json, adapter_model.safetensors: https://huggingface.co/docs/peft,
"PEFT checkpoint format") and base_model.json, which names its base model by digest. Config and tokenizer are the base model's.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mynah.core.errors import InputError
from mynah.core.files import write_json
from mynah.core.json_reader import JsonField
from mynah.models.architecture import Architecture
from mynah.models.base_model_record import BaseModelRecord
from mynah.models.checkpoint_files import weight_files

CONFIG_FILE, WEIGHTS_FILE, BASE_FILE = "adapter_config.json", "adapter_model.safetensors", "base_model.json"
MAX_RANK = 1024
PREFIX = "base_model.model."  # that peft puts before the names of the model
# Options of peft's LoraConfig with which the same matrices mean something else (https://huggingface.co/docs/peft, "LoraConfig").
OTHER_COMPUTATIONS = (
    "use_dora", "rank_pattern", "alpha_pattern", "modules_to_save", "layers_to_transform", "fan_in_fan_out_patterns", "layer_replication",
    "alora_invocation_tokens", "use_qalora", "use_bdlora", "arrow_config", "lora_bias",
)  # fmt: skip
AGAIN = "Train it again, or use another version."


@dataclass(frozen=True, slots=True)
class AdapterConfig:
    """What adapter_config.json says of the adapter.

    Attributes:
        rank: Of the matrices.
        alpha: Numerator of the scale.
        rank_stabilised: Whether the scale is alpha / sqrt(rank) (Kalajdzievski 2023, https://arxiv.org/abs/2312.03732), else alpha / rank.
        base_path: Where peft looks for the base model: a folder of the machine that wrote the file, or a name on the hub.
    """

    rank: int
    alpha: float
    rank_stabilised: bool
    base_path: str

    @property
    def scale(self) -> float:
        """What the product of both matrices is multiplied by."""
        return self.alpha / (math.sqrt(self.rank) if self.rank_stabilised else self.rank)


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter."""
    return (folder / CONFIG_FILE).is_file()


def check_adapter(folder: Path) -> AdapterConfig:
    """Check an adapter's folder without reading its weights.

    Raises:
        InputError: A file is missing or wrong, the rank is impossible, the adapter is none of plain LoRA, or there are full weights beside it.
    """
    full = [path.name for path in weight_files(folder) if path.name != WEIGHTS_FILE]
    if full:
        raise InputError(
            f"{folder} holds both an adapter and full weights ({full[0]})", "Keep one of them in a folder of its own."
        )
    for file in (WEIGHTS_FILE, BASE_FILE):
        if not (folder / file).is_file():
            raise InputError(f"{folder} holds an adapter without {file}", AGAIN)
    config = JsonField.read(folder / CONFIG_FILE, "finetune")
    if config["peft_type"].text() != "LORA":
        raise InputError(f"{folder} holds an adapter of type {config['peft_type'].text()[:40]!r}", "Only LoRA is supported.")
    for name in OTHER_COMPUTATIONS:
        if config.get(name).value:
            raise InputError(f"{folder}/{CONFIG_FILE}: {name} is not supported", "Train the adapter without it.")
    if config.get("bias").value not in (None, "none"):
        raise InputError(f"{folder}/{CONFIG_FILE}: trained biases are not supported", 'Train the adapter with bias "none".')
    rank = config["r"].count()
    if not 0 < rank <= MAX_RANK:
        raise InputError(f"{folder}/{CONFIG_FILE}: the rank is {rank}, and must be from 1 to {MAX_RANK}", AGAIN)
    rank_stabilised = config.get("use_rslora")
    return AdapterConfig(
        rank,
        config["lora_alpha"].number(),
        rank_stabilised.value is not None and rank_stabilised.flag(),
        config.get("base_model_name_or_path").text(),
    )


def read_base(folder: Path) -> BaseModelRecord:
    """Return which base model an adapter's folder belongs to. Raises InputError where base_model.json is missing or wrong."""
    return BaseModelRecord.from_json(JsonField.read(folder / BASE_FILE, "finetune"))


def write_base(folder: Path, base: BaseModelRecord) -> None:
    """Write base_model.json into an adapter's folder."""
    write_json(folder / BASE_FILE, base.to_record())


def matrix_sizes(of: Architecture) -> Mapping[str, tuple[int, int]]:
    """The matrices of a block that an adapter may add to, by their names within the block: (outputs, inputs)."""
    queries, keys = of.heads * of.head, of.kv_heads * of.head
    if of.family == "gpt2":
        return {
            "attn.c_attn": (3 * of.width, of.width),
            "attn.c_proj": (of.width, of.width),
            "mlp.c_fc": (of.inner, of.width),
            "mlp.c_proj": (of.width, of.inner),
        }
    return {
        "self_attn.q_proj": (queries, of.width),
        "self_attn.k_proj": (keys, of.width),
        "self_attn.v_proj": (keys, of.width),
        "self_attn.o_proj": (of.width, queries),
        "mlp.gate_proj": (of.inner, of.width),
        "mlp.up_proj": (of.inner, of.width),
        "mlp.down_proj": (of.width, of.inner),
    }


def numbers_of(of: Architecture, rank: int) -> int:
    """The numbers of an adapter of this rank on all matrices."""
    return of.layers * sum(rank * (outputs + inputs) for outputs, inputs in matrix_sizes(of).values())


def block_prefix(of: Architecture) -> str:
    """What stands before a block's number in the names of an adapter's tensors."""
    return f"{PREFIX}transformer.h." if of.family == "gpt2" else f"{PREFIX}model.layers."
