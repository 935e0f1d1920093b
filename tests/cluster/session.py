"""A session of the suite: its choices, its commands, what it keeps, and the ways to the servers."""

import base64
import contextlib
import re
from pathlib import Path
from typing import Any

from tests.cluster.asked import Asked
from tests.cluster.commands import Commands
from tests.cluster.forward import Way, forward
from tests.cluster.kept import Kept
from tests.cluster.ways import BOTS, KUBEFLOW

# The laptop's, public like all its passwords (k8s/README.md). It lets in to what nobody else reaches.
KEY = "mynah_1bb572bb_-ak4VBxMA9U7SWDgmtgQBKA1kpJJ8HQT49kqu0vBwaw"
MLFLOW_PORT = 5000  # also here: MLflow answers only to the hosts and ports that its manifest lists


class Session:
    """What the steps share. Nothing is called before the first of them asks."""

    def __init__(self, asked: Asked, folder: Path) -> None:
        self.asked = asked
        self.commands = Commands(asked.context, folder, dry_run=asked.dry_run)
        self._keeps = asked.keep and not asked.dry_run
        self._path = folder.parent / f"kept-{re.sub(r'[^A-Za-z0-9.-]', '_', asked.context)}.json"
        self.kept = Kept.read(self._path) if self._keeps else Kept()
        self.bot, self.runs, self.bots = self.kept.bot, self.kept.runs, self.kept.bots
        self.ways: dict[str, Way] = {}  # service to HOST:PORT
        self._open = contextlib.ExitStack()

    def passed(self, step: str, seconds: float) -> None:
        """Remember that a step passed, for a session that goes on."""
        self.kept.passed[step] = seconds
        self.remember()

    def remember(self) -> None:
        """Write what a session that goes on needs."""
        if self._keeps:
            self.kept.write(self._path)

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

    def reach(self, namespace: str, service: str, port: int, local: int = 0) -> Way:
        """Keep a way to a Service open until the story ends."""
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
            "MYNAH_WAIT_SECONDS": "60",  # for a way that is opened again
            "MYNAH_API_KEY": KEY,
            "MYNAH_WORKDIR": str(self.commands.folder / "workdir"),
        }
        self.reach(BOTS, "aviary-predictor", 80)

    def mynah(self, *words: str, example: Any, **options: Any) -> Any:
        """What a command of `mynah` says with --json."""
        answer = self.commands.json("mynah", *words, "--json", example=example, **options)
        assert answer is not None, f"mynah {words[0]}: {self.commands.said}"  # an exit code that was expected, for another reason
        return answer
