"""What a run's steps cost beyond their work: `python -m tests.benchmarks.step_overhead`.

It takes the bundled sample through the pipeline on this machine, each step's container command as a process, and prints for each the wall
seconds of the process, of the work (between its events `start` and `end`), and the difference: starting Python, importing, and ending. The bar
is 20 s for all steps together. Nothing here asserts a time. With `--imports` it prints the modules that take longest to import in a step's
process, from `python -X importtime`, which slows the run.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

BAR = 20.0  # seconds for all steps together
POLL = 0.02
EXECUTOR = "kfp.dsl.executor_main"  # in the command of a step's container, whatever its name
IMPORT_TIME = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \| (\s*)(\S+)")
SHOWN = 12  # modules per step


@dataclass
class StepProcess:
    """A step's process; times in seconds since the epoch."""

    process: psutil.Process
    began: float
    ended: float = 0.0
    names: list[str] = field(default_factory=list)  # as its events call it
    work: float = 0.0
    started: float = 0.0  # of the part that is under way

    @property
    def wall(self) -> float:
        """Wall seconds of the whole process."""
        return self.ended - self.began


class Observer:
    """Watches a run's processes and the events that its steps write.

    Args:
        launcher: The process `mynah run`.
    """

    def __init__(self, launcher: psutil.Popen) -> None:
        self._launcher = launcher
        self.steps: list[StepProcess] = []
        self._events: Path | None = None
        self._read = 0

    def watch(self) -> None:
        """Watch until the launcher ends."""
        while self._launcher.poll() is None:
            self._look_for_steps()
            self._read_events()
            for step in self.steps:
                if not step.ended and not (step.process.is_running() and step.process.status() != psutil.STATUS_ZOMBIE):
                    step.ended = time.time()
            time.sleep(POLL)
        for step in self.steps:
            step.ended = step.ended or time.time()
            if step.started:  # the launcher removed the events before the last `end` was read
                step.work += step.ended - step.started

    def _look_for_steps(self) -> None:
        known = {step.process.pid for step in self.steps}
        for process in self._launcher.children(recursive=True):
            try:
                is_step = any(EXECUTOR in part for part in process.cmdline())
                if not is_step or process.pid in known or process.ppid() in known:
                    continue
                self.steps.append(StepProcess(process, process.create_time()))
                known.add(process.pid)
                self._events = self._events or Path(process.environ()["MYNAH_EVENTS"])
            except (psutil.Error, KeyError):  # it has ended meanwhile
                continue

    def _read_events(self) -> None:
        if not self._events or not self._events.exists() or not self.steps:
            return
        data = self._events.read_bytes()
        whole = data[self._read : data.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            event, step = json.loads(line), self.steps[-1]
            if event["event"] == "start":
                step.started = time.time()
                step.names.append(event["step"])
            elif event["event"] == "end" and step.started:
                step.work += time.time() - step.started
                step.started = 0.0


def show(steps: list[StepProcess]) -> None:
    """Print a row per step, and the sum against the bar."""
    print(f"{'step':<28} {'wall s':>7} {'work s':>7} {'beyond s':>8}")
    for step in steps:
        print(f"{', '.join(step.names) or '?':<28} {step.wall:>7.2f} {step.work:>7.2f} {step.wall - step.work:>8.2f}")
    beyond = sum(step.wall - step.work for step in steps)
    wall = sum(step.wall for step in steps)
    print(f"{len(steps)} processes: {wall:.1f} s, of which {beyond:.1f} s beyond the work (the bar: {BAR:.0f} s)")


def show_imports(log: Path) -> None:
    """Print the modules that took longest to import, with all that they import, for each process in a run's log."""
    processes: list[list[tuple[int, str]]] = [[]]
    for line in log.read_text("utf-8", "replace").splitlines():
        if not (found := IMPORT_TIME.search(line)):
            continue
        _, cumulative, indent, module = found.groups()
        if module == "site" and processes[-1]:
            processes.append([])
        if len(indent) <= 1 or "." not in module:
            processes[-1].append((int(cumulative), module))
    for number, modules in enumerate(processes, 1):
        slowest = ", ".join(f"{module} {micros / 1e6:.2f}" for micros, module in sorted(set(modules), reverse=True)[:SHOWN])
        print(f"process {number}: {slowest}")


def main() -> None:
    """Run the sample, and print what its steps cost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--imports", action="store_true", help="show the modules that take longest to import")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mynah-overhead-") as folder:
        command = [
            sys.executable, "-m", "pipelines", "run", "--name", "wren", "--from", "sample", "--base-model", "fledgling",
            "--effort", "quick", "--workdir", folder,
        ]  # fmt: skip
        profiled = {"PYTHONPROFILEIMPORTTIME": "1"} if arguments.imports else {}
        launcher = psutil.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=os.environ | profiled)
        observer = Observer(launcher)
        observer.watch()
        show([step for step in observer.steps if step.names])  # a shell of the runner may begin no step
        if arguments.imports:
            show_imports(next(Path(folder).glob("runs/*/pipeline.log")))
        if launcher.returncode not in (0, 4):  # 4: the gate refused so short a training run
            sys.exit(f"mynah run ended with {launcher.returncode}")


if __name__ == "__main__":
    main()
