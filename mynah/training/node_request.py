"""What a run on a cluster asks for so that several nodes train one model: set by the compiler, read by the step finetune."""

import json
from dataclasses import asdict, dataclass, fields
from typing import Any

from mynah.core.errors import InputError
from mynah.core.settings import MYNAH_TRAIN_NODES

CPU_KIND = "cpu"  # of prices.yaml


@dataclass(frozen=True, slots=True)
class NodeRequest:
    """The nodes of one training run.

    Attributes:
        nodes: Their number.
        image: The image of their pods.
        kind: The kind of node, as in prices.yaml.
        cpu: Request and limit in cores, of one node.
        memory: Request and limit in Kubernetes' notation, of one node.
        gpus: GPUs of one node; 0 trains on processors.
        pool: The label of the GPU nodes, KEY=VALUE.
        queue: The LocalQueue of Kueue that admits them; "" for none.
    """

    nodes: int
    image: str
    kind: str
    cpu: tuple[str, str]
    memory: tuple[str, str]
    gpus: int = 0
    pool: str = ""
    queue: str = ""

    @property
    def processes(self) -> int:
        """The processes of one node: one per GPU, or one."""
        return max(1, self.gpus)

    def to_json(self) -> str:
        """Return the request as one line of JSON, for MYNAH_TRAIN_NODES."""
        return json.dumps(asdict(self), separators=(",", ":"))


def requested_nodes() -> NodeRequest | None:
    """Return the request of MYNAH_TRAIN_NODES; None where the step trains by itself. Raises InputError for an invalid one."""
    text = MYNAH_TRAIN_NODES.get()
    if not text:
        return None
    try:
        known = {field.name for field in fields(NodeRequest)}
        values: dict[str, Any] = {key: value for key, value in json.loads(text).items() if key in known}
        request = NodeRequest(**values | {key: tuple(value) for key, value in values.items() if isinstance(value, list)})
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"MYNAH_TRAIN_NODES is {text[:40]!r} ({error})", "Submit the run again with this version of mynah."
        ) from error
    return request
