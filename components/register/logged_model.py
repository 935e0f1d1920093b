"""Store a checkpoint or an adapter as a logged model of MLflow, with its folder under model/.

KServe serves <uri>/model/ as it is (of an adapter, with its base model, which is stored apart), and `mlflow.pyfunc` and
`mlflow.transformers` load <uri>. MLflow's own `log_model` copies the weights to a scratch folder and verifies nothing; here its
description is created from the small files, and the weights are uploaded directly to the store.
https://mlflow.org/docs/latest/ml/deep-learning/transformers/guide/
"""

import contextlib
import logging
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from components.register.adapter import Adapter, describe_adapter
from mynah.core.errors import PlatformError
from mynah.core.files import make_folder, storage_errors, write_json
from mynah.mlflow_client.client import client, store_errors
from mynah.mlflow_client.store import Store
from mynah.models.adapter import CONFIG_FILE
from mynah.registry.base_names import BASE_TAG
from mynah.storage.base import upload, upload_shown, visible_files
from mynah.storage.manifest import MANIFEST_FILE, manifest_of
from mynah.storage.open import open_artifact_store

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel
    from mlflow.models import Model

WEIGHTS = ".safetensors"
ADAPTER_FILE = f"model/{CONFIG_FILE}"


@dataclass(frozen=True, slots=True)
class ModelToLog:
    """What becomes a logged model.

    Attributes:
        name: The bot.
        files: Paths by name, the checkpoint or the adapter under model/.
        requirements: Python packages that the model needs.
        metrics: Its metrics.
        adapter: What the files hold, where that is no checkpoint.
    """

    name: str
    files: Mapping[str, Path]
    requirements: Sequence[str]
    metrics: Mapping[str, float]
    adapter: Adapter | None = None

    @property
    def tags(self) -> dict[str, str]:
        """The logged model's tags. That of the base model keeps `mynah prune` from removing it, from before it is stored."""
        return {"mynah.bot": self.name, **({BASE_TAG: self.adapter.base.digest} if self.adapter else {})}


@dataclass(frozen=True, slots=True)
class Logged:
    """A logged model with the bytes of all its files."""

    model_id: str
    size: int


def log_model(store: Store, run_id: str, model: ModelToLog) -> Logged:
    """Store and verify files as a logged model, and first the base model of an adapter, unless the store has it.

    Args:
        store: The tracking store.
        run_id: The run of the model.
        model: What to log.

    Returns:
        The logged model.

    Raises:
        InputError: No lock for storing a base model is configured, or the store has it with another tokenizer.
        PlatformError: A store failed; the model is then marked FAILED.
    """
    from mlflow.entities import LoggedModelOutput, Metric

    api = client(store.tracking_uri)
    with store_errors(store.tracking_uri):
        run = api.get_run(run_id)
        logged = api.create_logged_model(run.info.experiment_id, "model", source_run_id=run_id, tags=model.tags)
    try:
        size = _store_described(store, model, logged)
        with store_errors(store.tracking_uri):
            api.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
            now = int(time.time() * 1000)
            metrics = [Metric(key, value, now, 0, model_id=logged.model_id) for key, value in model.metrics.items()]
            api.log_batch(run_id, metrics)
            api.finalize_logged_model(logged.model_id, "READY")
    except BaseException:
        _mark_failed(store, logged.model_id)
        raise
    return Logged(str(logged.model_id), size)


def _store_described(store: Store, model: ModelToLog, logged: "LoggedModel") -> int:
    """Store a model's files with MLflow's description of them and a manifest; return the bytes of all."""
    scratch_errors = storage_errors(Path(tempfile.gettempdir()))
    with scratch_errors, tempfile.TemporaryDirectory(prefix="mynah-register-") as folder:
        scratch = Path(folder)
        files, base_path = dict(model.files), ""
        if model.adapter:
            base_path = model.adapter.store_base(store)
            files[ADAPTER_FILE] = model.adapter.config_for(base_path, scratch / CONFIG_FILE)
        target = open_artifact_store(logged.artifact_location, store.tracking_uri)
        with ThreadPoolExecutor(1) as pool:  # MLflow's imports and description take seconds: upload the weights meanwhile
            upload_task = pool.submit(upload_shown, target, files, "Storing the model")
            described = _describe(replace(model, files=files), logged, base_path, scratch)
            write_json(scratch / MANIFEST_FILE, manifest_of({**described, **files}))
            upload_task.result()
        upload(target, {**described, MANIFEST_FILE: scratch / MANIFEST_FILE})
        return sum(path.stat().st_size for path in (*described.values(), *files.values(), scratch / MANIFEST_FILE))


def _describe(model: ModelToLog, logged: "LoggedModel", base_path: str, scratch: Path) -> dict[str, Path]:
    """Write MLflow's files of a transformers model (MLmodel, requirements, tokenizer) into `scratch`; return paths by name."""
    from mlflow.models import Model

    described = scratch / "described"
    description = Model(artifact_path=logged.artifact_location, run_id=logged.source_run_id, model_id=logged.model_id)
    if model.adapter:
        describe_adapter(model.adapter, description, base_path, described, model.requirements)
    else:
        _describe_checkpoint(model, description, described, scratch / "light")
    description.flavors["transformers"]["source_model_name"] = model.name  # else the scratch folder's path
    description.model_size_bytes = sum(path.stat().st_size for path in model.files.values())
    description.save(described / "MLmodel")
    return visible_files(described)


def _describe_checkpoint(model: ModelToLog, description: "Model", described: Path, light: Path) -> None:
    """Let MLflow describe a checkpoint into `described` by its small files, which are copied to `light`."""
    import mlflow.transformers
    from huggingface_hub import ModelCard

    for file, path in model.files.items():
        if not file.endswith(WEIGHTS):
            make_folder((light / file).parent)
            shutil.copyfile(path, light / file)
    logging.getLogger("mlflow.transformers").setLevel(logging.ERROR)  # it warns of a custom licence
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it warns of every card without metadata
    # Without a card, MLflow searches the hub for one under the folder's name.
    card = ModelCard((light / "model" / "README.md").read_text("utf-8"), ignore_metadata_errors=True)
    mlflow.transformers.save_model(
        str(light / "model"),
        described,
        mlflow_model=description,
        task="text-generation",
        pip_requirements=list(model.requirements),
        model_card=card,
    )
    shutil.rmtree(described / "model")  # these files are uploaded from their own folder, with the weights


def _mark_failed(store: Store, model_id: str) -> None:
    with contextlib.suppress(PlatformError), store_errors(store.tracking_uri):
        client(store.tracking_uri).finalize_logged_model(model_id, "FAILED")
