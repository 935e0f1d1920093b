"""Follows a run of Kubeflow Pipelines until it ends: shows the states of its steps, and why they wait."""

import contextlib
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mynah.core.errors import BY_NAME, InputError, MynahError, PlatformError, RunCanceled
from mynah.core.progress import notify, strip_control_chars
from pipelines.kubeflow.client import http_status
from pipelines.kubeflow.logs import logs_in_bucket
from pipelines.kubeflow.records import LOST
from pipelines.placement import NEEDS

if TYPE_CHECKING:
    from rich.table import Table

    from pipelines.kubeflow.api import Kubeflow
    from pipelines.kubeflow.pods import Pod
    from pipelines.kubeflow.records import KubeflowRun

MIN_PAUSE, MAX_PAUSE = 2.0, 15.0  # seconds between polls; longer while nothing changes
SECONDS_BETWEEN_REASONS = 30.0  # a workflow's manifest may be megabytes
SECONDS_UNREACHABLE = 300.0  # for which the API may be unreachable before following ends
MARKS = {"SUCCEEDED": "✓", "FAILED": "✗", "CANCELED": "✗", "RUNNING": "…"}
# The end of a traceback of Mynah's errors: module.Name: problem, and the fix on the next line.
OWN_ERROR = re.compile(rf"^{re.escape(MynahError.__module__)}\.(\w+): (.*)(?:\n(?!\[|Traceback)(.+))?", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class StepStatus:
    """A step of a run, for all bots of a fleet together."""

    name: str
    states: Counter[str]
    seconds: float  # from the first start to the last end

    @property
    def description(self) -> str:
        """The state, with counts for a fleet."""
        if len(self.states) == 1 and self.states.total() == 1:
            return next(iter(self.states)).lower()
        return ", ".join(f"{count} {state.lower()}" for state, count in sorted(self.states.items()))

    @property
    def state(self) -> str:
        """The most important state, of all bots."""
        worst = ("FAILED", "CANCELED", "RUNNING", "PENDING", "SUCCEEDED", "SKIPPED")
        return next((state for state in worst if self.states[state]), "PENDING")


def steps_of(run: "KubeflowRun") -> list[StepStatus]:
    """Return the pipeline's steps among a run's tasks, in the pipeline's order."""
    steps = []
    for name in NEEDS:
        tasks = [task for task in run.tasks if task.name == name]
        if tasks:
            started = min((task.started.timestamp() for task in tasks if task.started), default=0.0)
            ends = [task.ended.timestamp() if task.ended else time.time() for task in tasks]
            steps.append(
                StepStatus(
                    name, Counter(task.state or "PENDING" for task in tasks), max(0.0, max(ends) - started) if started else 0.0
                )
            )
    return steps


def follow(api: "Kubeflow", run_id: str, seconds: float) -> "KubeflowRun":
    """Show a run until it ends.

    Args:
        api: the API.
        run_id: the run's id.
        seconds: the time after which following ends, although the run continues.

    Returns:
        The run.

    Raises:
        PlatformError: the run has not ended after `seconds`, or the API is unreachable or returns an error.
        MynahError: the run failed, as `require_success` raises it.
    """
    poller = _RunPoller(api, run_id)
    deadline = time.monotonic() + seconds
    with _Table() if sys.stderr.isatty() else _Lines() as display:
        while not (run := poller.poll()).is_over:
            display.show(run, poller.wait_reasons())
            if time.monotonic() > deadline:
                raise PlatformError(
                    f"the run {run_id} is still {run.state.lower()} after {seconds / 3600:.3g} hours{_waiting(poller.wait_reasons())}",
                    f"See mynah runs {run_id[:8]} and {_logs(run)}; mynah cancel {run_id[:8]} ends it.",
                )
            time.sleep(min(poller.pause, max(0.0, deadline - time.monotonic()) + 0.1))
        display.show(run, {})
    require_success(api, run)
    return run


def require_success(api: "Kubeflow", run: "KubeflowRun") -> None:
    """Require that a run succeeded.

    Args:
        api: the API.
        run: the run, which has ended.

    Raises:
        RunCanceled: somebody canceled it.
        MynahError: the run failed: the error in the failed step's log, or a PlatformError.
    """
    if run.state == "SUCCEEDED":
        return
    if run.state == "CANCELED":
        raise RunCanceled(f"the run {run.run_id} was canceled", f"See `mynah runs {run.run_id[:8]}`; submit it again to go on.")
    if run.state == LOST:
        raise PlatformError(
            f"the run {run.run_id} is lost: its Workflow was deleted while it ran, and Kubeflow calls it running",
            "Submit it again; training resumes from its last state.",
        )
    if run.state != "FAILED":
        raise PlatformError(f"the run {run.run_id} was {run.state.lower()}", f"See `mynah runs {run.run_id[:8]}`.")
    pods = [pod for pod in api.pods(run.run_id) if pod.has_failed]
    task = next((task for task in run.tasks if task.state == "FAILED" and task.name in NEEDS), None)
    pod = next((pod for pod in reversed(pods) if pod.step and (not task or pod.step == task.name)), None)
    where = task.name if task else pod.step if pod else ""
    more = f"mynah logs {run.run_id[:8]} {where}" if where else f"mynah runs {run.run_id[:8]}"
    kind, problem, fix = _own_error(api, run, where, pod)
    reason = problem or (pod.message if pod else "") or (task.error if task else "") or run.error or "no reason is recorded"
    raise BY_NAME.get(kind, PlatformError)(
        strip_control_chars(f"the run {run.run_id} failed{f' in {where}' if where else ''}: {reason}"),
        strip_control_chars(f"{fix} See more: {more}".strip()),
    )


def _own_error(api: "Kubeflow", run: "KubeflowRun", step: str, pod: "Pod | None") -> tuple[str, str, str]:
    """Return class name, problem and fix of a failed step's error from its newest log that has one; "" without one."""
    with contextlib.suppress(MynahError):
        for text in _newest_logs(api, run, step, pod):
            if matches := list(OWN_ERROR.finditer(text)):
                return matches[-1][1], matches[-1][2].strip()[:500], (matches[-1][3] or "").strip()[:500]
    return "", "", ""


def _newest_logs(api: "Kubeflow", run: "KubeflowRun", step: str, pod: "Pod | None") -> Iterator[str]:
    """Yield the logs of a step: those in Mynah's bucket from the last attempt to the first, then that of its pod. Raises MynahError."""
    with contextlib.suppress(MynahError):
        for log in reversed(logs_in_bucket(run, step) if step else []):
            yield log.read()
    if pod and not pod.is_driver:
        yield api.log(run.run_id, pod.name)


def _logs(run: "KubeflowRun") -> str:
    step = next((step.name for step in steps_of(run) if step.state in ("RUNNING", "PENDING")), "STEP")
    return f"mynah logs {run.run_id[:8]} {step}"


def _waiting(waits: dict[str, str]) -> str:
    return "".join(f"; {step} waits: {reason}" for step, reason in list(waits.items())[:1])


class _RunPoller:
    """Polls a run, less often while nothing changes, and tolerates an API that is unreachable for a while."""

    def __init__(self, api: "Kubeflow", run_id: str) -> None:
        self._api = api
        self._run_id = run_id
        self._previous: object = None
        self._changed = self._asked = self._checked = time.monotonic()
        self._reasons: dict[str, str] = {}
        self.pause = MIN_PAUSE

    def poll(self) -> "KubeflowRun":
        run = self._run()
        current = [(step.name, step.description) for step in steps_of(run)]
        if current != self._previous:
            self._previous, self._changed, self.pause, self._reasons = current, time.monotonic(), MIN_PAUSE, {}
        else:
            self.pause = min(MAX_PAUSE, self.pause * 1.3)
            if time.monotonic() - max(self._changed, self._checked) > SECONDS_BETWEEN_REASONS:
                self._checked = time.monotonic()
                return replace(run, state=LOST) if self._api.is_lost(run) else run
        return run

    def wait_reasons(self) -> dict[str, str]:
        """Return why steps wait (no node, image or quota), by step, after a few seconds without a change."""
        now, interval = time.monotonic(), SECONDS_BETWEEN_REASONS if self._reasons else 2 * MIN_PAUSE
        if now - max(self._changed, self._asked) > interval:
            self._asked = now
            pods = self._api.pods(self._run_id)
            self._reasons = {pod.step or pod.name: pod.message for pod in pods if pod.phase == "Pending" and pod.message}
        return self._reasons

    def _run(self) -> "KubeflowRun":
        since, pause = time.monotonic(), 1.0
        while True:
            try:
                return self._api.run(self._run_id)
            except InputError:
                raise
            except PlatformError as error:
                if 300 <= http_status(error) < 500 or time.monotonic() - since > SECONDS_UNREACHABLE:
                    raise
                notify(f"{error.problem}; trying again", "warning")
            time.sleep(pause)
            pause = min(pause * 2, MAX_PAUSE)


class _Lines:
    """Output for a pipe or a log: a line for each change of a step's state or of what it waits for."""

    def __init__(self) -> None:
        self._shown: dict[str, str] = {}

    def __enter__(self) -> "_Lines":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, run: "KubeflowRun", waits: dict[str, str]) -> None:
        for step in steps_of(run):
            self._print_change(step.name, step.description)
        for step_name, reason in waits.items():
            self._print_change(f"{step_name} waits", reason)
        self._print_change("run", run.state.lower())

    def _print_change(self, what: str, description: str) -> None:
        if self._shown.get(what) != description:
            self._shown[what] = description
            print(strip_control_chars(f"{what}: {description}"), file=sys.stderr, flush=True)


class _Table:
    """Output for a terminal: a table of the steps, redrawn in place."""

    def __enter__(self) -> "_Table":
        from rich.console import Console
        from rich.live import Live

        self._live = Live(console=Console(stderr=True, markup=False, highlight=False), auto_refresh=False)
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, run: "KubeflowRun", waits: dict[str, str]) -> None:
        self._live.update(table(run, waits), refresh=True)


def table(run: "KubeflowRun", waits: dict[str, str]) -> "Table":
    """Return the table of a run's steps.

    Args:
        run: the run.
        waits: why steps wait, by step.
    """
    from rich.table import Table

    shown = Table(title=strip_control_chars(f"{run.name or run.run_id}: {run.state.lower()}"), title_justify="left")
    for heading in ("", "Step", "State", "Time", "Waits for"):
        shown.add_column(heading, justify="right" if heading == "Time" else "left", overflow="fold")
    for step in steps_of(run):
        seconds = f"{step.seconds:,.0f} s" if step.seconds else ""
        shown.add_row(
            MARKS.get(step.state, ""), step.name, step.description, seconds, strip_control_chars(waits.get(step.name, ""))
        )
    return shown
