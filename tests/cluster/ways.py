"""Who reaches whom on the network of a cluster, asked from pods: the ways of k8s/README.md that the suite has both ends of.

A way is tried at the pod's own address, so that only policies stand between, and no Service.
"""

import json
from dataclasses import dataclass
from typing import Any

from pipelines.placement import LABELS
from scripts.manifests.network import CONNECTIONS, Connection

BOTS, KUBEFLOW = "mynah", "kubeflow"
TARGETS = ("mlflow", "postgres", "s3", "aviary", "bot")
SOURCES = ("mlflow", "aviary", "bot", "step", "stranger", "guest")  # whose images have a Python
ASKS = {"mynah.dev/asks": "true"}
# Tries each HOST:PORT that it gets, and prints which of them are open. On one line, as the commands of a dry run are.
PROBE = (
    "import json, socket, sys; socket.setdefaulttimeout(5); "
    "is_open = lambda host, port: socket.socket().connect_ex((host, int(port))) == 0; "
    "print(json.dumps({way: is_open(*way.rsplit(':', 1)) for way in sys.argv[1:]}))"
)


@dataclass(frozen=True, slots=True)
class Prober:
    """A pod that stands for one of others: a step, or a pod of a namespace that may ask or may not."""

    name: str
    namespace: str
    labels: dict[str, str]
    namespace_labels: dict[str, str] | None = None  # of a namespace of its own; None: it is there

    def manifests(self, image: str) -> list[dict[str, Any]]:
        """The pod, which sleeps, and its namespace. Confined as Pod Security's level restricted asks."""
        confined = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        container = {
            "name": "probe", "image": image, "command": ["python", "-c", "import time; time.sleep(3600)"], "securityContext": confined,
            "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}},
        }  # fmt: skip
        spec = {
            "containers": [container], "restartPolicy": "Never", "automountServiceAccountToken": False, "terminationGracePeriodSeconds": 0,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}},
        }  # fmt: skip
        metadata = {"name": self.name, "namespace": self.namespace, "labels": self.labels}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        if self.namespace_labels is None:
            return [pod]
        about = {"name": self.namespace, "labels": self.namespace_labels}
        return [{"apiVersion": "v1", "kind": "Namespace", "metadata": about}, pod]


def probers(bot: str) -> dict[str, Prober]:
    """The pods that the suite makes, by the party that each stands for."""
    return {
        "step": Prober(f"{bot}-step", KUBEFLOW, dict(LABELS)),
        "stranger": Prober("probe", f"{bot}-stranger", {}, {}),
        "guest": Prober("probe", f"{bot}-guest", {}, ASKS),
    }


def selector_of(target: str, bot: str) -> str:
    """The label of a target's pods."""
    if target in ("aviary", "bot"):
        return f"serving.kserve.io/inferenceservice={'aviary' if target == 'aviary' else bot}"
    return f"app.kubernetes.io/name={target}"


def ways_from(source: str) -> list[Connection]:
    """The ways from a source that the suite can try."""
    return [way for way in CONNECTIONS if way.source == source and way.target in TARGETS]


def differences(source: str, addresses: dict[str, str], said: str) -> list[str]:
    """What a probe found otherwise than it should be.

    Args:
        source: Where it ran.
        addresses: Each target's address.
        said: What it printed.

    Returns:
        A sentence for each way; empty when all are as they should be.
    """
    is_open = json.loads(said)
    found = [(way, is_open[f"{addresses[way.target]}:{way.port}"]) for way in ways_from(source)]
    return [
        f"{source} to {way.target}:{way.port} is {'open' if there else 'closed'}"
        for way, there in found
        if there is not way.is_open
    ]


def example_of(source: str, addresses: dict[str, str]) -> str:
    """What a probe prints where all ways are as they should be."""
    return json.dumps({f"{addresses[way.target]}:{way.port}": way.is_open for way in ways_from(source)})
