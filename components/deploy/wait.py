"""Wait until an InferenceService serves what was applied, and say meanwhile what keeps it."""

import time
from dataclasses import dataclass
from http import HTTPStatus

from components.cluster import Cluster, Object
from components.cluster_errors import http_status
from components.deploy.manifest import KNATIVE, applied
from components.deploy.modes import canaries, mode_of
from components.deploy.server_side import read
from components.deploy.trouble import Trouble, digest_of, is_ready, pods, troubles
from components.errors import NAME_OF_TYPE, InputError, PlatformError
from components.events import say

REVISION_LABEL = "serving.knative.dev/revision"


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds for what a deployment waits for."""

    timeout: float = 600.0  # until it is ready
    poll: float = 2.0  # between looks
    trouble: float = 30.0  # that something may last which waiting alone does not mend
    answer: float = 30.0  # until the smoke test has its answer: a Service may take a moment to lead to new pods

    def __post_init__(self) -> None:
        for name, low, high in (("timeout", 0, 86_400), ("poll", 0.01, 60), ("trouble", 0, 3600), ("answer", 0, 3600)):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not low <= value <= high:
                raise InputError(
                    f"{name} is {str(value)[:40]!r}, and must be {NAME_OF_TYPE[float]} from {low:g} to {high:g}",
                    f"Change {name}.",
                )


def until_ready(cluster: Cluster, namespace: str, name: str, digest: str, patience: Patience) -> Object:
    """Wait for pods of the predictor `digest` to serve; the InferenceService as it is then.

    KServe reports nothing of its own generation, and Ready stays true all through a rolling update: a ready pod that was made from
    this very predictor is the proof. Raises PlatformError with every reason when it takes longer than `patience` allows, when what
    keeps it is hopeless, and when somebody applied or deleted something else meanwhile.
    """
    watch = _Watch(cluster, namespace, name, digest)
    deadline = time.monotonic() + patience.timeout
    hopeless_since = 0.0
    while True:
        live = watch.look()
        if live:
            return live
        now = time.monotonic()
        hopeless_since = (hopeless_since or now) if watch.is_hopeless else 0.0
        if hopeless_since and now - hopeless_since >= patience.trouble:
            raise watch.failure("cannot become ready")
        if now >= deadline:
            raise watch.failure(f"did not become ready within {patience.timeout:g} s")
        time.sleep(patience.poll)


def serves(live: Object, digest: str, found: list[Object]) -> bool:
    """Whether `live` serves the predictor `digest`, of which `found` are pods, among those of others."""
    status = live.get("status") or {}
    if not any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions") or []):
        return False
    ready = [pod for pod in found if digest_of(pod) == digest and is_ready(pod)]
    if mode_of(live) == KNATIVE:
        # The pods of revisions before linger without requests, and one of them may have been made from the very same predictor.
        revisions = (status.get("components") or {}).get("predictor") or {}
        latest = revisions.get("latestReadyRevision")
        is_latest = [pod["metadata"].get("labels", {}).get(REVISION_LABEL) == latest for pod in ready]
        return bool(latest) and latest == revisions.get("latestCreatedRevision") and any(is_latest)
    if not ready:
        return False
    if digest in map(applied, canaries(live)):
        return all(each.get("ready") for each in status.get("canaryStatuses") or [{}])
    return bool(canaries(live)) or all(digest_of(pod) == digest for pod in found)


class _Watch:
    """What was seen and said of one InferenceService."""

    def __init__(self, cluster: Cluster, namespace: str, name: str, digest: str) -> None:
        self._cluster, self._namespace, self._name, self._digest = cluster, namespace, name, digest
        self._said: set[str] = set()
        self._last: list[Trouble] = []

    @property
    def is_hopeless(self) -> bool:
        return any(each.hopeless for each in self._last)

    def look(self) -> Object | None:
        """The InferenceService when it serves; None while it does not."""
        try:
            live = read(self._cluster, self._namespace, self._name)
            if not live:
                raise PlatformError(
                    f"{self._where} was deleted while it was waited for", "See who did: its events, or the audit log."
                )
            if self._digest not in map(applied, [live["spec"]["predictor"], *canaries(live)]):
                raise PlatformError(
                    f"somebody else changed {self._where} while it was waited for", "Deploy again when they are done."
                )
            found = pods(self._cluster, self._namespace, self._name)
            if serves(live, self._digest, found):
                return live
            own = [pod for pod in found if digest_of(pod) == self._digest]
            self._tell(list(troubles(self._cluster, live, own)))
        except PlatformError as error:
            refused = http_status(error) in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
            if refused or not error.__cause__:  # our own words above, or no right to look
                raise
            self._tell([Trouble(error.problem, error.fix, hopeless=True)])  # the API is away for a moment, or for good
        return None

    def failure(self, what: str) -> PlatformError:
        """The error of an InferenceService that is not ready, the telling reasons first."""
        telling = sorted(self._last, key=lambda each: not each.hopeless)
        reasons = "; ".join(dict.fromkeys(each.text for each in telling[:4])) or "nothing says why"
        more = telling[0].more if telling else f"kubectl describe isvc {self._name} -n {self._namespace}"
        return PlatformError(f"{self._where} {what}: {reasons}", f"More: {more}")

    def _tell(self, now: list[Trouble]) -> None:
        self._last = now
        for each in now:
            if each.text not in self._said:
                say(each.text, "warning" if each.hopeless else "info")
                self._said.add(each.text)

    @property
    def _where(self) -> str:
        return f"the inference service {self._namespace}/{self._name}"
