"""The addresses of a cluster run's files in Mynah's own bucket, below runs/ID/.

    runs/ID/spec.json                 the run's specification: names, sources, recipe (components/run_inputs.py)
    runs/ID/uploads/…                 posts of the machine that submitted it
    runs/ID/KFP_RUN_ID/NAME/…         what a step handed on (components/handover.py)
    runs/ID/KFP_RUN_ID/logs/…         the steps' logs
    runs/ID/KFP_RUN_ID/NODES/alive    a step's sign of life for the nodes that train for it (components/finetune/node_exchange.py)

Kubeflow only ever holds such addresses, so an ID says nothing about the bot: it is random, one per bot and submission. A schedule keeps
its ID for all its runs.
"""

import re
import secrets
from dataclasses import dataclass

ROOT = "runs"
SPEC_FILE = "spec.json"
UPLOADS = "uploads"
LOGS = "logs"
ALIVE = "alive"
ID = re.compile(r"[0-9a-f]{16}")
ADDRESS = re.compile(r"s3://([^/]+)/runs/([0-9a-f]{16})(?:/|$)")


def new_id() -> str:
    """Return a new random id of 16 hexadecimal digits."""
    return secrets.token_hex(8)


@dataclass(frozen=True, slots=True)
class RunFiles:
    """The files of one bot's runs in a bucket."""

    bucket: str
    id: str

    @property
    def prefix(self) -> str:
        """The key prefix of all files, without a slash at its end."""
        return f"{ROOT}/{self.id}"

    @property
    def uri(self) -> str:
        """The address of all files."""
        return f"s3://{self.bucket}/{self.prefix}"

    @property
    def spec(self) -> str:
        """The address of the specification."""
        return f"{self.uri}/{SPEC_FILE}"

    @property
    def uploads(self) -> str:
        """The address of the uploaded posts."""
        return f"{self.uri}/{UPLOADS}"

    def of(self, kfp_run: str) -> str:
        """Return the address of what the steps of one Kubeflow run wrote."""
        return f"{self.uri}/{kfp_run}"


def parse(address: str) -> RunFiles | None:
    """Return the run that an address below runs/ID/ belongs to, whatever follows; None for any other text."""
    found = ADDRESS.match(address)
    return RunFiles(*found.groups()) if found else None
