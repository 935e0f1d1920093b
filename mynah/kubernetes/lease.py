"""A lock that holds across machines: a Lease of Kubernetes, taken and renewed as client-go's leader election does it.

https://pkg.go.dev/k8s.io/client-go/tools/leaderelection and https://kubernetes.io/docs/concepts/architecture/leases/

A process that dies keeps the lock until its Lease has run out. Whoever waits sees that by its own clock alone: the record must
stay as it is for the whole duration. Whoever holds needs no clock: each write is on condition of the resourceVersion of the one
before, so that a write that succeeds proves that nobody else had the lock in between.

It needs this rule in a Role of the Lease's namespace:

    {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [get, create, update]}
"""

import contextlib
import random
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from http import HTTPStatus

from components.cluster import SERVICE_ACCOUNT, Cluster, Object, Resource, http_status
from components.errors import InputError, PlatformError
from components.locks import StillHeld, held_too_long

LEASES = Resource("coordination.k8s.io", "v1", "leases", ("get", "create", "update"))
DURATION = 15  # seconds that a record holds after it was written; client-go's default
READ = 5.0  # seconds for an answer, so that a renewal that hangs leaves time for another
SECONDS_BETWEEN_TRIES = (0.2, 0.5)  # at random between these, so that those who wait do not all ask at once


@contextlib.contextmanager
def lease_lock(
    cluster: Cluster | None, namespace: str, name: str, holder: str, patience: float, duration: int = DURATION
) -> Iterator[StillHeld]:
    """Hold the Lease `name`; yields a check that raises PlatformError when it was lost, and renews it when it was not.

    namespace: "" for the pod's own. holder: for people; what tells two holders apart is added. duration: whole seconds.

    Raises InputError without a cluster or namespace, and PlatformError when another holds it for `patience` seconds (more than
    `duration`, or nobody can follow a holder that died), or the API fails.
    """
    if cluster is None:
        raise InputError(
            f"the lock {name} is a Lease of Kubernetes, and no cluster is named",
            "Run it in the cluster, name a context in MYNAH_KUBE_CONTEXT, or set MYNAH_LOCK=postgresql://… or MYNAH_LOCK=file:FOLDER.",
        )
    # Two containers of a pod have one host name, and each is its process 1.
    lease = _Lease(cluster, namespace or own_namespace(), name, f"{holder}_{uuid.uuid4()}", duration)
    lease.take(patience)
    ended = threading.Event()
    renewing = threading.Thread(target=lease.renew_until, args=(ended,), name=f"renew {name}", daemon=True)
    renewing.start()
    try:
        yield lease.still_held
    finally:
        ended.set()
        renewing.join()
        lease.give_back()


def own_namespace() -> str:
    """The namespace of the pod that this runs in. Raises InputError elsewhere."""
    try:
        return (SERVICE_ACCOUNT / "namespace").read_text(encoding="utf-8").strip()
    except OSError as error:
        raise InputError("nothing names the namespace of the lock's Lease", "Set MYNAH_LOCK=lease:NAMESPACE.") from error


class _Lease:
    """One Lease, and what this process knows of it."""

    def __init__(self, cluster: Cluster, namespace: str, name: str, identity: str, duration: int) -> None:
        self._cluster = cluster
        self._namespace, self._name = namespace, name
        self._identity = identity
        self._duration = duration
        self._last: Object = {}  # as the server has it since our last write
        self._lost = ""  # why it is ours no longer
        self._one_at_a_time = threading.Lock()  # the check and the renewing thread write the same record

    def take(self, patience: float) -> None:
        """Take the Lease when it is free. Raises PlatformError when it is not within `patience` seconds."""
        deadline = time.monotonic() + patience
        seen: tuple[object, ...] = ()
        seen_at = 0.0
        while True:
            found = self._read()
            record = _record(found)
            if record != seen:
                seen, seen_at = record, time.monotonic()
            # The other machine's clock may be wrong by hours: renewTime only tells that something changed, never when.
            is_free = not _holder(found) or time.monotonic() - seen_at >= self._holds_for(found)
            if is_free and self._took(found):
                return
            if time.monotonic() >= deadline:
                raise held_too_long(f"the Lease {self._namespace}/{self._name} (as {_holder(found) or 'nobody'})", patience)
            time.sleep(min(random.uniform(*SECONDS_BETWEEN_TRIES), max(0.0, deadline - time.monotonic())))

    def still_held(self) -> None:
        """Renew the Lease now: what follows has its whole duration. Raises PlatformError when it is lost, or cannot be renewed."""
        with self._one_at_a_time:
            self._write_ours(self._identity)

    def renew_until(self, ended: threading.Event) -> None:
        """Renew the Lease every third of its duration, sooner after a failure, until it is lost or `ended`."""
        pause = self._duration / 3
        while not ended.wait(pause):
            try:
                self.still_held()
                pause = self._duration / 3
            except PlatformError:  # told by the next check, which asks by itself
                if self._lost:
                    return
                pause = self._duration / 15

    def give_back(self) -> None:
        """Let others have it at once. When the API fails, they have it once it has run out, so that this is no error."""
        with self._one_at_a_time:
            with contextlib.suppress(PlatformError):
                self._write_ours("")
            self._lost = self._lost or "what held it has ended"

    def _read(self) -> Object | None:
        return self._ask("get", name=self._name)

    def _took(self, found: Object | None) -> bool:
        """Whether we, of all who saw it free, were the first to write."""
        spec = _spec(found)
        now = _now()
        taken = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": self._duration,
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": (spec.get("leaseTransitions") or 0) + 1 if found else 0,
        }
        try:
            if found:
                written = self._ask("replace", name=self._name, body={**found, "spec": {**spec, **taken}})
            else:
                about = {"name": self._name, "namespace": self._namespace}
                body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": about, "spec": taken}
                written = self._ask("create", body=body)
                if not written:
                    raise PlatformError(
                        f"the cluster has no namespace {self._namespace!r}", "Name one in MYNAH_LOCK=lease:NAMESPACE."
                    )
        except PlatformError as error:
            if http_status(error) != HTTPStatus.CONFLICT:
                raise
            return False
        self._last = written or {}
        return bool(written)  # False: deleted since we read it

    def _write_ours(self, holder: str) -> None:
        """Write our record again, on condition that it is ours still. Raises PlatformError when it is not."""
        for is_last in (False, True):
            if self._lost:
                raise self._loss()
            spec = {**_spec(self._last), "holderIdentity": holder, "renewTime": _now()}
            try:
                written = self._ask("replace", name=self._name, body={**self._last, "spec": spec})
            except PlatformError as error:
                if is_last or http_status(error) != HTTPStatus.CONFLICT:
                    raise
                written = None
            if written:
                self._last = written
                return
            # Changed since our last write: by another holder, by somebody's label, or by a write of ours whose answer got lost.
            self._look_again()
        raise self._loss()

    def _look_again(self) -> None:
        found = self._read()
        if found and _holder(found) == self._identity:
            self._last = found
        else:
            self._lost = f"{_holder(found) or 'nobody'} holds it now" if found else "somebody deleted it"

    def _loss(self) -> PlatformError:
        return PlatformError(
            f"the Lease {self._namespace}/{self._name} was lost: {self._lost}",
            "Another promotion may have run meanwhile: see `mynah bots`, and try again.",
        )

    def _holds_for(self, found: Object | None) -> float:
        """Seconds that the record in a Lease holds: what its holder wrote, whose duration may be another than ours."""
        seconds = _spec(found).get("leaseDurationSeconds")
        return seconds if isinstance(seconds, int) and seconds > 0 else self._duration

    def _ask(self, verb: str, **options: object) -> Object | None:
        # Not the client's own CoordinationV1Api: it would drop what it does not know of a newer Lease, and writes a time that falls
        # on a whole second without its microseconds, which the server refuses.
        return self._cluster.ask(LEASES, f"{verb}_namespaced_custom_object", READ, namespace=self._namespace, **options)


def _spec(found: Object | None) -> Object:
    return (found or {}).get("spec") or {}


def _holder(found: Object | None) -> str:
    return str(_spec(found).get("holderIdentity") or "")


def _record(found: Object | None) -> tuple[object, ...]:
    """What a renewal changes."""
    metadata = (found or {}).get("metadata") or {}
    return metadata.get("uid"), metadata.get("resourceVersion"), _holder(found), _spec(found).get("renewTime")


def _now() -> str:
    """As MicroTime wants it: UTC with all six digits of the microseconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
