"""What registering an adapter needs besides its own files: its base model, found and checked, and where others find that."""

import fnmatch
import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from mynah.core.errors import InputError
from mynah.core.files import make_folder, write_json, write_text
from mynah.mlflow_client.store import Store
from mynah.models.adapter import AGAIN, CONFIG_FILE, check_adapter, is_adapter, read_base
from mynah.models.adapter_base import base_folder
from mynah.models.architecture import read_architecture
from mynah.models.base_model_record import BaseModelRecord
from mynah.models.base_models import FILE_PATTERNS
from mynah.models.checkpoint_files import check_full, weight_files
from mynah.registry.base_names import BASE_PATH, BASE_TAG, BASES_FOLDER, MOUNT, RANK_TAG
from mynah.registry.base_store import TOKENIZER_FILES, base_lock, ensure_base
from mynah.storage.base import visible_files
from mynah.storage.local import FolderArtifactStore
from mynah.training.training_record import TRAINING_FILE, TrainingRecord

if TYPE_CHECKING:
    from mlflow.models import Model


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


def describe_adapter(
    adapter: Adapter, description: "Model", base_path: str, described: Path, requirements: Sequence[str]
) -> None:
    """Write MLflow's files of an adapter, as if MLflow had saved it with `base_model_path`.

    MLflow's own `save_model` would load the base model's tokenizer, and write it with indentation, for every version: seconds, and megabytes.
    https://mlflow.org/docs/latest/ml/deep-learning/transformers/guide/#peft-models-in-mlflow-transformers-flavor

    Args:
        adapter: The adapter.
        description: The contents of MLmodel, to which its flavours are added.
        base_path: The folder where the base model is found; `mlflow.transformers.load_model(…, base_model_path=…)` names another.
        described: The folder to write the files into. Each version has a tokenizer of its own there: MLflow's loader looks nowhere else.
        requirements: Python packages that the model needs.
    """
    import mlflow.pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema
    from mlflow.version import VERSION

    description.add_flavor(
        "transformers", transformers_version=version("transformers"), code=None, task="text-generation", instance_type="TextGenerationPipeline",
        pipeline_model_type="AutoModelForCausalLM", local_base_model_path=base_path, peft_adaptor="model",
        components=["tokenizer"], tokenizer_type="AutoTokenizer",
    )  # fmt: skip
    description.signature = ModelSignature(Schema([ColSpec("string")]), Schema([ColSpec("string")]))
    conda_env, python_env = "conda.yaml", "python_env.yaml"
    mlflow.pyfunc.add_to_model(description, loader_module="mlflow.transformers", conda_env=conda_env, python_env=python_env)
    tokenizer = described / "components" / "tokenizer"
    make_folder(tokenizer)
    _write_environment(described, conda_env, python_env, [f"mlflow=={VERSION}", *requirements])
    for name in (*TOKENIZER_FILES, "tokenizer_config.json", "special_tokens_map.json", "config.json"):
        if name in adapter.base_files:
            _copy_compact(adapter.base_files[name], tokenizer / name)


def _write_environment(described: Path, conda_env: str, python_env: str, packages: Sequence[str]) -> None:
    """Write what MLflow rebuilds a model's environment from: for conda, for virtualenv, and for pip."""
    python = platform.python_version()
    pip = {
        "name": "mlflow-env",
        "channels": ["conda-forge"],
        "dependencies": [f"python={python}", "pip", {"pip": list(packages)}],
    }
    write_text(described / conda_env, yaml.safe_dump(pip, sort_keys=False))
    environment = {"python": python, "build_dependencies": [], "dependencies": ["-r requirements.txt"]}
    write_text(described / python_env, yaml.safe_dump(environment, sort_keys=False))
    write_text(described / "requirements.txt", "\n".join(packages))


def _copy_compact(source: Path, target: Path) -> None:
    """Copy a text file without the indentation of its lines; no string in JSON extends over two."""
    lines = source.read_bytes().split(b"\n")
    target.write_bytes(b"".join(line.strip() for line in lines) if source.suffix == ".json" else b"\n".join(lines))
