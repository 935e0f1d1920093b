"""`mynah run`: check everything, then run the whole pipeline on this machine and show how far it is."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from components.errors import BY_NAME, InputError, MynahError
from components.events import EVENTS_FILE
from components.fetch.basis import require_agreement, require_basis
from components.fetch.sources import parse_source, parse_sources
from components.fetch.x_price import spend_of
from components.files import read_json, storage_errors, write_json
from components.filter.rules import judge_for
from components.finetune.base_model import FLEDGLING, resolve
from components.finetune.recipe import Recipe
from components.finetune.states import PLACE, place_of_run
from components.names import bot_name, is_unicode
from components.store import unsent_folder
from components.sweep import Sweep, require_optuna
from components.tracking import UNSENT_FOLDER
from pipelines import containers
from pipelines.watch import Watcher

if TYPE_CHECKING:
    from components.store import Store

Runner = Literal["subprocess", "docker"]  # Kubeflow's: steps as processes of this Python, or in containers
SECONDS_TO_STOP = 60.0  # for a step to put away what it was writing and to save its training, before it is killed


@dataclass(frozen=True, slots=True)
class Order:
    """What a person asked `mynah run` for; refuses nonsense when it is built."""

    name: str
    sources: Sequence[str]
    workdir: Path
    base_model: str = FLEDGLING
    rules: str = "default"
    recipe: Recipe = field(default_factory=Recipe)
    limit: int = 0
    budget: float = 0.0  # US dollars for the whole run; 0: no limit
    runner: Runner = "subprocess"
    sweep: Sweep | None = None  # which searches the recipe around this one; None: this one it is
    go_on: bool = False  # from the bot's champion, where it has one
    basis: str = ""  # on which posts may be used that do not tell their own: one of components.fetch.basis.BASES
    max_cost: float = 0.0  # US dollars for X's API; 0: none may be spent, -1: what it takes

    def __post_init__(self) -> None:
        bot_name(self.name)
        judge_for(self.rules)
        require_budget(self.budget)


def require_budget(budget: float) -> None:
    """Raise InputError for what is no amount of money."""
    if not 0 <= budget < 1e9:
        raise InputError(f"the budget is {budget}, and must be US dollars from 0 (no limit)", "Write for example --budget 2.50.")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a pipeline run left behind: the folder with a sub-folder per step's output, and what was decided."""

    name: str
    version: int
    promoted: bool
    decision: str
    folder: Path
    mlflow_run: str
    seconds: float

    @property
    def funnel(self) -> dict[str, Any]:
        """The run's funnel.json."""
        return dict(read_json(self.folder / "data" / "funnel.json", "filter"))

    @property
    def metrics(self) -> dict[str, float]:
        """The run's metrics.json."""
        return dict(read_json(self.folder / "report" / "metrics.json", "evaluate"))

    @property
    def continual(self) -> dict[str, Any] | None:
        """How going on from the champion did beside starting over; None where nobody asked, or there was no champion."""
        found = read_json(self.folder / "model" / "training.json", "finetune").get("continual")
        return dict(found) if found else None

    @property
    def samples(self) -> list[dict[str, Any]]:
        """The run's samples.json."""
        return list(read_json(self.folder / "report" / "samples.json", "evaluate"))


def launch(order: Order) -> Outcome:
    """Run the pipeline for `order`.

    Raises the error of the step that failed. On KeyboardInterrupt or any failure the steps are ended and the MLflow run
    is marked KILLED or FAILED; after an interrupt nothing of the run is left in the work folder.
    """
    sources = parse_sources(order.sources)
    require_basis(sources, order.basis)
    require_agreement(sources, order.limit, spend_of(order.max_cost))
    resolve(order.base_model)
    _refuse_paths(order)
    if order.sweep:
        require_optuna()
    from components.locks import place_of_lock
    from components.store import check_artifacts, open_store
    from components.tracking import start_parent

    began = time.monotonic()
    store = open_store(order.workdir)
    place_of_lock(store)  # what the last steps need is asked for before the first
    check_artifacts(store)
    states = place_of_run(order.workdir.resolve(), is_server=store.is_server)
    if order.runner == "docker":
        containers.check(store)
    folder = _new_folder(order)
    run_id, status = "", "FAILED"
    try:
        run_id = start_parent(store, order.name, {"mynah.folder": folder.name}, _params(order))
        with storage_errors(folder), tempfile.TemporaryDirectory(prefix="mynah-", ignore_cleanup_errors=True) as scratch:
            outputs = _run(order, folder, Path(scratch), store, run_id, states)
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        if run_id:
            _end(store, run_id, status)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    decision = str(outputs["promote"])
    return Outcome(
        order.name, int(outputs["register"]), decision == "promoted", decision, folder, run_id, time.monotonic() - began
    )  # fmt: skip


def _end(store: "Store", run_id: str, status: str) -> None:
    """Record how the run ended; where the store is away, keep that for later, for the step's own error says more."""
    from components.outbox import keep_for_later
    from components.tracking import end_run

    try:
        end_run(store, run_id, status)
    except MynahError:
        ended = {"run": run_id, "do": "end", "status": status, "time": int(time.time() * 1000)}
        with contextlib.suppress(MynahError, OSError):
            keep_for_later(unsent_folder(store.folder or Path()), run_id, [ended])


def _new_folder(order: Order) -> Path:
    """runs/TIME-NAME in the work folder, new."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    with storage_errors(order.workdir):
        for attempt in range(1000):
            folder = order.workdir / "runs" / (f"{stamp}-{order.name}" + (f"-{attempt}" if attempt else ""))
            with contextlib.suppress(FileExistsError):
                folder.mkdir(parents=True)
                return folder.resolve()
    raise MynahError(f"a thousand runs of {order.name} began in this second", "Wait a moment.")


def _run(order: Order, folder: Path, scratch: Path, store: "Store", run_id: str, states: str) -> dict[str, Any]:
    """Start the runner's process, watch it, and return what the steps gave back.

    `scratch` is on another disk, perhaps: a step whose disk is full can still say so. `states`: where training states are kept.
    """
    root, events, log = folder / ".kubeflow", scratch / "events.jsonl", folder / "pipeline.log"
    unsent = unsent_folder(order.workdir.resolve())
    pipeline = "sweep" if order.sweep else "bot"
    spec: dict[str, Any] = {"pipeline": pipeline, "pipeline_root": str(root), "arguments": _arguments(order, run_id)}
    events.touch()
    if order.runner == "docker":
        kept = [] if "://" in states else [Path(states)]
        spec["containers"] = containers.seen(spec["arguments"], root, [scratch, unsent, *kept])
    write_json(folder / "order.json", spec)
    environment = os.environ | {
        EVENTS_FILE: str(events), "MLFLOW_TRACKING_URI": store.tracking_uri, UNSENT_FOLDER: str(unsent),
        PLACE: states, "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "ignore",
        "TOKENIZERS_PARALLELISM": "false", "_KFP_RUNTIME": "false",
        "TMPDIR": str(scratch),  # Kubeflow's runner leaves a folder for each step in it
    }  # fmt: skip
    command = [sys.executable, "-m", "pipelines.local", str(folder / "order.json")]
    watcher = Watcher(events)
    with log.open("wb") as output:
        # A session of its own: Ctrl-C reaches this process alone, which then ends the runner and its step in order.
        # Its stdin ends when this process does, whatever ended it: then the runner stops too.
        child = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=output, stderr=output, start_new_session=True
        )
        try:
            watcher.show_until(lambda: child.poll() is not None)
        except KeyboardInterrupt:
            _stop(child)
            watcher.show_rest()
            raise
        finally:
            _stop(child)
            if child.stdin:
                child.stdin.close()
    _collect(watcher, folder, root)
    if watcher.error:
        raise BY_NAME[watcher.error["kind"]](watcher.error["problem"], watcher.error["fix"])
    if child.returncode:
        raise MynahError(f"the pipeline stopped in the step {watcher.step or 'before the first'}", f"See {log}.")
    return watcher.results


def _arguments(order: Order, run_id: str) -> dict[str, Any]:
    record = order.recipe.to_record()
    preset, base = record.pop("preset"), Path(order.base_model)
    return {
        "name": order.name, "sources": [_for_another_folder(name) for name in order.sources],
        "base_model": str(base.absolute()) if base.is_dir() and order.base_model != FLEDGLING else order.base_model,
        "rules": order.rules, "recipe": {"preset": preset, "changes": record}, "limit": order.limit, "seed": order.recipe.seed,
        "budget": order.budget, "basis": order.basis, "max_cost": order.max_cost, "parent_run": run_id,
        **(order.sweep.arguments() if order.sweep else {"start": "champion" if order.go_on else "base"}),
    }  # fmt: skip


def _params(order: Order) -> dict[str, Any]:
    """What whoever looks at the run in MLflow wants to know first; the steps record the rest."""
    return {
        "sources": ", ".join(source.label for source in parse_sources(order.sources)), "limit": order.limit, "rules": order.rules,
        "base_model": order.base_model, **order.recipe.known(), **(asdict(order.sweep) if order.sweep else {}),
    }  # fmt: skip


def _refuse_paths(order: Order) -> None:
    """Refuse what Kubeflow's runner cannot take: `{{$`, for it a placeholder of its own, and what JSON in UTF-8 cannot carry."""
    for text in (str(order.workdir.absolute()), *_arguments(order, "")["sources"], _arguments(order, "")["base_model"]):
        if "{{$" in text:
            raise InputError(
                f"{text!r} holds '{{{{$', which Kubeflow's runner cannot take in a path", "Rename it, or name another."
            )
        if not is_unicode(text):
            raise InputError(f"{text!r} is not a name in UTF-8", "Rename it, or name another.")


def _for_another_folder(name: str) -> str:
    """A source as the steps find it, which run in a folder of their own; a link keeps its name."""
    source = parse_source(name)
    if name == "sample" or not source.is_local:
        return name
    return ("archive:" if source.form == "archive" else "") + str(source.path.absolute())


def _stop(child: "subprocess.Popen[bytes]") -> None:
    """End the runner and the step it runs: ask, wait, then kill."""
    if child.poll() is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGINT)
    try:
        child.wait(SECONDS_TO_STOP)
    except subprocess.TimeoutExpired:
        pass
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _collect(watcher: Watcher, folder: Path, root: Path) -> None:
    """Move each step's output to a folder a person finds: runs/…/raw, data, model, report and card."""
    for name, path in watcher.outputs.items():
        if Path(path).exists():
            Path(path).rename(folder / name)
    shutil.rmtree(root, ignore_errors=True)
