"""A run of Kubeflow Pipelines watched to its end: its steps as they go, what they wait for, and how it ended."""

import re
import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.errors import BY_NAME, InputError, MynahError, PlatformError
from components.events import say, visible
from pipelines.kubeflow_client import http_status
from pipelines.placing import NEEDS

if TYPE_CHECKING:
    from rich.table import Table

    from pipelines.kubeflow import Kubeflow, Run
    from pipelines.workflow import Pod

FASTEST, SLOWEST = 2.0, 15.0  # seconds between looks: slower while nothing changes
SECONDS_BETWEEN_REASONS = 30.0  # a workflow's manifest may be megabytes
SECONDS_AWAY = 300.0  # that the API may be away while a run is followed
MARKS = {"SUCCEEDED": "✓", "FAILED": "✗", "CANCELED": "✗", "RUNNING": "…"}
OWN_ERROR = re.compile(r"^components\.errors\.(\w+): (.*)(?:\n(?!\[|Traceback)(.+))?", re.MULTILINE)  # as Python prints ours


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a run, all bots of a fleet together."""

    name: str
    states: Counter[str]
    seconds: float  # since the first of them began, until the last ended

    @property
    def told(self) -> str:
        """Its state, with numbers where a fleet has several."""
        if len(self.states) == 1 and self.states.total() == 1:
            return next(iter(self.states)).lower()
        return ", ".join(f"{count} {state.lower()}" for state, count in sorted(self.states.items()))

    @property
    def state(self) -> str:
        """The one that matters most."""
        worst = ("FAILED", "CANCELED", "RUNNING", "PENDING", "SUCCEEDED", "SKIPPED")
        return next((state for state in worst if self.states[state]), "PENDING")


def steps_of(run: "Run") -> list[Step]:
    """The pipeline's own steps among a run's tasks, in the pipeline's order."""
    found = []
    for name in NEEDS:
        tasks = [task for task in run.tasks if task.name == name]
        if tasks:
            began = min((task.began.timestamp() for task in tasks if task.began), default=0.0)
            ends = [task.ended.timestamp() if task.ended else time.time() for task in tasks]
            found.append(
                Step(name, Counter(task.state or "PENDING" for task in tasks), max(0.0, max(ends) - began) if began else 0.0)
            )
    return found


def follow(api: "Kubeflow", run_id: str, seconds: float) -> "Run":
    """Show a run until it is over, and return it; raises what `require_success` does.

    Raises PlatformError when it is not over after `seconds`: it goes on; and when the API stays away or refuses.
    """
    watch = _Watch(api, run_id)
    deadline = time.monotonic() + seconds
    with _Table() if sys.stderr.isatty() else _Lines() as display:
        while not (run := watch.look()).is_over:
            display.show(run, watch.waits())
            if time.monotonic() > deadline:
                raise PlatformError(
                    f"the run {run_id} is still {run.state.lower()} after {seconds / 3600:.3g} hours{_waiting(watch.waits())}",
                    f"See mynah runs {run_id[:8]} and {_logs(run)}; mynah cancel {run_id[:8]} ends it.",
                )
            time.sleep(min(watch.pause, max(0.0, deadline - time.monotonic()) + 0.1))
        display.show(run, {})
    require_success(api, run)
    return run


def require_success(api: "Kubeflow", run: "Run") -> None:
    """Raise when a run did not succeed: the error of the step that failed where its log tells one, else a PlatformError."""
    if run.state == "SUCCEEDED":
        return
    if run.state != "FAILED":
        raise PlatformError(f"the run {run.run_id} was {run.state.lower()}", f"See `mynah runs {run.run_id[:8]}`.")
    pods = [pod for pod in api.pods(run.run_id) if pod.has_failed]
    task = next((task for task in run.tasks if task.state == "FAILED" and task.name in NEEDS), None)
    pod = next((pod for pod in reversed(pods) if pod.step and (not task or pod.step == task.name)), None)
    where = task.name if task else pod.step if pod else ""
    more = f"mynah logs {run.run_id[:8]} {where}" if where else f"mynah runs {run.run_id[:8]}"
    kind, problem, fix = _own_error(api, run, pod)
    reason = problem or (pod.message if pod else "") or (task.error if task else "") or run.error or "nothing tells why"
    raise BY_NAME.get(kind, PlatformError)(
        visible(f"the run {run.run_id} failed{f' in {where}' if where else ''}: {reason}"),
        visible(f"{fix} See more: {more}".strip()),
    )


def _own_error(api: "Kubeflow", run: "Run", pod: "Pod | None") -> tuple[str, str, str]:
    """Kind, problem and fix of the error that a step ended with, from its log; empty where it tells none."""
    if not pod or pod.is_driver:
        return "", "", ""
    try:
        found = list(OWN_ERROR.finditer(api.log(run.run_id, pod.name)))
    except MynahError:
        return "", "", ""
    return (found[-1][1], found[-1][2].strip()[:500], (found[-1][3] or "").strip()[:500]) if found else ("", "", "")


def _logs(run: "Run") -> str:
    step = next((step.name for step in steps_of(run) if step.state in ("RUNNING", "PENDING")), "STEP")
    return f"mynah logs {run.run_id[:8]} {step}"


def _waiting(waits: dict[str, str]) -> str:
    return "".join(f"; {step} waits: {reason}" for step, reason in list(waits.items())[:1])


class _Watch:
    """Looks at a run, again and again, slower while nothing changes; an API that is away for a while is no end of it."""

    def __init__(self, api: "Kubeflow", run_id: str) -> None:
        self._api = api
        self._run_id = run_id
        self._before: object = None
        self._changed = self._asked = time.monotonic()
        self._reasons: dict[str, str] = {}
        self.pause = FASTEST

    def look(self) -> "Run":
        run = self._run()
        seen = [(step.name, step.told) for step in steps_of(run)]
        if seen != self._before:
            self._before, self._changed, self.pause, self._reasons = seen, time.monotonic(), FASTEST, {}
        else:
            self.pause = min(SLOWEST, self.pause * 1.3)
        return run

    def waits(self) -> dict[str, str]:
        """Why steps wait, once nothing has changed for a few seconds: no node, no image, no quota."""
        now, patience = time.monotonic(), SECONDS_BETWEEN_REASONS if self._reasons else 2 * FASTEST
        if now - max(self._changed, self._asked) > patience:
            self._asked = now
            pods = self._api.pods(self._run_id)
            self._reasons = {pod.step or pod.name: pod.message for pod in pods if pod.phase == "Pending" and pod.message}
        return self._reasons

    def _run(self) -> "Run":
        since, pause = time.monotonic(), 1.0
        while True:
            try:
                return self._api.run(self._run_id)
            except InputError:
                raise
            except PlatformError as error:
                if 300 <= http_status(error) < 500 or time.monotonic() - since > SECONDS_AWAY:
                    raise
                say(f"{error.problem}; looking again", "warning")
            time.sleep(pause)
            pause = min(pause * 2, SLOWEST)


class _Lines:
    """For a pipe or a log: a line when a step's state changes, or what it waits for."""

    def __init__(self) -> None:
        self._told: dict[str, str] = {}

    def __enter__(self) -> "_Lines":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, run: "Run", waits: dict[str, str]) -> None:
        for step in steps_of(run):
            self._tell(step.name, step.told)
        for step_name, reason in waits.items():
            self._tell(f"{step_name} waits", reason)
        self._tell("run", run.state.lower())

    def _tell(self, what: str, told: str) -> None:
        if self._told.get(what) != told:
            self._told[what] = told
            print(visible(f"{what}: {told}"), file=sys.stderr, flush=True)


class _Table:
    """For a terminal: the steps, redrawn in place."""

    def __enter__(self) -> "_Table":
        from rich.console import Console
        from rich.live import Live

        self._live = Live(console=Console(stderr=True, markup=False, highlight=False), auto_refresh=False)
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, run: "Run", waits: dict[str, str]) -> None:
        self._live.update(table(run, waits), refresh=True)


def table(run: "Run", waits: dict[str, str]) -> "Table":
    """The steps of a run for a terminal."""
    from rich.table import Table

    shown = Table(title=visible(f"{run.name or run.run_id}: {run.state.lower()}"), title_justify="left")
    for heading in ("", "Step", "State", "Time", "Waits for"):
        shown.add_column(heading, justify="right" if heading == "Time" else "left", overflow="fold")
    for step in steps_of(run):
        seconds = f"{step.seconds:,.0f} s" if step.seconds else ""
        shown.add_row(MARKS.get(step.state, ""), step.name, step.told, seconds, visible(waits.get(step.name, "")))
    return shown
