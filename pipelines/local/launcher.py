"""`mynah run`: checks the settings, runs the whole pipeline on this machine and shows its progress."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from components.fetch.sources import parse_source
from components.finetune.base_memory import require_memory
from components.sweep.settings import require_optuna
from mynah.core.errors import BY_NAME, InputError, MynahError
from mynah.core.files import path_exists, storage_errors, write_json
from mynah.core.names import is_unicode
from mynah.core.progress import notify
from mynah.core.settings import MLFLOW_TRACKING_URI, MYNAH_CHECKPOINTS, MYNAH_EVENTS, MYNAH_UNSENT, TMPDIR, TOKENIZERS_PARALLELISM
from mynah.decoding.requirements import require_kernels
from mynah.mlflow_client.store import unsent_folder
from mynah.models import catalogue
from mynah.models.base_models import resolve
from mynah.registry.forgotten_bots import refuse_forgotten_bot
from mynah.registry.locks import lock_location
from mynah.registry.registry import Registry
from mynah.registry.versions import CHAMPION
from mynah.tracking.open import check_artifacts, open_store
from mynah.tracking.outbox import save_unsent
from mynah.tracking.runs import end_run, start_parent
from mynah.training.state_store import run_state_location
from pipelines.local import containers
from pipelines.local.outcome import Outcome
from pipelines.local.progress import ProgressReader
from pipelines.run_spec import RunSpec

if TYPE_CHECKING:
    from components.run_inputs import RunInputs
    from mynah.mlflow_client.store import Store

Runner = Literal["subprocess", "docker"]  # Kubeflow's runners: steps as processes of this Python, or in containers
KUBEFLOW_FOLDER = ".kubeflow"  # the pipeline root in a run's folder, while it runs
SPEC = "run.json"  # the run's specification, in its folder
SECONDS_TO_STOP = 60.0  # for an interrupted step to save its state, before it is killed


def launch(spec: RunSpec, workdir: Path, runner: Runner = "subprocess") -> Outcome:
    """Run the pipeline on this machine.

    After an interrupt or a failure, the steps are stopped and the MLflow run has the status KILLED or FAILED. After an interrupt, the
    run's folder is removed.

    Args:
        spec: The specification of the run.
        workdir: The folder of the run, MLflow's store and the registry.
        runner: Whether steps are processes of this Python or run in containers.

    Returns:
        The outcome.

    Raises:
        InputError: A base model or a path cannot be used; the run has not started.
        MynahError: The error of the failed step.
        KeyboardInterrupt: The run was interrupted.
    """
    is_named = bool(spec.base_model)
    spec = spec if is_named else replace(spec, base_model=_default_base_model(spec, workdir))
    _require_runnable(spec, workdir)
    started = time.monotonic()
    store = _open_store(workdir, runner)
    refuse_forgotten_bot(store, spec.name)
    states = run_state_location(workdir.resolve(), is_server=store.is_server)
    if not is_named:
        notify(f"base model {spec.base_model} (--base-model names another; `mynah bases` lists them)")
    folder = _new_folder(spec.name, workdir)
    run_id, status = "", "FAILED"
    try:
        run_id = start_parent(store, spec.name, {"mynah.folder": folder.name}, spec.params())
        # The temporary folder may be on another disk, so that a step can report that the run's disk is full.
        with storage_errors(folder), tempfile.TemporaryDirectory(prefix="mynah-", ignore_cleanup_errors=True) as scratch:
            environment = _environment(store, Path(scratch), unsent_folder(workdir.resolve()), states)
            request = _run_request(spec, run_id, folder, environment, runner)
            outputs = _run(request, folder, environment)
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
    version, decision = int(outputs["register"]), str(outputs["promote"])
    return Outcome(spec.name, version, decision == "promoted", decision, folder, run_id, time.monotonic() - started)


def _require_runnable(spec: RunSpec, workdir: Path) -> None:
    """Raise InputError or PlatformError for a run that this machine cannot carry to its end, before anything is opened or written."""
    require_memory(resolve(spec.base_model), spec.recipe)
    require_kernels()
    _refuse_paths(spec, workdir)
    if spec.sweep:
        require_optuna()


def _open_store(workdir: Path, runner: Runner) -> "Store":
    """Open the run's store, and check before the first step what the last steps need of it."""
    store = open_store(workdir)
    lock_location(store)
    check_artifacts(store)
    if runner == "docker":
        containers.check(store)
    return store


def _end(store: "Store", run_id: str, status: str) -> None:
    """Record how a run ended. When the store is unreachable, record it later: the step's error is more informative."""
    try:
        end_run(store, run_id, status)
    except MynahError:
        record = {"run": run_id, "do": "end", "status": status, "time": int(time.time() * 1000)}
        with contextlib.suppress(MynahError, OSError):
            save_unsent(unsent_folder(store.folder or Path()), run_id, [record])


def _new_folder(name: str, workdir: Path) -> Path:
    """Create and return the folder runs/TIME-NAME in the work folder."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    with storage_errors(workdir):
        for attempt in range(1000):
            folder = workdir / "runs" / (f"{stamp}-{name}" + (f"-{attempt}" if attempt else ""))
            with contextlib.suppress(FileExistsError):
                folder.mkdir(parents=True)
                return folder.resolve()
    raise MynahError(f"a thousand runs of {name} started in this second", "Wait a moment.")


def _environment(store: "Store", scratch: Path, unsent: Path, states: str) -> dict[str, str]:
    """Return the environment variables of the runner and the steps.

    Args:
        store: The tracking store.
        scratch: A temporary folder for events and files of Kubeflow's runner.
        unsent: The folder of records that are sent when the store is reachable again.
        states: The location of training states, a folder or an s3:// address.
    """
    return os.environ | {
        MYNAH_EVENTS.name: str(scratch / "events.jsonl"), MLFLOW_TRACKING_URI.name: store.tracking_uri, MYNAH_UNSENT.name: str(unsent),
        MYNAH_CHECKPOINTS.name: states, "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "ignore",
        TOKENIZERS_PARALLELISM.name: TOKENIZERS_PARALLELISM.default, "_KFP_RUNTIME": "false",
        TMPDIR.name: str(scratch),  # Kubeflow's runner leaves a folder per step in it
    }  # fmt: skip


def _run_request(spec: RunSpec, run_id: str, folder: Path, environment: dict[str, str], runner: Runner) -> dict[str, Any]:
    """Write the run's specification, and return the arguments of `pipelines.local.runner.run` as a JSON object.

    Args:
        spec: The specification of the run.
        run_id: The MLflow run's id.
        folder: The run's folder, into which the steps write.
        environment: The variables of the runner.
        runner: Whether steps run in containers.
    """
    root, inputs = folder / KUBEFLOW_FOLDER, _inputs(spec)
    arguments = {
        "spec": inputs.write(folder / SPEC),
        "parent_run": run_id,
        **({"trials": spec.sweep.numbers} if spec.sweep else {}),
    }
    request: dict[str, Any] = {"pipeline": "sweep" if spec.sweep else "bot", "pipeline_root": str(root), "arguments": arguments}
    if runner == "docker":
        folders = [
            environment[name]
            for name in (TMPDIR.name, MYNAH_UNSENT.name, MYNAH_CHECKPOINTS.name)
            if "://" not in environment[name]
        ]
        request["containers"] = containers.visible_paths(inputs, root, [folder, *map(Path, folders)])
    return request


def _run(request: dict[str, Any], folder: Path, environment: dict[str, str]) -> dict[str, Any]:
    """Run the runner's process, and show its progress.

    Args:
        request: The arguments of `pipelines.local.runner.run`.
        folder: The run's folder, for its log.
        environment: The variables of the process.

    Returns:
        The results of the steps, by step.

    Raises:
        MynahError: The error of the failed step.
        KeyboardInterrupt: The run was interrupted; the runner and its step have ended.
    """
    events, log = Path(environment[MYNAH_EVENTS.name]), folder / "pipeline.log"
    events.touch()
    write_json(folder / "order.json", request)
    command = [sys.executable, "-m", "pipelines.local.runner", str(folder / "order.json")]
    reader = ProgressReader(events)
    with log.open("wb") as output:
        # A new session, so that Ctrl-C reaches only this process, which then stops the runner and its step in order.
        # The runner stops when its stdin closes, which also happens when this process is killed.
        child = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=output, stderr=output, start_new_session=True
        )
        try:
            reader.show_until(lambda: child.poll() is not None)
        except KeyboardInterrupt:
            _stop(child)
            reader.show_rest()
            raise
        finally:
            _stop(child)
            if child.stdin:
                child.stdin.close()
    shutil.rmtree(folder / KUBEFLOW_FOLDER, ignore_errors=True)
    if reader.error:
        raise BY_NAME[reader.error["kind"]](reader.error["problem"], reader.error["fix"])
    if child.returncode:
        raise MynahError(f"the pipeline stopped in the step {reader.step or 'before the first'}", f"See {log}.")
    return reader.results


def _default_base_model(spec: RunSpec, workdir: Path) -> str:
    """Return the base model of a run that names none: that of the champion it continues from, else that of this machine."""
    name = catalogue.default_base_model()
    registry = Registry(open_store(workdir)) if spec.continue_training else None
    if registry and spec.name in registry.names() and (champion := registry.head(spec.name, CHAMPION).champion):
        earlier = champion.tags.get("mynah.base_model", "")
        name = earlier if catalogue.find(earlier) else name
    return name


def _inputs(spec: RunSpec) -> "RunInputs":
    """Return what the steps are told, with absolute paths, because they run in other folders."""
    base, entry = Path(spec.base_model), catalogue.find(spec.base_model)
    is_local = entry is not None and entry.source.is_local
    return replace(
        spec.inputs(),
        sources=[_absolute(name) for name in spec.sources],
        base_model=str(base.absolute()) if path_exists(base) and not is_local else spec.base_model,
    )


def _refuse_paths(spec: RunSpec, workdir: Path) -> None:
    """Reject a work folder with `{{$`, the placeholder of Kubeflow's runner, which gets paths in it, and paths that are not UTF-8."""
    inputs, folder = _inputs(spec), str(workdir.absolute())
    if "{{$" in folder:
        raise InputError(
            f"{folder!r} holds '{{{{$', which Kubeflow's runner cannot take in the path of the work folder",
            "Rename it, or name another.",
        )
    for text in (folder, *inputs.sources, inputs.base_model):
        if not is_unicode(text):
            raise InputError(f"{text!r} is not a name in UTF-8", "Rename it, or name another.")


def _absolute(name: str) -> str:
    """Return a source with an absolute path; symbolic links are kept."""
    source = parse_source(name)
    if name == "sample" or not source.is_local:
        return name
    return ("archive:" if source.form == "archive" else "") + str(source.path.absolute())


def _stop(child: "subprocess.Popen[bytes]") -> None:
    """Stop the runner and its step: interrupt, wait, then kill."""
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
