"""Writes models as Hugging Face checkpoints: those in memory, and adapters merged into their base model."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mynah.core.files import make_folder, require_space, set_mode, storage_errors
from mynah.core.progress import waiting
from mynah.models.adapter import BASE_FILE, CONFIG_FILE, WEIGHTS_FILE, is_adapter
from mynah.models.adapter_base import base_folder
from mynah.models.checkpoint import Checkpoint, load
from mynah.models.checkpoint_files import weight_files

ADAPTER_FILES = (CONFIG_FILE, WEIGHTS_FILE, BASE_FILE)  # what a merged folder has no more
FP32_OF_HALF = 2  # weights are written in fp32, and base models may have half of that


@contextmanager
def whole_model(folder: Path, scratch: Path | None = None) -> Iterator[Path]:
    """Yield a folder with a checkpoint's full weights: itself; of an adapter, a temporary one with both merged, and its other files.

    Args:
        folder: The checkpoint.
        scratch: Where the temporary folder is made; None: where the system has them.

    Raises:
        InputError: The adapter or its base model is broken or missing.
        PlatformError: The disk is full.
    """
    if not is_adapter(folder):
        yield folder
        return
    with (
        storage_errors(scratch or Path(tempfile.gettempdir())),
        tempfile.TemporaryDirectory(prefix="mynah-merged-", dir=scratch) as merged,
    ):
        write_merged(folder, Path(merged))
        yield Path(merged)


def write_merged(adapter: Path, folder: Path) -> None:
    """Write the model of an adapter and its base model into a folder, as a checkpoint that needs neither, with the adapter's other files.

    Raises:
        InputError: One of both is broken or missing.
        PlatformError: The disk is full.
    """
    size = sum(path.stat().st_size for path in weight_files(base_folder(adapter)))
    make_folder(folder)
    require_space(folder, FP32_OF_HALF * size, "merging an adapter into its base model")
    with waiting("Merging the adapter into its base model"), storage_errors(folder):
        for path in sorted(adapter.iterdir()):
            if path.is_file() and path.name not in ADAPTER_FILES:
                shutil.copyfile(path, folder / path.name)
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
