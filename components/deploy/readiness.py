"""Wait until an InferenceService serves what was applied, and report what prevents it meanwhile."""

import time
from dataclasses import dataclass
from http import HTTPStatus

from components.deploy.diagnostics import Diagnosis, diagnose, digest_of, is_ready, pods
from components.deploy.kserve_failures import Before, final_failures, with_repetitions
from components.deploy.kserve_modes import canaries, mode_of
from components.deploy.manifest import KNATIVE, applied
from components.deploy.server_side_apply import read
from mynah.core.errors import NAME_OF_TYPE, InputError, PlatformError
from mynah.core.progress import notify
from mynah.kubernetes.cluster import Cluster, Object
from mynah.kubernetes.errors import http_status

LOOKS_TO_SETTLE = 2  # within which KServe has seen what was applied
REVISION_LABEL = "serving.knative.dev/revision"


@dataclass(frozen=True, slots=True)
class WaitLimits:
    """Time limits of a deployment in seconds."""

    timeout: float = 600.0  # until it is ready
    poll: float = 2.0  # between two checks
    trouble: float = 30.0  # how long a permanent failure may last before giving up
    answer: float = 30.0  # for the smoke test: a Service may take a moment to route to new pods

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("timeout", self.timeout, 0, 86_400),
            ("poll", self.poll, 0.01, 60),
            ("trouble", self.trouble, 0, 3600),
            ("answer", self.answer, 0, 3600),
        ):
            if not isinstance(value, int | float) or not low <= value <= high:
                raise InputError(
                    f"{name} is {str(value)[:40]!r}, and must be {NAME_OF_TYPE[float]} from {low:g} to {high:g}",
                    f"Change {name}.",
                )


def until_ready(cluster: Cluster, namespace: str, name: str, digest: str, limits: WaitLimits, before: Before) -> Object:
    """Wait for pods of a predictor to serve.

    KServe does not report the generation of its status, and Ready stays true during a rolling update: a ready pod of this very predictor is
    the proof.

    Args:
        cluster: The cluster.
        namespace: The namespace.
        name: The InferenceService.
        digest: The predictor's digest.
        limits: Time limits.
        before: What KServe had reported before the predictor was applied.

    Returns:
        The InferenceService.

    Raises:
        PlatformError: It takes too long, a failure is permanent, or somebody changed or deleted it; the message has every reason.
    """
    watcher = _ReadinessWatcher(cluster, namespace, name, digest, before)
    deadline = time.monotonic() + limits.timeout
    failing_since = 0.0
    while True:
        live = watcher.check()
        if live:
            return live
        if watcher.has_given_up:
            raise watcher.failure("cannot become ready")
        now = time.monotonic()
        failing_since = (failing_since or now) if watcher.is_failing else 0.0
        if failing_since and now - failing_since >= limits.trouble:
            raise watcher.failure("cannot become ready")
        if now >= deadline:
            raise watcher.failure(f"did not become ready within {limits.timeout:g} s")
        time.sleep(limits.poll)


def serves(live: Object, digest: str, own_pods: list[Object]) -> bool:
    """Check whether an InferenceService serves a predictor.

    Args:
        live: The InferenceService.
        digest: The predictor's digest.
        own_pods: The pods of the InferenceService.

    Returns:
        Whether it is ready, and a ready pod was created from that predictor.
    """
    status = live.get("status") or {}
    if not any(condition["type"] == "Ready" and condition["status"] == "True" for condition in status.get("conditions") or []):
        return False
    ready = [pod for pod in own_pods if digest_of(pod) == digest and is_ready(pod)]
    if mode_of(live) == KNATIVE:
        # Pods of earlier revisions linger without requests, and may have been created from the same predictor.
        revisions = (status.get("components") or {}).get("predictor") or {}
        latest = revisions.get("latestReadyRevision")
        is_latest = [pod["metadata"].get("labels", {}).get(REVISION_LABEL) == latest for pod in ready]
        return bool(latest) and latest == revisions.get("latestCreatedRevision") and any(is_latest)
    if not ready:
        return False
    if digest in map(applied, canaries(live)):
        return all(canary.get("ready") for canary in status.get("canaryStatuses") or [{}])
    return bool(canaries(live)) or all(digest_of(pod) == digest for pod in own_pods)


class _ReadinessWatcher:
    """Watches one InferenceService, and reports each reason once."""

    def __init__(self, cluster: Cluster, namespace: str, name: str, digest: str, before: Before) -> None:
        self._cluster, self._namespace, self._name, self._digest, self._before = cluster, namespace, name, digest, before
        self._looks = 0
        self._reported: set[str] = set()
        self._last: list[Diagnosis] = []

    @property
    def is_failing(self) -> bool:
        return any(diagnosis.permanent for diagnosis in self._last)

    @property
    def has_given_up(self) -> bool:
        """Whether KServe said that it cannot do what was applied."""
        return any(diagnosis.final for diagnosis in self._last)

    def check(self) -> Object | None:
        """Return the InferenceService when it serves; None while it does not."""
        try:
            live = read(self._cluster, self._namespace, self._name)
            if not live:
                raise PlatformError(
                    f"{self._where} was deleted while mynah waited for it", "The audit log of the cluster shows who deleted it."
                )
            if self._digest not in map(applied, [live["spec"]["predictor"], *canaries(live)]):
                raise PlatformError(
                    f"somebody else changed {self._where} while mynah waited for it", "Deploy again when they are done."
                )
            all_pods = pods(self._cluster, self._namespace, self._name)
            if serves(live, self._digest, all_pods):
                return live
            if self._looks < LOOKS_TO_SETTLE and self._before.events:
                self._before = with_repetitions(self._before, self._cluster, self._namespace, self._name)
            self._looks += 1
            own = [pod for pod in all_pods if digest_of(pod) == self._digest]
            self._report([*final_failures(self._cluster, live, self._before), *diagnose(self._cluster, live, own)])
        except PlatformError as error:
            denied = http_status(error) in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
            if denied or not error.__cause__:  # our own errors above, or no permission
                raise
            self._report([Diagnosis(error.problem, error.fix, permanent=True)])  # the API may be unreachable only for a moment
        return None

    def failure(self, what: str) -> PlatformError:
        """Create the error for an InferenceService that is not ready, with final and permanent reasons first."""
        diagnoses = sorted(self._last, key=lambda diagnosis: (not diagnosis.final, not diagnosis.permanent))
        reasons = "; ".join(dict.fromkeys(diagnosis.text for diagnosis in diagnoses[:4])) or "no reason is known"
        more = diagnoses[0].more if diagnoses else f"kubectl describe isvc {self._name} -n {self._namespace}"
        fix = diagnoses[0].fix if diagnoses else ""
        return PlatformError(f"{self._where} {what}: {reasons}", fix or f"More: {more}")

    def _report(self, now: list[Diagnosis]) -> None:
        self._last = now
        for diagnosis in now:
            if diagnosis.text not in self._reported:
                notify(diagnosis.text, "warning" if diagnosis.permanent else "info")
                self._reported.add(diagnosis.text)

    @property
    def _where(self) -> str:
        return f"the inference service {self._namespace}/{self._name}"
