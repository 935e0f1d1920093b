"""Store a checkpoint as a logged model of MLflow, with the complete Hugging Face folder under model/.

KServe serves <uri>/model/ as it is, and `mlflow.pyfunc` and `mlflow.transformers` load <uri>. MLflow's own `log_model` copies the
weights to a scratch folder and verifies nothing; here its description is created from the small files, and the weights are uploaded
directly to the store. https://mlflow.org/docs/latest/ml/deep-learning/transformers/guide/
"""

import contextlib
import logging
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from mynah.core.errors import PlatformError
from mynah.core.files import make_folder, storage_errors, write_json
from mynah.core.progress import progress
from mynah.mlflow_client.client import client, store_errors
from mynah.mlflow_client.store import Store
from mynah.storage.base import ArtifactStore, upload, visible_files
from mynah.storage.manifest import MANIFEST_FILE, manifest_of
from mynah.storage.open import open_artifact_store

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel

WEIGHTS = ".safetensors"
LONG_UPLOAD = 32_000_000  # bytes; a smaller model is stored before a progress bar could help


def log_model(
    store: Store, run_id: str, name: str, files: Mapping[str, Path], requirements: Sequence[str], metrics: Mapping[str, float]
) -> str:
    """Store and verify files as a logged model.

    Args:
        store: The tracking store.
        run_id: The run of the model.
        name: The bot.
        files: Paths by name, the checkpoint under model/.
        requirements: Python packages that the model needs.
        metrics: The model's metrics.

    Returns:
        The model's id.

    Raises:
        PlatformError: A store failed; the model is then marked FAILED.
    """
    from mlflow.entities import LoggedModelOutput, Metric

    api = client(store.tracking_uri)
    with store_errors(store.tracking_uri):
        run = api.get_run(run_id)
        model = api.create_logged_model(run.info.experiment_id, "model", source_run_id=run_id, tags={"mynah.bot": name})
    try:
        scratch_errors = storage_errors(Path(tempfile.gettempdir()))
        with scratch_errors, tempfile.TemporaryDirectory(prefix="mynah-register-") as scratch:
            target = open_artifact_store(model.artifact_location, store.tracking_uri)
            with ThreadPoolExecutor(1) as pool:  # MLflow's imports and description take seconds: upload the weights meanwhile
                upload_task = pool.submit(_store, target, files)
                described = _describe(name, model, files, requirements, Path(scratch))
                write_json(Path(scratch) / MANIFEST_FILE, manifest_of({**described, **files}))
                upload_task.result()
            upload(target, {**described, MANIFEST_FILE: Path(scratch) / MANIFEST_FILE})
        with store_errors(store.tracking_uri):
            api.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
            now = int(time.time() * 1000)
            api.log_batch(run_id, [Metric(key, value, now, 0, model_id=model.model_id) for key, value in metrics.items()])
            api.finalize_logged_model(model.model_id, "READY")
    except BaseException:
        _mark_failed(store, model.model_id)
        raise
    return str(model.model_id)


def _store(target: ArtifactStore, files: Mapping[str, Path]) -> None:
    size = sum(path.stat().st_size for path in files.values())
    if size < LONG_UPLOAD:
        upload(target, files)
        return
    with progress("Storing the model", size / 1e6, "MB") as advance:
        upload(target, files, lambda done: advance(done / 1e6))


def _describe(
    name: str, logged: "LoggedModel", files: Mapping[str, Path], requirements: Sequence[str], scratch: Path
) -> dict[str, Path]:
    """Write MLflow's files of a transformers model (MLmodel, requirements, tokenizer) into `scratch`; return paths by name."""
    import mlflow.transformers
    from huggingface_hub import ModelCard
    from mlflow.models import Model

    light, described = scratch / "light", scratch / "described"
    for file, path in files.items():
        if not file.endswith(WEIGHTS):
            make_folder((light / file).parent)
            shutil.copyfile(path, light / file)
    logging.getLogger("mlflow.transformers").setLevel(logging.ERROR)  # it warns of a custom licence
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it warns of every card without metadata
    # Without a card, MLflow searches the hub for one under the folder's name.
    card = ModelCard((light / "model" / "README.md").read_text("utf-8"), ignore_metadata_errors=True)
    model = Model(artifact_path=logged.artifact_location, run_id=logged.source_run_id, model_id=logged.model_id)
    mlflow.transformers.save_model(
        str(light / "model"),
        described,
        mlflow_model=model,
        task="text-generation",
        pip_requirements=list(requirements),
        model_card=card,
    )
    shutil.rmtree(described / "model")  # these files are uploaded from their own folder, with the weights
    model.flavors["transformers"]["source_model_name"] = name  # else the scratch folder's path
    model.model_size_bytes = sum(path.stat().st_size for path in files.values())
    model.save(described / "MLmodel")
    return visible_files(described)


def _mark_failed(store: Store, model_id: str) -> None:
    with contextlib.suppress(PlatformError), store_errors(store.tracking_uri):
        client(store.tracking_uri).finalize_logged_model(model_id, "FAILED")
