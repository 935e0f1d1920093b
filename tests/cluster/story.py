"""One session of the suite: a bot of its own, the ways to the servers, its runs; and the removal of exactly these."""

import base64
import contextlib
import json
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelines.kubeflow.pods import Pod, pods_of
from tests.cluster.asked import LAPTOP, PREFIX, Asked
from tests.cluster.commands import Answer, Commands
from tests.cluster.dump import RUN_LABEL, dump
from tests.cluster.forward import forward
from tests.cluster.load import Load

BOTS, KUBEFLOW = "mynah", "kubeflow"  # namespaces
# The laptop's, public like all its passwords (k8s/README.md). It lets in to what nobody else reaches.
KEY = "mynah_1bb572bb_-ak4VBxMA9U7SWDgmtgQBKA1kpJJ8HQT49kqu0vBwaw"
MLFLOW_PORT = 5000  # also here: MLflow answers only to the hosts and ports that its manifest lists
QUESTION = {
    "inputs": [{"name": "prompt", "datatype": "BYTES", "shape": [1], "data": ["My dream is"]}],
    "parameters": {"n": 1, "max_tokens": 16},
}
POST = "well served in to a sweet goose"  # of the bundled sample, whose posts do not go through Kubeflow
RUN = "00000000-0000-4000-8000-000000000000"  # a run's id, where a dry run needs one
# What fine-tuning writes when it keeps a training state, and when it goes on from one (components/finetune/trainer.py).
KEPT = re.compile(r"the state of step (\d+) of \d+ is saved")
RESUMED = re.compile(r"resuming at step (\d+) of \d+")
LONG = {"epochs": 30, "patience": 0}  # 840 steps of the sample: several times MYNAH_CHECKPOINT_SECONDS, also on many fast cores


class Story:
    """What the steps share. Nothing is called before the first of them asks."""

    def __init__(self, asked: Asked, folder: Path) -> None:
        self.asked = asked
        self.commands = Commands(asked.context, folder, dry_run=asked.dry_run)
        self.bot = PREFIX + secrets.token_hex(4)
        self.runs: list[str] = []
        self.submitted = 0.0  # when the last run was, by the monotonic clock
        self.began = False  # whether anything was made that must go
        self.forgotten = False
        self.ways: dict[str, str] = {}  # service to HOST:PORT
        self._open = contextlib.ExitStack()

    # --- the cluster

    def current_context(self) -> str:
        return self.commands.run("kubectl", "config", "current-context", example=self.asked.context).strip()

    def kubectl(self, *words: str, **options: Any) -> str:
        return self.commands.kubectl(*words, **options)

    def found(self, kind: str, name: str, namespace: str, example: Any, *, secret: bool = False) -> dict[str, Any]:
        """An object of the cluster; {} where there is none."""
        words = ("get", kind, name, "--namespace", namespace, "--ignore-not-found", "--output", "json")
        return self.commands.json(*self.commands.kubectl_words(*words), example=example, secret=secret) or {}

    def installed_settings(self) -> dict[str, str]:
        """What the ConfigMap of an installation says; {} where there is none."""
        example = {"data": {"AWS_ENDPOINT_URL_S3": "http://s3.mynah.svc.cluster.local:8333", "MYNAH_S3_BUCKET": "mynah"}}
        return self.found("configmap", "mynah-settings", BOTS, example).get("data", {})

    def secret(self, name: str, *keys: str) -> list[str]:
        example = {"data": {key: base64.b64encode(f"${key}".encode()).decode() for key in keys}}
        data = self.found("secret", name, BOTS, example, secret=True).get("data", {})
        return [base64.b64decode(data[key]).decode() for key in keys]

    def reach(self, namespace: str, service: str, port: int, local: int = 0) -> str:
        """Keep a way to a Service open until the story ends; HOST:PORT."""
        self.ways[service] = self._open.enter_context(forward(self.commands, namespace, service, port, local))
        return self.ways[service]

    def use_the_servers(self) -> None:
        """Ways to all that a person's own machine needs, and the environment that names them, for `mynah`.

        Not MLflow's database: `mynah forget --context` finds and reaches it by itself.
        """
        key, secret_key = self.secret("mynah-s3", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        settings = self.installed_settings()
        self.commands.environment |= {
            "KF_PIPELINES_ENDPOINT": f"http://{self.reach(KUBEFLOW, 'ml-pipeline', 8888)}",
            "MLFLOW_TRACKING_URI": f"http://{self.reach(BOTS, 'mlflow', 5000, MLFLOW_PORT)}",
            "AWS_ENDPOINT_URL_S3": f"http://{self.reach(BOTS, 's3', 8333)}",
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret_key,
            "AWS_REGION": settings.get("AWS_REGION", "us-east-1"),
            "AWS_DEFAULT_REGION": settings.get("AWS_REGION", "us-east-1"),
            "MYNAH_S3_BUCKET": settings["MYNAH_S3_BUCKET"],
            "MYNAH_KUBE_CONTEXT": self.asked.context,
            "MYNAH_LOCK": f"lease:{BOTS}",
            "MYNAH_API_KEY": KEY,
            "MYNAH_WORKDIR": str(self.commands.folder / "workdir"),
        }
        self.reach(BOTS, "aviary-predictor", 80)

    # --- runs

    def mynah(self, *words: str, example: Any, **options: Any) -> Any:
        """What a command of `mynah` says with --json."""
        answer = self.commands.json("mynah", *words, "--json", example=example, **options)
        assert answer is not None, f"mynah {words[0]}: {self.commands.said}"  # an exit code that was expected, for another reason
        return answer

    def submit(self, **recipe: int) -> str:
        """A run of the bundled sample, as small as it can be and still pass the gate where `recipe` says nothing else; its id."""
        images = ("--images", self.asked.images) if self.asked.images else ()
        sets = [word for name, value in ({"epochs": 1} | recipe).items() for word in ("--set", f"{name}={value}")]
        bot = ("submit", "--name", self.bot, "--from", "sample", "--base-model", "fledgling")
        words = (*bot, *sets, "--no-gpu", "--deadline", "1", "--no-wait", *images)
        self.began, self.submitted = True, time.monotonic()
        run = self.mynah(*words, example={"run": RUN, "state": "PENDING"})["run"]
        self.runs.append(run)
        return run

    def state_at_the_end(self, run: str) -> str:
        words = ("runs", run, "--follow", "--deadline", "1")
        return self.mynah(*words, example={"run": run, "state": "SUCCEEDED"}, seconds=2 * 3600)["state"]

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
        """End a step in mid-run: every process in its container, as the kernel does when memory runs out; or the whole pod."""
        if self.asked.kill == "pod":
            self.kubectl("delete", "pod", pod.name, "--namespace", KUBEFLOW, "--wait=false")
        else:  # the shell's own `kill`, for the image has no other; it spares itself and Argo's process 1, which tells the exit code
            words = ("exec", pod.name, "--namespace", KUBEFLOW, "--container", "main", "--", "sh", "-c", "kill -9 -1")
            self.kubectl(*words, codes=(0, 1, 137))  # the container ends under it; attempts() tells whether that came of it

    # --- the bot

    def record(self, *versions: int, champion: int) -> dict[str, Any]:
        """The registry's history of the bot; the arguments are the dry run's example."""
        about = [{"version": number, "verdict": "passed", "run": "0" * 32, "aliases": []} for number in versions]
        return self.mynah("show", self.bot, example={"aliases": {"champion": champion}, "versions": about})

    def ask(self, service: str, version: int) -> Answer:
        """A question to the bot at a server; `version` is the dry run's example."""
        body = {"model_version": str(version), "outputs": [{"data": ["My dream is to sing."]}]}
        url = f"http://{self.ways[service]}/v2/models/{self.bot}/infer"
        return self.commands.ask(url, QUESTION, key=True, example=Answer(200, body, f"{self.bot}:{version}"))

    def until_served(self, version: int) -> Answer:
        """Wait until the aviary answers by a version: it follows the registry by itself."""

        def served() -> Answer | None:
            answer = self.ask("aviary-predictor", version)
            return answer if (answer.status, answer.version) == (200, f"{self.bot}:{version}") else None

        return self.commands.until(f"the aviary answers as {self.bot}:{version}", served)

    def load(self, version: int) -> Load:
        return Load(lambda: self.ask("aviary-predictor", version), dry_run=self.asked.dry_run)

    def forget(self, receipt: Path) -> dict[str, Any]:
        words = ("forget", self.bot, "--yes", "--context", self.asked.context, "--receipt", str(receipt))
        done = self.mynah(*words, example={"subject": self.bot, "items": [{}], "receipt": str(receipt)}, seconds=900)
        self.forgotten = True
        return done

    def kept_by_kubeflow(self) -> dict[str, str]:
        """What Kubeflow keeps: Workflows, its API, its databases, and the raw files of its object store that hold the bot's name or POST."""
        words = ("workflows,scheduledworkflows", "--namespace", KUBEFLOW, "--output", "json")
        kept = {"Workflows": self.kubectl("get", *words, example="{}")}
        for records in ("runs", "recurringruns"):
            address = f"http://{self.ways['ml-pipeline']}/apis/v2beta1/{records}?page_size=200"
            kept[records] = json.dumps(self.commands.ask(address).body)
        inside = {
            "mysql": "mysqldump --user=root --databases mlpipeline metadb",
            "seaweedfs": f"grep -rlF -e {self.bot} -e '{POST}' /data | sed s/^/{self.bot}:/",
        }
        for deployment, command in inside.items():
            words = (f"deployment/{deployment}", "--namespace", KUBEFLOW, "--", "sh", "-c", command)
            kept[deployment] = self.kubectl("exec", *words, example="")
        return kept

    # --- the end

    def dump(self) -> None:
        dump(self.commands, BOTS, KUBEFLOW, self.runs)

    def close(self) -> None:
        """Remove what this story made, whatever happened, and close the ways. The installation stays."""
        with self._open:
            if not self.began or self.asked.keep:
                return
            for step in self._removals():
                try:
                    step()
                except AssertionError as error:  # the others go all the same
                    print(f"not removed: {error}")

    def _removals(self) -> Iterator[Any]:
        assert self.bot.startswith(PREFIX)  # nothing without it is ever deleted
        pipelines = self.ways.get("ml-pipeline")
        for run in self.runs if pipelines else ():
            yield lambda run=run: self.commands.ask(f"http://{pipelines}/apis/v2beta1/runs/{run}", method="DELETE")
        if not self.forgotten:
            yield lambda: self.forget(self.commands.folder / "receipt-at-the-end.json")
        words = ("delete", "inferenceservice", self.bot, "--namespace", BOTS, "--ignore-not-found")
        yield lambda: self.kubectl(*words)


def _last(pattern: re.Pattern[str], log: str) -> int:
    """The number in the last place where a pattern of one number is in a log; 0 where it is nowhere."""
    found = pattern.findall(log)
    return int(found[-1]) if found else 0


def told_how_to_remove(context: str) -> str:
    return f"The installation stays. Remove it: kubectl --context {context} delete -k {LAPTOP}"
