"""The runs and schedules of a session of the suite: how they begin, how they are followed, and how one is killed."""

import json
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.kubeflow.pods import Pod, pods_of
from tests.cluster.asked import PREFIX, Asked
from tests.cluster.dump import RUN_LABEL
from tests.cluster.session import Session
from tests.cluster.ways import KUBEFLOW

RUN = "00000000-0000-4000-8000-000000000000"  # a run's id, where a dry run needs one
# What fine-tuning writes when it keeps a training state, and when it goes on from one (components/finetune/trainer.py).
KEPT = re.compile(r"the state of step (\d+) of \d+ is saved")
RESUMED = re.compile(r"resuming at step (\d+) of \d+")
LONG = {"epochs": 30, "patience": 0}  # 840 steps of the sample: several times MYNAH_CHECKPOINT_SECONDS, also on many fast cores


class Runs(Session):
    """A session with its runs."""

    def __init__(self, asked: Asked, folder: Path) -> None:
        super().__init__(asked, folder)
        self.submitted = 0.0  # when the last run was, by the monotonic clock

    def submit(self, *more: str, bot: str = "", sources: Sequence[str] = ("--from", "sample"), **recipe: int) -> str:
        """A run of the bundled sample, as small as it can be and still pass the gate where `recipe` says nothing else; its id.

        more: options instead of `--no-gpu`.
        """
        words = ("submit", "--name", bot or self.bot, *sources, *self._smallest(recipe), *(more or ("--no-gpu",)), "--no-wait")
        self._begin(bot or self.bot)
        return self._began_run(self.mynah(*words, example={"run": RUN, "state": "PENDING"})["run"])

    def submit_fleet(self, *bots: str) -> str:
        """A run that makes several bots of the sample; its id."""
        file = self.commands.folder / "fleet.json"
        if not self.asked.dry_run:
            file.write_text(json.dumps([{"name": bot, "from": "sample"} for bot in bots]), "utf-8")
        for bot in bots:
            self._begin(bot)
        words = ("fleet", str(file), *self._smallest({}), "--no-gpu", "--no-wait")
        return self._began_run(self.mynah(*words, example={"run": RUN, "state": "PENDING"})["run"])

    def schedule(self, bot: str, *sources: str) -> str:
        """A recurring run, each minute; its id."""
        self._begin(bot)
        words = ("submit", "--name", bot, *sources, *self._smallest({}), "--no-gpu", "--schedule", "* * * * *")
        return self.mynah(*words, example={"recurring_run": RUN, "schedule": "* * * * *"})["recurring_run"]

    def scheduled(self, schedule: str, last_run: str) -> dict[str, Any]:
        """What `mynah schedules` says of a schedule; {} where it has none. last_run: the dry run's example."""
        listed = self.mynah(
            "schedules", example=[{"schedule": schedule, "enabled": True, "last_run": last_run}] if last_run else []
        )
        return next((each for each in listed if each["schedule"] == schedule), {})

    def next_run(self, schedule: str, former: str = "", example: str = RUN) -> str:
        """Let a schedule begin one run after `former`, pause it, and return that run's id when it has succeeded."""

        def begun() -> str:
            run = self.scheduled(schedule, example).get("last_run", "")
            return run if run != former else ""

        run = self.commands.until("the schedule begins a run", begun, seconds=300, pause=5)
        self._began_run(run)
        self.mynah("schedules", "pause", schedule, example={"schedule": schedule, "state": "paused"})
        assert self.state_at_the_end(run) == "SUCCEEDED"
        return run

    def _smallest(self, recipe: dict[str, int]) -> tuple[str, ...]:
        images = ("--images", self.asked.images) if self.asked.images else ()
        sets = [word for name, value in ({"epochs": 1} | recipe).items() for word in ("--set", f"{name}={value}")]
        return ("--base-model", "fledgling", *sets, "--deadline", "1", *images)

    def _begin(self, bot: str) -> None:
        assert bot.startswith(PREFIX)
        self.submitted = time.monotonic()
        if bot not in self.bots:
            self.bots.append(bot)
            self.remember()

    def _began_run(self, run: str) -> str:
        if run not in self.runs:
            self.runs.append(run)
            self.remember()
        return run

    def state_at_the_end(self, run: str) -> str:
        words = ("runs", run, "--follow", "--deadline", "1")
        return self.mynah(*words, example={"run": run, "state": "SUCCEEDED"}, seconds=2 * 3600)["state"]

    def cancel(self, run: str) -> None:
        """Cancel a run, and wait until it is over: `mynah runs` then ends with the exit code of what somebody canceled."""
        self.mynah("cancel", run, example={"run": run, "state": "CANCELING"})
        self.commands.run("mynah", "runs", run, "--follow", "--deadline", "1", codes=(5,), seconds=3600)
        state = self.mynah("runs", run, example={"run": run, "state": "CANCELED"})["state"]
        assert state == "CANCELED", f"{run} was canceled, and is {state}"

    def waits_for(self, run: str, step: str, example: str) -> str:
        """What a step waits for, in the words of `mynah runs`; "" for nothing yet."""
        return str(self.mynah("runs", run, example={"reasons": {step: example}})["reasons"].get(step, ""))

    def attempts(self, run: str, *examples: Pod) -> list[Pod]:
        """The pods that fine-tune in a run, in the order in which they began."""
        return [pod for pod in self.pods(run, *examples) if pod.step == "finetune" and not pod.is_driver]

    def pods(self, run: str, *examples: Pod) -> list[Pod]:
        """All pods of a run, in the order in which they began."""
        words = ("get", "workflows", "--namespace", KUBEFLOW, "--selector", f"{RUN_LABEL}={run}", "--output", "json")
        items = self.commands.json(*self.commands.kubectl_words(*words), example={"items": []})["items"]
        found = [pod for item in items for pod in pods_of(json.dumps(item))]
        return list(examples) if self.asked.dry_run else found

    def kept_at(self, run: str, pod: Pod) -> int:
        """The step of the last training state that a running pod told of; 0 before its first."""
        return _last(KEPT, self._log(run, "the state of step 40 of 840 is saved")) if pod.phase == "Running" else 0

    def resumed_at(self, run: str) -> int:
        """The step at which the last attempt went on; 0 where each one began anew."""
        log = self._log(run, "Fine-tuning; resuming at step 40 of 840, where an earlier run of the same inputs was interrupted")
        assert "Fine-tuning" in log, f"nobody has the log of {run} any more: {log[-500:]}"
        return _last(RESUMED, log)

    def _log(self, run: str, example: str) -> str:
        """What all attempts to fine-tune wrote until now; "" where there is nothing yet."""
        return self.commands.run("mynah", "logs", run, "finetune", example=example, codes=(0, 2, 3))

    def kill(self, pod: Pod) -> None:
        """End a step in mid-run: every process in its container, as the kernel does when memory runs out; the whole pod; or its node."""
        if self.asked.kill == "node":
            self._drain(pod)
        elif self.asked.kill == "pod":
            self.kubectl("delete", "pod", pod.name, "--namespace", KUBEFLOW, "--wait=false")
        else:  # the shell's own `kill`, for the image has no other; it spares itself and Argo's process 1, which tells the exit code
            words = ("exec", pod.name, "--namespace", KUBEFLOW, "--container", "main", "--", "sh", "-c", "kill -9 -1")
            self.kubectl(*words, codes=(0, 1, 137))  # the container ends under it; attempts() tells whether that came of it

    def _drain(self, pod: Pod) -> None:
        """Drain a pod's node as before its maintenance, and open it again. All else on it moves too, or comes back."""
        words = ("get", "pod", pod.name, "--namespace", KUBEFLOW, "--output", "jsonpath={.spec.nodeName}")
        node = self.kubectl(*words, example="a-node").strip()
        assert node, f"{pod.name} is on no node"
        try:
            how = ("--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout", "10m")
            self.kubectl("drain", node, *how, seconds=660)
        finally:
            self.kubectl("uncordon", node)


def _last(pattern: re.Pattern[str], log: str) -> int:
    """The number in the last place where a pattern of one number is in a log; 0 where it is nowhere."""
    found = pattern.findall(log)
    return int(found[-1]) if found else 0
