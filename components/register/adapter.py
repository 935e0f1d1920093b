"""What registering an adapter needs besides its own files: its base model, found and checked, and where others find that."""

import fnmatch
import json
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mynah.core.errors import InputError
from mynah.core.files import write_json, write_text
from mynah.mlflow_client.store import Store
from mynah.models.adapter import AGAIN, CONFIG_FILE, check_adapter, is_adapter, read_base
from mynah.models.adapter_base import base_folder
from mynah.models.architecture import read_architecture
from mynah.models.base_model_record import BaseModelRecord
from mynah.models.base_models import FILE_PATTERNS
from mynah.models.checkpoint_files import check_full, weight_files
from mynah.registry.base_names import BASE_PATH, BASE_TAG, BASES_FOLDER, MOUNT, RANK_TAG
from mynah.registry.base_store import base_lock, ensure_base
from mynah.storage.base import visible_files
from mynah.storage.local import FolderArtifactStore
from mynah.training.training_record import TRAINING_FILE, TrainingRecord


@dataclass(frozen=True)
class Adapter:
    """An adapter's folder, checked, with its base model on this machine."""

    folder: Path
    base: BaseModelRecord
    base_folder: Path
    rank: int

    @classmethod
    def read(cls, folder: Path) -> "Adapter | None":
        """Return the adapter in a folder, None for a whole checkpoint.

        Raises:
            InputError: The adapter is broken, belongs to another base model than training.json says, or that is not on this machine.
        """
        if not is_adapter(folder):
            return None
        from mynah.models.adapter_weights import read_adapter  # torch, which takes seconds

        config, base, found = check_adapter(folder), read_base(folder), base_folder(folder)
        trained_on = TrainingRecord.read(folder).base_model
        if trained_on.digest != base.digest:
            raise InputError(
                f"the adapter in {folder} belongs to the base model {base.name} with the digest {base.digest[:12]}…, "
                f"and its {TRAINING_FILE} names {trained_on.name} with {trained_on.digest[:12]}…",
                AGAIN,
            )
        read_adapter(folder, read_architecture(check_full(found), found))
        return cls(folder, base, found, config.rank)

    @property
    def tags(self) -> dict[str, str]:
        """The tags of a version that is this adapter; its base model's name and licence are those of every version."""
        return {BASE_TAG: self.base.digest, RANK_TAG: str(self.rank)}

    @property
    def requirements(self) -> list[str]:
        """The package that transformers and MLflow load an adapter with; Mynah's server needs none."""
        try:
            return [f"peft=={version('peft')}"]
        except PackageNotFoundError:
            return ["peft"]

    @cached_property
    def base_files(self) -> dict[str, Path]:
        """The files of the base model to store, by name: weights, config, tokenizer, card and licence, and nothing else of its folder."""
        wanted = {path.name for path in weight_files(self.base_folder)}
        return {
            name: path
            for name, path in visible_files(self.base_folder).items()
            if name in wanted or any(fnmatch.fnmatch(name, pattern) for pattern in FILE_PATTERNS)
        }

    def store_base(self, store: Store) -> str:
        """Store the base model, unless it is there, and return the folder where a loader of the stored adapter looks for it.

        Raises:
            InputError: No lock is configured, or the store has the base model with another tokenizer.
            PlatformError: The store or the lock fails.
        """
        with base_lock(store, self.base.digest):
            target = ensure_base(store, self.base.digest, self.base_files)
        return str(target.folder) if isinstance(target, FolderArtifactStore) else f"{MOUNT}/{BASES_FOLDER}/{self.base.digest}"

    def config_for(self, base_path: str, path: Path) -> Path:
        """Write the adapter's config to `path`, with its base model at `base_path` instead of where it was trained, and return `path`."""
        config = json.loads((self.folder / CONFIG_FILE).read_bytes())
        write_json(path, config | {BASE_PATH: base_path})
        return path


def describe_adapter(flavor: dict[str, Any], base_path: str, described: Path) -> None:
    """Change MLflow's description of a base model to that of an adapter of it, as if MLflow had saved the adapter with `base_model_path`.

    https://mlflow.org/docs/latest/ml/deep-learning/transformers/guide/#peft-models-in-mlflow-transformers-flavor

    Args:
        flavor: The keys of the flavour "transformers" in MLmodel; changed in place.
        base_path: The folder where the base model is found; `mlflow.transformers.load_model(…, base_model_path=…)` names another.
        described: MLflow's files. Each version has a tokenizer of its own there, which becomes smaller without indentation.
    """
    flavor.pop("model_binary")
    flavor |= {"local_base_model_path": base_path, "peft_adaptor": "model"}
    for tokenizer in described.glob("components/*/tokenizer.json"):
        compact = json.dumps(json.loads(tokenizer.read_bytes()), ensure_ascii=False, separators=(",", ":"))
        write_text(tokenizer, compact)
