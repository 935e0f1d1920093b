"""register: a checkpoint with its card and verdict becomes a version in MLflow's registry, alias `challenger`."""

import logging
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.checkpoint import check_folder
from components.errors import InputError
from components.evaluate.gate import Verdict, finite
from components.files import digest, read_json, storage_errors
from components.names import bot_name
from components.registry import BOT_TAG, CHALLENGER
from components.tracking import Store, client, end_run, open_store, start_parent, store_errors

CARD_FILES = ("README.md", "predictions.png")


@dataclass(frozen=True, slots=True)
class Registered:
    """A version just registered."""

    name: str
    version: int


def register(name: str, model: Path, report: Path, card: Path, store: Store, run_id: str) -> Registered:
    """Log the checkpoint in `model`, with its card inside, to MLflow, and register it as the next version of `name`.

    It belongs to the run `run_id`. A verdict that failed is registered too, and says so: the gate keeps it from serving.
    Raises InputError when an input folder is not what its step writes.
    """
    tags = lineage(name, model, report, card)
    with storage_errors(model), tempfile.TemporaryDirectory(prefix=".register-", dir=model.parent) as scratch:
        whole = Path(scratch).resolve() / "model"
        _gather(model, card, whole)
        with store_errors(store.tracking_uri):
            return _log(name, whole, store, run_id, tags)


def lineage(name: str, model: Path, report: Path, card: Path) -> dict[str, str]:
    """What a version's tags say of where it comes from. Raises InputError when a folder is not what its step writes."""
    bot_name(name)
    check_folder(model)
    verdict = Verdict.read(report)
    training = read_json(model / "training.json", "finetune")
    metrics = read_json(report / "metrics.json", "evaluate")
    if not (card / "README.md").is_file():
        raise InputError(f"{card} has no README.md", "Is it a folder that `mynah card` wrote?")
    try:
        return {
            "mynah.verdict": "passed" if verdict.passed else "failed: " + ", ".join(check.metric for check in verdict.failures),
            "mynah.held_out_loss": repr(finite(metrics["held_out_loss"])),
            "mynah.data_digest": training["data_digest"],
            "mynah.held_out_digest": training["held_out_digest"],
            "mynah.model_digest": digest(model),
            "mynah.base_model": training["base_model"]["name"],
            "mynah.seed": str(training["recipe"]["seed"]),
            "mynah.requirements": " ".join(_requirements(training)),
        }
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{model / 'training.json'} or {report / 'metrics.json'} is not what its step writes: {error}",
            "Run the steps that write them again.",
        ) from error


def _requirements(training: dict[str, Any]) -> list[str]:
    """What MLflow notes that the model needs: the versions it was trained with."""
    versions = training["versions"]
    return [f"torch=={str(versions['torch']).partition('+')[0]}", f"transformers=={versions['transformers']}"]


def _gather(model: Path, card: Path, whole: Path) -> None:
    """The checkpoint with its card in one folder, as the hub has it; hard links, so that weights are not copied."""

    def link(source: str, target: str) -> None:
        try:
            Path(target).hardlink_to(source)
        except OSError:  # another disk, or a file system without links
            shutil.copyfile(source, target)

    shutil.copytree(model, whole, copy_function=link, ignore=shutil.ignore_patterns(".*"))
    for name in CARD_FILES:
        if (card / name).is_file():
            (whole / name).unlink(missing_ok=True)  # a link to the model's own file, which is not ours to write into
            shutil.copyfile(card / name, whole / name)


def _log(name: str, whole: Path, store: Store, run_id: str, tags: dict[str, str]) -> Registered:
    import mlflow
    import mlflow.transformers
    from mlflow.exceptions import MlflowException

    mlflow_client = client(store.tracking_uri)
    # It looks on the hub for a card and a licence of what lies in a folder here, and warns that there are none.
    logging.getLogger("mlflow.transformers").setLevel(logging.ERROR)
    mlflow.set_tracking_uri(store.tracking_uri)
    mlflow.set_registry_uri(store.tracking_uri)
    with mlflow.start_run(run_id=run_id):
        # Path mode: the tokenizer lies beside the weights, so that <uri>/model/ is a complete Hugging Face folder.
        logged = mlflow.transformers.log_model(
            str(whole),
            name="model",
            task="text-generation",
            pip_requirements=tags["mynah.requirements"].split(),
        )
    try:
        mlflow_client.create_registered_model(name, tags={BOT_TAG: name})
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    version = mlflow_client.create_model_version(name, f"models:/{logged.model_id}", run_id, tags=tags, model_id=logged.model_id)
    mlflow_client.set_registered_model_alias(name, CHALLENGER, version.version)
    return Registered(name, int(version.version))


def by_hand(name: str, model: Path, report: Path, card: Path, workdir: Path) -> Registered:
    """Register from a work folder's command line: in a run of its own."""
    lineage(name, model, report, card)  # before anything is made
    store = open_store(workdir)
    run_id = start_parent(store, name, {"mynah.step": "register"})
    status = "FAILED"
    try:
        found = register(name, model, report, card, store, run_id)
        status = "FINISHED"
    finally:
        end_run(store, run_id, status)
    return found
