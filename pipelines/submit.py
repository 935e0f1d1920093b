"""Send a bot, or a fleet of them, to Kubeflow Pipelines: posts to S3, the compiled pipeline and its arguments to the API."""

import csv
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from components.errors import InputError
from components.events import waiting
from components.fetch.basis import require_agreement, require_basis
from components.fetch.sources import S3, Source, parse_source, parse_sources
from components.fetch.x_price import spend_of
from components.files import digest, there_is
from components.filter.rules import judge_for
from components.finetune.base_model import FLEDGLING
from components.finetune.recipe import Recipe
from components.names import bot_name
from components.sweep import Sweep
from pipelines.compiled import AT_ONCE, compiled
from pipelines.launch import require_budget
from pipelines.placing import Placement
from pipelines.schedule import kubeflow_cron

if TYPE_CHECKING:
    from pipelines.kubeflow import Kubeflow

EXPERIMENT = "mynah"
MOST_BOTS = 1000  # of a fleet: a workflow of Argo's is one object of Kubernetes


@dataclass(frozen=True, slots=True)
class Bot:
    """One bot and where its posts come from: files of this machine, or addresses (s3://, x://, …) that the cluster reads."""

    name: str
    sources: Sequence[str]
    basis: str = ""  # on which those posts may be used that do not tell their own

    def __post_init__(self) -> None:
        bot_name(self.name)
        if not self.sources or not all(isinstance(source, str) for source in self.sources):
            raise InputError(f"the bot {self.name!r} has no sources", "Give it a list of them.")
        require_basis(self.parsed, self.basis)

    @property
    def parsed(self) -> list[Source]:
        """The sources, which exist as far as they lie on this machine."""
        return parse_sources(self.sources)

    @property
    def local(self) -> list[str]:
        """The sources that lie on this machine."""
        return [source for source in self.sources if parse_source(source).is_local]


@dataclass(frozen=True, slots=True)
class Submission:
    """What a person asked `mynah submit` or `mynah fleet` for; refuses nonsense when it is built."""

    bots: Sequence[Bot]
    fleet: bool = False
    base_model: str = FLEDGLING
    rules: str = "default"
    recipe: Recipe = field(default_factory=Recipe)
    limit: int = 0
    budget: float = 0.0  # US dollars for each bot; 0: no limit
    schedule: str = ""  # cron; "" for one run, now
    placement: Placement = field(default_factory=Placement)
    service_account: str = "mynah-pipeline"
    bucket: str = ""  # "" for MYNAH_S3_BUCKET
    at_once: int = AT_ONCE
    sweep: Sweep | None = None  # of a single bot: searches the recipe around this one, at_once trials at a time
    go_on: bool = False  # from a bot's champion, where it has one
    max_cost: float = 0.0  # US dollars for X's API, for each bot; 0: none may be spent, -1: what it takes
    serve_in: str = ""  # namespace where a single bot gets an InferenceService of its own; "": the aviary follows the registry

    def __post_init__(self) -> None:
        judge_for(self.rules)
        require_budget(self.budget)
        for bot in self.bots:
            require_agreement(bot.parsed, self.limit, spend_of(self.max_cost))
        if self.sweep and self.go_on:
            raise InputError("a search of the recipe starts from the base model", "Leave out --trials or --continue.")
        if self.schedule:
            kubeflow_cron(self.schedule)
            if self.sweep:
                raise InputError(
                    "a schedule does not search the recipe anew each time",
                    "Search once, and schedule the recipe that it found: --recipe recipe.yaml.",
                )
            if any(bot.local for bot in self.bots):  # uploaded once, they would never be news again
                raise InputError(
                    "a schedule reads its sources anew each time, and this machine's it cannot reach",
                    "Put them into S3, and name s3://BUCKET/KEY.",
                )
        names = [bot.name for bot in self.bots]
        if twice := next((name for name in names if names.count(name) > 1), ""):
            raise InputError(f"the bot {twice!r} is in the fleet twice", "Name each once.")
        if not 1 <= len(names) <= MOST_BOTS:
            raise InputError(f"the fleet has {len(names)} bots", f"A fleet has 1 to {MOST_BOTS:,}.")
        if Path(self.base_model).is_dir() and self.base_model != FLEDGLING:
            raise InputError(
                f"the base model {self.base_model!r} lies on this machine", "Name gpt2 or another of the hub, or fledgling."
            )
        if any(bot.local for bot in self.bots) and not self.into:
            raise InputError(
                "nothing tells into which bucket the posts of this machine go",
                "Set MYNAH_S3_BUCKET or --bucket, or name s3:// sources.",
            )

    @property
    def into(self) -> str:
        """The bucket of uploads."""
        return self.bucket or os.environ.get("MYNAH_S3_BUCKET", "")

    @property
    def name(self) -> str:
        """Of the run: which bot, and when."""
        what = "fleet" if self.fleet else self.bots[0].name
        return f"{what}-{datetime.now(UTC):%Y%m%d-%H%M%S}"


def submit(order: Submission, api: "Kubeflow") -> str:
    """Upload what lies on this machine, and create the run, or the recurring run of a schedule; returns its id.

    Raises InputError or PlatformError; then nothing runs.
    """
    with waiting("Compiling"):
        pipeline = "fleet" if order.fleet else "sweep" if order.sweep else "bot"
        package = compiled(order.placement, pipeline, order.at_once)
    sent = [replace(bot, sources=_in_s3(bot, order)) for bot in order.bots]
    with tempfile.TemporaryDirectory() as scratch, waiting("Submitting"):
        path = Path(scratch) / "pipeline.yaml"
        path.write_text(package, encoding="utf-8")
        options = (path, order.name, EXPERIMENT, _arguments(order, sent), order.service_account)
        return api.schedule(*options, kubeflow_cron(order.schedule)) if order.schedule else api.submit(*options)


def _arguments(order: Submission, sent: Sequence[Bot]) -> dict[str, Any]:
    record = order.recipe.to_record()
    preset = record.pop("preset")
    bots = [{"bot": bot.name, "sources": list(bot.sources), "basis": bot.basis} for bot in sent]
    which: dict[str, Any] = {"bots": bots}
    if not order.fleet:
        [bot] = sent
        which = {"name": bot.name, "sources": list(bot.sources), "basis": bot.basis, "serve_in": order.serve_in}
    start = "champion" if order.go_on else "base"
    which |= order.sweep.arguments() if order.sweep else {"only_news": bool(order.schedule), "start": start}
    return {
        **which, "base_model": order.base_model, "rules": order.rules, "recipe": {"preset": preset, "changes": record},
        "limit": order.limit, "seed": order.recipe.seed, "budget": order.budget, "max_cost": order.max_cost,
    }  # fmt: skip


def _in_s3(bot: Bot, order: Submission) -> list[str]:
    """The sources as the cluster can read them: what lies on this machine is fetched here, and its posts are uploaded.

    The posts, their provenance and the profile pictures alone, never the export: messages and addresses lie in it too. Under their digest, so that
    nothing that a run reads ever changes; verified after the upload.
    """
    local = bot.local
    if not local:
        return list(bot.sources)
    from components.artifact_s3 import S3Place
    from components.artifacts import upload, visible_files
    from components.fetch import fetch
    from components.store import Store, server_address

    with tempfile.TemporaryDirectory(prefix="mynah-submit-") as scratch:
        raw = Path(scratch) / "raw"
        store = Store.from_environment() if server_address() else None  # it knows who asked to be forgotten
        fetch(local, raw, order.limit, store, bot.basis)
        key = f"uploads/{bot.name}/{digest(raw)}"
        with waiting(f"Uploading the posts of {bot.name}"):
            upload(S3Place(order.into, key), visible_files(raw))
    return [f"{S3}{order.into}/{key}/", *(source for source in bot.sources if source not in local)]


def read_fleet(path: Path, basis: str = "") -> list[Bot]:
    """The bots of a file; `basis` is for those that name none. Raises InputError naming the entry that is wrong.

    YAML or JSON: a list of {name: NAME, from: SOURCE or a list of them, basis: BASIS}. CSV: columns name, from and basis, a row per
    source. A file's own relative paths are taken from the folder it lies in.
    """
    try:
        text = path.read_text("utf-8-sig")
        found = _rows(text) if path.suffix.lower() == ".csv" else yaml.safe_load(text)
    except (OSError, ValueError, RecursionError, yaml.YAMLError, csv.Error) as error:
        cause = " ".join(str(error).split())[:200]
        raise InputError(f"the fleet in {path} cannot be read: {cause}", "Name a YAML, JSON or CSV file.") from error
    if not isinstance(found, list) or not found:
        raise InputError(f"{path} holds no list of bots", "Write for example: - {name: wren, from: wren.zip}")
    return [_entry(entry, number, path, basis) for number, entry in enumerate(found, 1)]


def _rows(text: str) -> list[dict[str, Any]]:
    bots: dict[str, list[str]] = {}
    bases: dict[str, set[str]] = {}
    for row in csv.DictReader(text.splitlines()):
        name = str(row.get("name") or "")
        bots.setdefault(name, []).append(str(row.get("from") or ""))
        bases.setdefault(name, set()).update(filter(None, [str(row.get("basis") or "")]))
    return [{"name": name, "from": sources, "basis": " and ".join(sorted(bases[name]))} for name, sources in bots.items()]


def _entry(entry: object, number: int, path: Path, basis: str) -> Bot:
    keys = {"name", "from"}
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str) or not keys <= set(entry) <= {*keys, "basis"}:
        told = json.dumps(entry, default=str, ensure_ascii=False)[:80]
        raise InputError(f"{path}, bot {number} is {told}", "Give each a name, a from, perhaps a basis, and nothing else.")
    sources = entry["from"] if isinstance(entry["from"], list) else [entry["from"]]
    if not all(isinstance(source, str) and source for source in sources):
        raise InputError(f"{path}, bot {number} ({entry['name']!r}): its from is no source", "Write paths or addresses.")
    return Bot(entry["name"], [_beside(source, path) for source in sources], str(entry.get("basis") or basis))


def _beside(source: str, path: Path) -> str:
    beside = path.parent / source
    return str(beside) if "://" not in source and there_is(beside) else source
