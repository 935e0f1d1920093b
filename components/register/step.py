"""register: a checkpoint with its card and verdict becomes a version in MLflow's registry, with the alias `challenger`."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from components.register.adapter import Adapter
from components.register.logged_model import ModelToLog, log_model
from mynah.core.errors import GateRefused, InputError
from mynah.core.files import digest, digest_of
from mynah.core.names import bot_name
from mynah.core.progress import notify, waiting
from mynah.core.settings import MLFLOW_TRACKING_URI
from mynah.data.authors import ANCESTORS, authors_of, authors_tags, is_authors_tag
from mynah.data.datasets import PARTS
from mynah.mlflow_client.client import client, store_errors
from mynah.mlflow_client.store import BOT_TAG, Store
from mynah.models.checkpoint import check_folder
from mynah.models.evaluation_record import METRICS_FILE, Metrics
from mynah.models.verdict import Verdict
from mynah.registry.base_names import BASE_TAG, BYTES_TAG
from mynah.registry.card_files import PREVIEW_FILE, README_FILE
from mynah.registry.forgotten_authors import refuse_forgotten
from mynah.registry.forgotten_bots import refuse_forgotten_bot
from mynah.registry.lineage import (
    CONTINUED_TAG,
    UNCHANGED_TAG,
    authors_in,
    authors_without_posts,
    record_ancestors,
    record_data,
    record_owners,
)
from mynah.registry.published_copies import is_card_file
from mynah.registry.versions import CHALLENGER
from mynah.storage.base import sha256, visible_files
from mynah.tracking.costs import usd_per_1000_answers
from mynah.tracking.open import check_artifacts, open_store
from mynah.tracking.runs import cost_tags, end_run, start_parent, steps_of
from mynah.tracking.step_run import StepRun, step_run
from mynah.tracking.tags import PARENT_TAG, SECONDS_TAG, number
from mynah.training.training_record import TRAINING_FILE, TrainingRecord

INHERITED = ("mynah.consent", "mynah.code_version", "mynah.image_digest", "mynah.kfp_run_id")


@dataclass(frozen=True, slots=True)
class Registered:
    """A version that was just registered."""

    name: str
    version: int


def register(name: str, model: Path, report: Path, card: Path, store: Store, run_id: str) -> Registered:
    """Register a checkpoint as the next version of a bot.

    Every file is verified in the artifact store before the version exists. A failed verdict is registered too: the gate keeps that version
    from serving.

    Args:
        name: The bot.
        model: The checkpoint.
        report: The folder of `evaluate`.
        card: The folder of `card`.
        store: The tracking store.
        run_id: The run of the version.

    Raises:
        InputError: An input folder differs from what its step writes.
        PlatformError: A store fails; then there is no version.
    """
    adapter = Adapter.read(model)
    tags = lineage(name, model, report, card, adapter)
    files = {f"model/{file}": path for file, path in {**visible_files(model), **_card(card)}.items()}
    metrics = Metrics.read(report).measured
    if "bits_per_character" in metrics:
        tags["mynah.bits_per_character"] = repr(metrics["bits_per_character"])
    if metrics.get("answers_per_second", 0) > 0:
        tags["mynah.usd_per_1000_answers"] = f"{usd_per_1000_answers(metrics['answers_per_second']):.6f}"
    tags["mynah.model_digest"] = digest_of({file: sha256(path) for file, path in visible_files(model).items()})
    if earlier := _registered_by(name, store, run_id):  # an earlier attempt was killed after registering
        return earlier
    logged = log_model(store, run_id, ModelToLog(name, files, tags["mynah.requirements"].split(), metrics, adapter))
    tags[BYTES_TAG] = str(logged.size)
    return _add_version(name, store, run_id, logged.model_id, tags, _recorded_seconds(model, metrics))


def register_or_keep(name: str, model: Path, report: Path, card: Path, store: Store, run: StepRun) -> int:
    """Register a checkpoint, unless it is the version that training continued from, and record the version in the step's run.

    Returns:
        The version's number; 0 where continuing brought nothing, so that there is no new version.

    Raises:
        InputError, PlatformError: As `register`.
    """
    training = TrainingRecord.read(model)
    if training.is_unchanged and training.continual:
        run.tags({UNCHANGED_TAG: str(training.continual.parent)})
        notify(f"no version is registered: continuing from {_parent(training)} brought nothing, and {name} stays as it was")
        return 0
    version = register(name, model, report, card, store, run.run_id).version
    run.tags({"mynah.version": str(version)})
    return version


def _parent(training: TrainingRecord) -> str:
    """Return the name, in messages, of the model that training continued from."""
    earlier = training.continual.parent if training.continual else ""
    return earlier if isinstance(earlier, str) else f"version {earlier}"


def _registered_by(name: str, store: Store, run_id: str) -> Registered | None:
    """Return the version of `name` that the run `run_id` already registered."""
    api = client(store.tracking_uri)
    with store_errors(store.tracking_uri):
        versions = [version for version in api.search_model_versions(f"run_id = '{run_id}'") if version.name == name]
        if not versions:
            return None
        api.set_registered_model_alias(name, CHALLENGER, versions[0].version)
    return Registered(name, int(versions[0].version))


def _card(card: Path) -> dict[str, Path]:
    return {path.name: path for path in sorted(card.iterdir()) if path.is_file() and is_card_file(path.name)}


def lineage(name: str, model: Path, report: Path, card: Path, adapter: Adapter | None) -> dict[str, str]:
    """Return the tags for a version's origin.

    Args:
        name: The bot.
        model: A folder that `mynah finetune` wrote.
        report: A folder that `mynah evaluate` wrote.
        card: A folder that `mynah card` wrote.
        adapter: The adapter in `model`; None for a whole checkpoint.

    Raises:
        InputError: A folder differs from what its step writes.
    """
    bot_name(name)
    check_folder(model)
    verdict, training = Verdict.read(report), TrainingRecord.read(model)
    held_out_loss = Metrics.read(report, needed=["held_out_loss"]).values["held_out_loss"]
    if held_out_loss is None:
        raise InputError(f"{report / METRICS_FILE} has no held_out_loss", "Run `mynah evaluate` again.")
    if not (card / README_FILE).is_file():
        raise InputError(f"{card} has no README.md", "Is it a folder that `mynah card` wrote?")
    return {
        "mynah.verdict": "passed" if verdict.passed else "failed: " + ", ".join(check.metric for check in verdict.failures),
        "mynah.held_out_loss": repr(held_out_loss),
        "mynah.data_digest": training.data_digest,
        "mynah.held_out_digest": training.held_out_digest,
        "mynah.base_model": training.base_model.name,
        "mynah.base_license": training.base_model.known_license,
        "mynah.seed": str(training.recipe_count("seed")),
        BASE_TAG: training.base_model.digest,
        "mynah.requirements": " ".join([*_requirements(training), *(adapter.requirements if adapter else [])]),
        **(adapter.tags if adapter else {}),
        **_ancestry(training),
    }


def _ancestry(training: TrainingRecord) -> dict[str, str]:
    """Return the tags for the version it was continued from, and for the authors it inherits."""
    if not training.continued_from:
        return {}
    authors = training.continual.authors if training.continual else ()
    return {CONTINUED_TAG: training.continued_from, **authors_tags(authors, ANCESTORS)}


def _requirements(training: TrainingRecord) -> list[str]:
    """Return the packages that the model needs: the versions it was trained with."""
    try:
        torch, transformers = training.versions["torch"], training.versions["transformers"]
    except KeyError as error:
        raise InputError(f"{TRAINING_FILE} has no version of {error}", "Run `mynah finetune` again.") from error
    return [f"torch=={torch.partition('+')[0]}", f"transformers=={transformers}"]


def _recorded_seconds(model: Path, metrics: Mapping[str, float]) -> dict[str, float]:
    """Return what the steps before took, as their own files record it: for steps that ran by hand, outside of the pipeline run."""
    return {"finetune": TrainingRecord.read(model).seconds, "evaluate": metrics.get("evaluation_seconds", 0.0)}


def _add_version(
    name: str, store: Store, run_id: str, model_id: str, tags: Mapping[str, str], recorded: Mapping[str, float]
) -> Registered:
    from mlflow.exceptions import MlflowException

    api = client(store.tracking_uri)
    with store_errors(store.tracking_uri), _fluent(store.tracking_uri):
        try:
            api.create_registered_model(name, tags={BOT_TAG: name})
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        everything = {**tags, **_of_the_run(store, run_id, recorded)}
        version = api.create_model_version(name, f"models:/{model_id}", run_id, tags=everything, model_id=model_id)
        api.set_registered_model_alias(name, CHALLENGER, version.version)
    return Registered(name, int(version.version))


@contextlib.contextmanager
def _fluent(uri: str) -> Iterator[None]:
    """Configure MLflow's global store while the block runs: it resolves models:/ there, whatever the client's store. This also sets the
    environment.
    """
    import mlflow

    before = MLFLOW_TRACKING_URI.get() if MLFLOW_TRACKING_URI.is_set() else None
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(MLFLOW_TRACKING_URI.name, None)
        else:
            os.environ[MLFLOW_TRACKING_URI.name] = before


def _of_the_run(store: Store, run_id: str, recorded: Mapping[str, float]) -> dict[str, str]:
    """Return the tags that a version inherits from its pipeline run: consent, authors, code, and the time and cost so far.

    Args:
        store: The tracking store.
        run_id: The run of the step that registers.
        recorded: Seconds of earlier steps by their own records, which count for those that are no part of the pipeline run.
    """
    api = client(store.tracking_uri)
    run = api.get_run(run_id)
    parent_id = run.data.tags.get(PARENT_TAG, "")
    known = api.get_run(parent_id).data.tags if parent_id else run.data.tags
    costs = cost_tags(store, parent_id) if parent_id else {}
    missing = set(recorded) - set(steps_of(store, parent_id)) if parent_id else set()
    if missing:  # they ran elsewhere, on a machine whose price and power are unknown
        seconds = number(costs.get(SECONDS_TAG, "")) + sum(recorded[step] for step in missing)
        costs = {SECONDS_TAG: f"{seconds:.3f}"}
    return {**{key: value for key, value in known.items() if key in INHERITED or is_authors_tag(key)}, **costs}


def register_folders(name: str, model: Path, data: Path, report: Path, card: Path, workdir: Path) -> Registered:
    """Register from the command line, in a run of its own, which records the posts of `data` as a pipeline's would.

    A later promotion can then compare the version with a champion that was evaluated on other posts, and its authors can be forgotten.
    Raises InputError like `register`, and when the model was not trained on `data`; GateRefused for a model that is the one it was
    continued from, which learnt nothing from `data`.
    """
    tags = lineage(name, model, report, card, Adapter.read(model))  # fails before anything is created
    _require_same_data(tags, model, data)
    _refuse_unchanged(name, model)
    with waiting("Opening the registry"):
        store = open_store(workdir)
        check_artifacts(store)
        refuse_forgotten_bot(store, name)
        others = authors_without_posts(authors_of(tags), data)
        refuse_forgotten(store, sorted(authors_in(data) | others))
    run_id = start_parent(store, name, {})
    status = "FAILED"
    try:
        with step_run("filter", store, run_id) as run:
            record_owners(run, data)
            if others:
                record_ancestors(run, others)
            record_data(run, data)
        if (card / PREVIEW_FILE).is_file():  # so that another sample can be chosen, as for a pipeline's card
            with step_run("card", store, run_id) as run:
                run.artifacts(card, "card")
        with step_run("register", store, run_id) as run:
            registered = register(name, model, report, card, store, run.run_id)
            run.tags({"mynah.version": str(registered.version)})
        status = "FINISHED"
    finally:
        end_run(store, run_id, status)
    return registered


def _refuse_unchanged(name: str, model: Path) -> None:
    training = TrainingRecord.read(model)
    if training.is_unchanged:
        raise GateRefused(
            f"{model} was not registered: continuing from {_parent(training)} brought nothing, so it has the same weights",
            f"The champion of {name} stays. A model that was never registered is registered from its own folders.",
        )


def _require_same_data(tags: Mapping[str, str], model: Path, data: Path) -> None:
    for part, tag in (("train", "mynah.data_digest"), ("held_out", "mynah.held_out_digest")):
        path = data / PARTS[part]
        if not path.is_file():
            raise InputError(f"{data} has no {path.name}", "Name the folder that `mynah filter` wrote.")
        if digest(path) != tags[tag]:
            raise InputError(
                f"{model} was not trained on {data}: {path.name} has another digest", "Name the folder it was trained on."
            )
