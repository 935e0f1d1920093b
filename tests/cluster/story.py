"""One session of the suite: a bot of its own, what it is asked, who reaches it; and the removal of exactly what was made."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.cluster.asked import LAPTOP, PREFIX, ROOT
from tests.cluster.commands import Answer
from tests.cluster.dump import dump
from tests.cluster.load import Load
from tests.cluster.runs import Runs
from tests.cluster.ways import BOTS, KUBEFLOW, PROBE, differences, example_of, probers, selector_of, ways_from

SECONDS_TO_END = 3.0  # until kubectl ends whose pod is gone
QUESTION = {
    "inputs": [{"name": "prompt", "datatype": "BYTES", "shape": [1], "data": ["My dream is"]}],
    "parameters": {"n": 1, "max_tokens": 16},
}
POST = "well served in to a sweet goose"  # of the bundled sample, whose posts do not go through Kubeflow


class Story(Runs):
    """What the steps share. Nothing is called before the first of them asks."""

    def record(self, *versions: int, champion: int, bot: str = "") -> dict[str, Any]:
        """The registry's history of a bot; the other arguments are the dry run's example."""
        about = [{"version": number, "verdict": "passed", "run": "0" * 32, "aliases": []} for number in versions]
        return self.mynah("show", bot or self.bot, example={"aliases": {"champion": champion}, "versions": about})

    def ask(self, service: str, version: int, bot: str = "") -> Answer:
        """A question to a bot at a server; `version` is the dry run's example."""
        if service not in self.ways:  # of a session that goes on
            self.reach(BOTS, service, 80)
        body = {"model_version": str(version), "outputs": [{"data": ["My dream is to sing."]}]}
        url = f"http://{self.ways[service]}/v2/models/{bot or self.bot}/infer"
        return self.commands.ask(url, QUESTION, key=True, example=Answer(200, body, f"{bot or self.bot}:{version}"))

    def until_served(self, version: int, bot: str = "") -> Answer:
        """Wait until the aviary answers by a version: it follows the registry by itself."""
        name = bot or self.bot

        def served() -> Answer | None:
            answer = self.ask("aviary-predictor", version, name)
            return answer if (answer.status, answer.version) == (200, f"{name}:{version}") else None

        return self.commands.until(f"the aviary answers as {name}:{version}", served)

    def load(self, version: int) -> Load:
        """People who ask the aviary. What fails while the way to it is opened again is asked again, for that is not the aviary's."""

        def ask() -> Answer:
            while True:
                began = time.monotonic()
                answer = self.ask("aviary-predictor", version)
                if answer.status or self.asked.dry_run or not self.ways["aviary-predictor"].was_away_since(began, SECONDS_TO_END):
                    return answer
                time.sleep(0.5)

        return Load(ask, dry_run=self.asked.dry_run)

    def put_in_bucket(self, path: Path, key: str) -> str:
        """Upload a file for a run to read; its address."""
        address = f"s3://{self.commands.environment['MYNAH_S3_BUCKET']}/{key}"
        print(f"# {path.relative_to(ROOT)} to {address}", flush=True)
        assert key.startswith(PREFIX)
        self.kept.objects.append(key)
        self.remember()
        if not self.asked.dry_run:
            self._s3().upload_file(str(path), self.commands.environment["MYNAH_S3_BUCKET"], key)
        return address

    def _s3(self) -> Any:
        import boto3

        told = self.commands.environment
        keys = {f"aws_{name}": told[f"AWS_{name.upper()}"] for name in ("access_key_id", "secret_access_key")}
        return boto3.client("s3", endpoint_url=told["AWS_ENDPOINT_URL_S3"], region_name=told["AWS_REGION"], **keys)

    # --- the network

    def start_probers(self) -> None:
        """Start the pods that stand for others, each in its place."""
        for prober in probers(self.bot).values():
            own = prober.namespace_labels is not None
            kind, name = ("namespace", prober.namespace) if own else ("pod", prober.name)
            where = () if own else ("--namespace", prober.namespace)
            words = ["delete", kind, name, *where, "--ignore-not-found", "--wait=false"]
            self.kept.made += [words] * (words not in self.kept.made)
            self.remember()
            file = self.commands.folder / f"{prober.namespace}-{prober.name}.json"
            if not self.asked.dry_run:
                items = prober.manifests(self.asked.references["serve"])
                file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}), "utf-8")
            self.kubectl("apply", "--filename", str(file))
            ready = ("--for", "condition=Ready", f"pod/{prober.name}", "--namespace", prober.namespace, "--timeout", "3m")
            self.kubectl("wait", *ready, seconds=200)

    def address_of(self, target: str) -> str:
        """The address of one of a target's pods that is ready."""
        words = ("get", "pods", "--namespace", BOTS, "--selector", selector_of(target, self.bot), "--output", "json")
        ready = {"type": "Ready", "status": "True"}
        example = {"items": [{"metadata": {"name": target}, "status": {"podIP": f"10.0.0.{len(target)}", "conditions": [ready]}}]}
        for pod in self.commands.json(*self.commands.kubectl_words(*words), example=example)["items"]:
            if any((each["type"], each["status"]) == ("Ready", "True") for each in pod["status"].get("conditions", [])):
                return str(pod["status"]["podIP"])
        raise AssertionError(f"no pod of {target} is ready")

    def wrong_ways_at_last(self, source: str, addresses: dict[str, str], seconds: float = 60) -> list[str]:
        """Which ways from a source are not as k8s/README.md says, also when a policy engine had its time to learn of a new pod."""
        deadline = time.monotonic() + seconds
        while (wrong := self.wrong_ways(source, addresses)) and time.monotonic() < deadline:
            time.sleep(3)
        return wrong

    def wrong_ways(self, source: str, addresses: dict[str, str]) -> list[str]:
        """Which ways from a source are not as k8s/README.md says."""
        tried = [f"{addresses[way.target]}:{way.port}" for way in ways_from(source)]
        where = {"mlflow": ("deployment/mlflow", BOTS), "aviary": ("deployment/aviary-predictor", BOTS)}
        where |= {"bot": (f"deployment/{self.bot}-predictor", BOTS)}
        where |= {party: (f"pod/{prober.name}", prober.namespace) for party, prober in probers(self.bot).items()}
        thing, namespace = where[source]
        words = ("exec", thing, "--namespace", namespace, "--", "python", "-c", PROBE, *tried)
        return differences(source, addresses, self.kubectl(*words, example=example_of(source, addresses)))

    def forget(self, bot: str, receipt: Path) -> dict[str, Any]:
        words = ("forget", bot, "--yes", "--context", self.asked.context, "--receipt", str(receipt))
        done = self.mynah(*words, example={"subject": bot, "items": [{}], "receipt": str(receipt)}, seconds=900)
        self.kept.forgotten.append(bot)
        self.remember()
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

    def close(self, *, is_over: bool = True) -> None:
        """Remove what this story made, whatever happened, and close the ways. The installation stays.

        A story that is kept and not over leaves all for the next session, which goes on.
        """
        with self._open:
            if self._keeps and not is_over:
                print(f"{self.bot} and its runs are kept; the same command goes on with the step that failed ({self._path})")
                return
            self._remove()
            if self._keeps:
                self._path.unlink(missing_ok=True)

    def _remove(self) -> None:
        for step in self._removals():
            try:
                step()
            except Exception as error:  # noqa: BLE001 - the others go all the same
                print(f"not removed: {error}")

    def _removals(self) -> Iterator[Any]:
        assert all(bot.startswith(PREFIX) for bot in (self.bot, *self.bots))  # nothing without it is ever deleted
        for words in self.kept.made:
            yield lambda words=words: self.kubectl(*words)
        pipelines = self.ways.get("ml-pipeline")
        for run in self.runs if pipelines else ():
            yield lambda run=run: self.commands.ask(f"http://{pipelines}/apis/v2beta1/runs/{run}", method="DELETE")
        for bot in [bot for bot in self.bots if bot not in self.kept.forgotten]:
            yield lambda bot=bot: self.forget(bot, self.commands.folder / f"receipt-at-the-end-of-{bot}.json")
        for key in self.kept.objects if not self.asked.dry_run else ():
            yield lambda key=key: self._s3().delete_object(Bucket=self.commands.environment["MYNAH_S3_BUCKET"], Key=key)
        if self.bots:
            words = ("delete", "inferenceservice", self.bot, "--namespace", BOTS, "--ignore-not-found")
            yield lambda: self.kubectl(*words)


def told_how_to_remove(context: str) -> str:
    return f"The installation stays. Remove it: kubectl --context {context} delete -k {LAPTOP}"
