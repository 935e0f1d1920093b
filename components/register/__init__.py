"""register: a checkpoint with its card and verdict becomes a version in MLflow's registry, alias `challenger`."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.artifacts import sha256, visible_files
from components.card.preview import FILE as PREVIEW_FILE
from components.checkpoint import check_folder
from components.copies import is_of_card
from components.costs import usd_per_1000_answers
from components.errors import InputError
from components.evaluate.gate import Verdict
from components.events import waiting
from components.fields import finite
from components.files import digest, digest_of, read_json
from components.lineage import (
    ANCESTORS,
    CONTINUED_TAG,
    authors_in,
    authors_of,
    authors_tags,
    beyond,
    is_authors_tag,
    record_ancestors,
    record_data,
    record_owners,
)
from components.names import bot_name
from components.register.model import log_model
from components.registry import CHALLENGER
from components.store import BOT_TAG, Store, check_artifacts, client, open_store, store_errors
from components.tombstones import refuse_forgotten
from components.tracking import PARENT_TAG, cost_tags, end_run, start_parent, step_run

INHERITED = ("mynah.consent", "mynah.code_version", "mynah.image_digest", "mynah.kfp_run_id")


@dataclass(frozen=True, slots=True)
class Registered:
    """A version just registered."""

    name: str
    version: int


def register(name: str, model: Path, report: Path, card: Path, store: Store, run_id: str) -> Registered:
    """Store the checkpoint in `model`, with its card inside, as a logged model of MLflow, and register it as the next version of `name`.

    It belongs to the run `run_id`. Every file is verified in the artifact store before the version exists. A verdict that failed is
    registered too, and says so: the gate keeps it from serving. Raises InputError when an input folder is not what its step writes,
    PlatformError when a store fails; then there is no version.
    """
    tags = lineage(name, model, report, card)
    files = {f"model/{file}": path for file, path in {**visible_files(model), **_card(card)}.items()}
    metrics = _metrics(report)
    if "bits_per_character" in metrics:
        tags["mynah.bits_per_character"] = repr(metrics["bits_per_character"])
    if metrics.get("answers_per_second", 0) > 0:
        tags["mynah.usd_per_1000_answers"] = f"{usd_per_1000_answers(metrics['answers_per_second']):.6f}"
    tags["mynah.model_digest"] = digest_of({file: sha256(path) for file, path in visible_files(model).items()})
    if earlier := _registered_by(name, store, run_id):  # this step was killed after its last act, and is tried again
        return earlier
    model_id = log_model(store, run_id, name, files, tags["mynah.requirements"].split(), metrics)
    return _add_version(name, store, run_id, model_id, tags)


def _registered_by(name: str, store: Store, run_id: str) -> Registered | None:
    """The version of `name` that the run `run_id` registered already."""
    api = client(store.tracking_uri)
    with store_errors(store.tracking_uri):
        found = [version for version in api.search_model_versions(f"run_id = '{run_id}'") if version.name == name]
        if not found:
            return None
        api.set_registered_model_alias(name, CHALLENGER, found[0].version)
    return Registered(name, int(found[0].version))


def _card(card: Path) -> dict[str, Path]:
    return {path.name: path for path in sorted(card.iterdir()) if path.is_file() and is_of_card(path.name)}


def _metrics(report: Path) -> dict[str, float]:
    """The numbers of the report, for the version's page and for comparing versions."""
    record = read_json(report / "metrics.json", "evaluate")
    found = {}
    for key, value in record.items():
        try:
            found[str(key)] = finite(value)
        except TypeError:
            continue
    return found


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
            "mynah.base_model": training["base_model"]["name"],
            "mynah.seed": str(training["recipe"]["seed"]),
            "mynah.requirements": " ".join(_requirements(training)),
            **_ancestry(training),
        }
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{model / 'training.json'} or {report / 'metrics.json'} is not what its step writes: {error}",
            "Run the steps that write them again.",
        ) from error


def _ancestry(training: dict[str, Any]) -> dict[str, str]:
    """Which version it was continued from, and whose posts it knows from there."""
    if "continued_from" not in training:
        return {}
    return {CONTINUED_TAG: str(training["continued_from"]), **authors_tags(map(str, training["continual"]["authors"]), ANCESTORS)}


def _requirements(training: dict[str, Any]) -> list[str]:
    """What MLflow notes that the model needs: the versions it was trained with."""
    versions = training["versions"]
    return [f"torch=={str(versions['torch']).partition('+')[0]}", f"transformers=={versions['transformers']}"]


def _add_version(name: str, store: Store, run_id: str, model_id: str, tags: Mapping[str, str]) -> Registered:
    from mlflow.exceptions import MlflowException

    api = client(store.tracking_uri)
    with store_errors(store.tracking_uri), _fluent(store.tracking_uri):
        try:
            api.create_registered_model(name, tags={BOT_TAG: name})
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        everything = {**tags, **_of_the_run(store, run_id)}
        version = api.create_model_version(name, f"models:/{model_id}", run_id, tags=everything, model_id=model_id)
        api.set_registered_model_alias(name, CHALLENGER, version.version)
    return Registered(name, int(version.version))


@contextlib.contextmanager
def _fluent(uri: str) -> Iterator[None]:
    """MLflow resolves models:/ through its own idea of the store, whatever the client's; telling it writes the environment too."""
    import mlflow

    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("MLFLOW_TRACKING_URI", None)
        else:
            os.environ["MLFLOW_TRACKING_URI"] = before


def _of_the_run(store: Store, run_id: str) -> dict[str, str]:
    """What the pipeline run knows of a version: consent, authors, code, and what it cost so far."""
    api = client(store.tracking_uri)
    run = api.get_run(run_id)
    parent_id = run.data.tags.get(PARENT_TAG, "")
    known = api.get_run(parent_id).data.tags if parent_id else run.data.tags
    costs = cost_tags(store, parent_id) if parent_id else {}
    return {**{key: value for key, value in known.items() if key in INHERITED or is_authors_tag(key)}, **costs}


def by_hand(name: str, model: Path, data: Path, report: Path, card: Path, workdir: Path) -> Registered:
    """Register from a work folder's command line: in a run of its own, which records the posts of `data` as a pipeline's would.

    So a later promotion can compare the version with a champion that was measured on other posts, and its authors can be forgotten.
    Raises InputError also when the model was not trained on `data`.
    """
    tags = lineage(name, model, report, card)  # before anything is made
    _require_same_data(tags, model, data)
    with waiting("Opening the registry"):
        store = open_store(workdir)
        check_artifacts(store)
        others = beyond(authors_of(tags), data)
        refuse_forgotten(store, sorted(authors_in(data) | others))
    run_id = start_parent(store, name, {})
    status = "FAILED"
    try:
        with step_run("filter", store, run_id) as run:
            record_owners(run, data)
            if others:
                record_ancestors(run, others)
            record_data(run, data)
        if (card / PREVIEW_FILE).is_file():  # so that another sample can be chosen, as of a pipeline's card
            with step_run("card", store, run_id) as run:
                run.artifacts(card, "card")
        with step_run("register", store, run_id) as run:
            found = register(name, model, report, card, store, run.run_id)
            run.tags({"mynah.version": str(found.version)})
        status = "FINISHED"
    finally:
        end_run(store, run_id, status)
    return found


def _require_same_data(tags: Mapping[str, str], model: Path, data: Path) -> None:
    for part, tag in (("train", "mynah.data_digest"), ("held_out", "mynah.held_out_digest")):
        path = data / f"{part}.jsonl"
        if not path.is_file():
            raise InputError(f"{data} has no {path.name}", "Name the folder that `mynah filter` wrote.")
        if digest(path) != tags[tag]:
            raise InputError(
                f"{model} was not trained on {data}: {path.name} has another digest", "Name the folder it was trained on."
            )
