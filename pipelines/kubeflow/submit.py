"""Submits a bot or a fleet to Kubeflow Pipelines.

Posts of this machine and each bot's specification go to Mynah's own bucket, below runs/ID/; Kubeflow gets the compiled pipeline, whose only
arguments are the references of these specifications.
"""

import contextlib
import csv
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from components.deploy.service_name import require_name_fits
from components.fetch.step import fetch
from components.handover import publish_file
from mynah.core.errors import InputError, MynahError
from mynah.core.files import path_exists
from mynah.core.progress import notify, waiting
from mynah.maintenance.submissions import erase_submission
from mynah.mlflow_client.store import Store, server_address
from mynah.models import catalogue
from mynah.models.catalogue import BEST_LOCAL, FLEDGLING
from mynah.registry.forgotten_authors import refuse_forgotten
from mynah.registry.forgotten_bots import refuse_forgotten_bot
from mynah.storage.base import upload, visible_files
from mynah.storage.run_files import SPEC_FILE, UPLOADS, RunFiles, new_id
from mynah.storage.s3 import S3ArtifactStore
from pipelines.compile import compiled
from pipelines.kubeflow.cluster_spec import ClusterSpec
from pipelines.kubeflow.create import MaybeCreated
from pipelines.kubeflow.cron import kubeflow_cron
from pipelines.placement import Placement
from pipelines.run_spec import CLUSTER_BASE_MODEL, RunSpec
from pipelines.training_size import TrainingSize, characters_of, largest, training_size

if TYPE_CHECKING:
    from pipelines.kubeflow.api import Kubeflow

EXPERIMENT = "mynah"
UPLOADS_AT_ONCE = 8  # specifications of a fleet
MAX_BOTS = 1000  # of a fleet: an Argo workflow is one Kubernetes object, whose size is limited


@dataclass(frozen=True, slots=True)
class Submission:
    """The bots and the cluster of `mynah submit` or `mynah fleet`.

    Raises:
        InputError: The bots cannot be made in one run, or the cluster or a schedule does not support the settings.
    """

    runs: Sequence[RunSpec]  # those of a fleet differ only in names, sources and bases
    cluster: ClusterSpec = field(default_factory=ClusterSpec)
    fleet: bool = False

    def __post_init__(self) -> None:
        names = [run.name for run in self.runs]
        if twice := next((name for name in names if names.count(name) > 1), ""):
            raise InputError(f"the bot {twice!r} is in the fleet twice", "Name each once.")
        if not 1 <= len(names) <= MAX_BOTS:
            raise InputError(f"the fleet has {len(names)} bots", f"A fleet has 1 to {MAX_BOTS:,}.")
        has_local_sources = any(run.local_sources for run in self.runs)
        if self.cluster.schedule:
            _require_repeatable(self.runs, has_local_sources)
        base_model = self.runs[0].base_model or CLUSTER_BASE_MODEL
        entry = catalogue.find(base_model)
        if not (entry and entry.source.is_local) and path_exists(Path(base_model)):
            raise InputError(
                f"the base model {base_model!r} lies on this machine",
                f"Name {BEST_LOCAL}, {FLEDGLING}, or one of the hub such as gpt2.",
            )
        if self.cluster.serve_in:
            require_name_fits(self.runs[0].name, self.cluster.serve_in)
        if not self.cluster.own_bucket:
            raise InputError(
                "no bucket is set for the run's specification, its posts and what its steps hand on",
                "Set MYNAH_S3_BUCKET or --bucket to the bucket of the installation.",
            )

    @property
    def pipeline(self) -> str:
        """The name of the pipeline that makes the bots."""
        return "fleet" if self.fleet else "sweep" if self.runs[0].sweep else "bot"

    def run_name(self, files: Sequence[RunFiles]) -> str:
        """Return the name that Kubeflow shows, which no other run has: an id and the time, which tell nothing about the bots."""
        subject = f"fleet-{files[0].id}" if self.fleet else files[0].id
        return f"mynah-{subject}-{datetime.now(UTC):%Y%m%d-%H%M%S}"

    def arguments(self, references: Sequence[str]) -> dict[str, Any]:
        """Return the pipeline's arguments.

        Args:
            references: Those of the bots' specifications.
        """
        if self.fleet:
            return {"specs": list(references)}
        sweep = self.runs[0].sweep
        return {"spec": references[0], **({"trials": sweep.numbers} if sweep else {})}


def _require_repeatable(runs: Sequence[RunSpec], has_local_sources: bool) -> None:
    """Raise InputError for runs that a schedule cannot repeat."""
    if any(run.sweep for run in runs):
        raise InputError(
            "a scheduled run does not search for a recipe",
            "Search once, and schedule the resulting recipe: --recipe recipe.yaml.",
        )
    if has_local_sources:  # they would be uploaded once and never have new posts
        raise InputError(
            "a scheduled run reads its sources again each time, and cannot read those of this machine",
            "Upload them to S3, and name s3://BUCKET/KEY.",
        )


def submit(submission: Submission, api: "Kubeflow", check: Callable[[Placement], None] = lambda _: None) -> str:
    """Upload the posts of this machine, and create the run, or the recurring run of a schedule.

    Args:
        submission: the bots and the cluster.
        api: the API.
        check: called with the placement, whose requests follow what is trained, before anything is uploaded.

    Returns:
        The id of the run or the recurring run.

    Raises:
        InputError, PlatformError: nothing was started.
    """
    cluster = submission.cluster
    _refuse_forgotten(submission)
    files = [RunFiles(cluster.own_bucket, new_id()) for _ in submission.runs]
    with tempfile.TemporaryDirectory(prefix="mynah-submit-") as scratch:
        local = [_read_local(run, Path(scratch) / str(number)) for number, run in enumerate(submission.runs)]
        placement = replace(cluster.placement, size=largest(map(_size, submission.runs, local)))
        check(placement)
        with waiting("Compiling"):
            package = compiled(placement, submission.pipeline, cluster.at_once, only_news=bool(cluster.schedule))
        with _taken_back_after(BaseException, files):
            sources = [_in_s3(*bot) for bot in zip(submission.runs, files, local, strict=True)]
            with ThreadPoolExecutor(UPLOADS_AT_ONCE) as pool:
                references = list(pool.map(lambda *bot: _publish(cluster, *bot), submission.runs, sources, files))
    with (
        tempfile.TemporaryDirectory() as scratch, waiting("Submitting"),
        _taken_back_after(MynahError, files),  # not after an interrupt, when the request may have been sent
    ):  # fmt: skip
        path = Path(scratch) / "pipeline.yaml"
        path.write_text(package, encoding="utf-8")
        _refuse_forgotten(submission)  # again, as in `_in_s3`, now that the specification is there
        name, arguments = submission.run_name(files), submission.arguments(references)
        options = (path, name, EXPERIMENT, arguments, cluster.service_account)
        return api.schedule(*options, kubeflow_cron(cluster.schedule)) if cluster.schedule else api.submit(*options)


def _refuse_forgotten(submission: Submission) -> None:
    refuse_forgotten_bot(Store.from_environment() if server_address() else None, *(run.name for run in submission.runs))


@contextlib.contextmanager
def _taken_back_after(errors: type[BaseException], files: Sequence[RunFiles]) -> Iterator[None]:
    """Erase what was uploaded when a block raises, but not where Kubeflow may have made the run, which reads it.

    Args:
        errors: The errors after which nothing was made.
        files: Where the specifications and posts are.
    """
    try:
        yield
    except MaybeCreated:
        raise
    except errors:
        try:
            for each in files:
                erase_submission(each)
        except MynahError as error:  # the block's error is more informative
            notify(f"what was uploaded for the run stays in {files[0].uri}: {error.problem}", "warning")
        raise


def _publish(cluster: ClusterSpec, run: RunSpec, sources: list[str], files: RunFiles) -> str:
    """Upload a bot's specification with sources that the cluster can read, and return its reference."""
    inputs = replace(run.inputs(only_news=bool(cluster.schedule), serve_in=cluster.serve_in), sources=sources)
    with tempfile.TemporaryDirectory(prefix="mynah-submit-") as scratch:
        inputs.write(path := Path(scratch) / SPEC_FILE)
        return publish_file(files.spec, path)


@dataclass(frozen=True, slots=True)
class LocalPosts:
    """The posts of sources on this machine, in a folder, and who wrote them."""

    folder: Path
    authors: frozenset[str]


def _read_local(run: RunSpec, folder: Path) -> LocalPosts | None:
    """Read the posts of a run's sources on this machine into a folder; None for a run without such sources."""
    if not run.local_sources:
        return None
    store = Store.from_environment() if server_address() else None  # the store has the forgotten authors
    records = fetch(run.local_sources, folder, run.limit, store, run.basis, columns=run.columns)
    return LocalPosts(folder, frozenset(author for record in records for author in record.authors))


def _size(run: RunSpec, local: LocalPosts | None) -> TrainingSize | None:
    """Return what a run trains; its posts are known where all its sources are on this machine."""
    is_whole = len(run.local_sources) == len(run.sources)
    return training_size(run, characters_of(local.folder) if local and is_whole else None)


def _in_s3(run: RunSpec, files: RunFiles, local: LocalPosts | None) -> list[str]:
    """Upload the posts that were read on this machine, and return sources that the cluster can read.

    Only posts, their provenance and profile pictures are uploaded, never the export, which also contains messages and addresses. The
    address is this submission's alone, so that a run's input never changes; the upload is verified.
    """
    if local is None:
        return list(run.sources)
    store = Store.from_environment() if server_address() else None
    with waiting(f"Uploading the posts of {run.name}"):
        upload(S3ArtifactStore(files.bucket, f"{files.prefix}/{UPLOADS}"), visible_files(local.folder))
    if store:  # again: `forget` may have searched the bucket before the posts were there
        refuse_forgotten(store, sorted(local.authors))
    return [f"{files.uploads}/", *(source for source in run.sources if source not in run.local_sources)]


def read_fleet(path: Path, build: Callable[..., RunSpec]) -> list[RunSpec]:
    """Read the bots of a fleet from a file.

    YAML or JSON: a list of {name: NAME, from: SOURCE or a list of them, basis: BASIS}. CSV: columns name, from and basis, a row per
    source. Relative paths are relative to the file's folder.

    Args:
        path: The file.
        build: Builds the specification of a bot from its `name`, `sources` and, if given, `basis`.

    Raises:
        InputError: The file cannot be read, or an entry is invalid; the message names it.
    """
    try:
        text = path.read_text("utf-8-sig")
        entries = FORMATS.get(path.suffix.lower(), yaml.safe_load)(text)
    except (OSError, ValueError, RecursionError, yaml.YAMLError, csv.Error) as error:
        cause = " ".join(str(error).split())[:200]
        raise InputError(f"the fleet in {path} cannot be read: {cause}", "Name a YAML, JSON or CSV file.") from error
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{path} holds no list of bots", "Write for example: - {name: wren, from: wren.zip}")
    return [_entry(entry, number, path, build) for number, entry in enumerate(entries, 1)]


def _rows(text: str) -> list[dict[str, Any]]:
    bots: dict[str, list[str]] = {}
    bases: dict[str, set[str]] = {}
    for row in csv.DictReader(text.splitlines()):
        name = str(row.get("name") or "")
        bots.setdefault(name, []).append(str(row.get("from") or ""))
        bases.setdefault(name, set()).update(filter(None, [str(row.get("basis") or "")]))
    return [{"name": name, "from": sources, "basis": " and ".join(sorted(bases[name]))} for name, sources in bots.items()]


# JSON has a reader of its own: in YAML's, the two escapes of an emoji ("\\ud83d\\udc26") stay two halves of a character.
FORMATS: dict[str, Callable[[str], Any]] = {".csv": _rows, ".json": json.loads}


def _entry(entry: object, number: int, path: Path, build: Callable[..., RunSpec]) -> RunSpec:
    keys = {"name", "from"}
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str) or not keys <= set(entry) <= {*keys, "basis"}:
        written = json.dumps(entry, default=str, ensure_ascii=False)[:80]
        raise InputError(f"{path}, bot {number} is {written}", "Give each a name, a from, perhaps a basis, and nothing else.")
    sources = entry["from"] if isinstance(entry["from"], list) else [entry["from"]]
    if not all(isinstance(source, str) and source for source in sources):
        raise InputError(f"{path}, bot {number} ({entry['name']!r}): its from is no source", "Write paths or addresses.")
    basis = {"basis": str(entry["basis"])} if entry.get("basis") else {}
    return build(name=entry["name"], sources=[_relative_to_file(source, path) for source in sources], **basis)


def _relative_to_file(source: str, path: Path) -> str:
    candidate = path.parent / source
    return str(candidate) if "://" not in source and path_exists(candidate) else source
