"""How `mynah deploy` deploys a version."""

from dataclasses import dataclass, field

from components.deploy.canary import Plan
from components.deploy.readiness import WaitLimits
from mynah.core.errors import InputError


@dataclass(frozen=True, slots=True)
class DeploySettings:
    """How to deploy a version. Raises InputError for invalid settings."""

    namespace: str = "mynah"
    percent: int = 0  # of the requests, for a canary; 0 for all at once
    prometheus: str = ""  # its URL: the canary proceeds, or is reverted, by itself
    plan: Plan = field(default_factory=Plan)
    wait_limits: WaitLimits = field(default_factory=WaitLimits)
    address: str = ""  # for the smoke test; "" for the cluster's own
    force_conflicts: bool = False
    replicas: int = 0  # at least; 0 for what there is, or one

    def __post_init__(self) -> None:
        if not 0 <= self.percent <= 99:
            raise InputError(
                f"a canary cannot get {self.percent} percent", "Give --canary 1 to 99; leave it out for all requests."
            )
        if self.replicas < 0:
            raise InputError(f"a bot cannot have {self.replicas} pods", "Give --replicas 1 or more.")
        if self.prometheus and not self.percent:
            raise InputError("--prometheus is for a canary", "Add --canary PERCENT, or leave it out.")
        if self.address and not self.address.startswith(("http://", "https://")):
            raise InputError(
                f"{self.address[:80]!r} is not a URL", "Give --address http://HOST, {service} and {namespace} in it."
            )
