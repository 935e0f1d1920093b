"""Writes models as Hugging Face checkpoints: those in memory, and adapters merged into their base model."""

from pathlib import Path

from mynah.core.files import set_mode
from mynah.models.adapter import BASE_FILE, CONFIG_FILE, WEIGHTS_FILE
from mynah.models.checkpoint import Checkpoint, load

ADAPTER_FILES = (CONFIG_FILE, WEIGHTS_FILE, BASE_FILE)  # what a merged folder has no more


def write_merged(adapter: Path, folder: Path) -> None:
    """Write the model of an adapter and its base model into an empty folder, as a checkpoint that needs neither.

    Raises:
        InputError: One of both is broken or missing.
    """
    save(load(adapter), folder)


def save(loaded: Checkpoint, folder: Path) -> None:
    """Write weights, tokenizer and generation defaults to `folder`, so that a plain transformers pipeline samples posts.

    The generation defaults are those of huggingtweets' demo (https://github.com/borisdayma/huggingtweets).
    """
    from transformers import GenerationConfig

    loaded.model.generation_config = GenerationConfig(
        do_sample=True, temperature=1.0, top_p=0.95, top_k=0, min_new_tokens=10, max_new_tokens=160,
        bos_token_id=loaded.begin, eos_token_id=loaded.end, pad_token_id=loaded.end,
    )  # fmt: skip
    # transformers' pipeline puts this prefix before every prompt, so that each generation starts where a post starts. Where the tokenizer
    # has a token for that, it puts it there by itself.
    prefix = loaded.tokenizer.convert_ids_to_tokens(loaded.end) if loaded.begin == loaded.end else ""
    loaded.model.config.task_specific_params = {"text-generation": {"prefix": prefix}}
    loaded.model.save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)
    for path in folder.iterdir():
        set_mode(path, 0o644)  # transformers makes weights readable by their owner only, and the server runs as another user
