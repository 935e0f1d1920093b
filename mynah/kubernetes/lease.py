"""A lock across machines: a Kubernetes Lease, taken and renewed like client-go's leader election.

https://pkg.go.dev/k8s.io/client-go/tools/leaderelection and https://kubernetes.io/docs/concepts/architecture/leases/

A process that dies keeps the lock until its Lease expires. A waiting process detects that by its own clock alone: the record must stay
unchanged for the whole duration. The holder needs no clock: each write is conditional on the resourceVersion of the previous one, so a
successful write proves that nobody else had the lock in between.

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

from mynah.core.errors import InputError, PlatformError
from mynah.core.lock_types import StillHeld, held_too_long
from mynah.kubernetes.cluster import SERVICE_ACCOUNT, Cluster, Object, Resource
from mynah.kubernetes.errors import http_status

LEASES = Resource("coordination.k8s.io", "v1", "leases", ("get", "create", "update"))
DURATION = 15  # seconds that a record is valid after each write; client-go's default
READ = 5.0  # seconds per response, so that a hanging renewal leaves time for another
SECONDS_BETWEEN_TRIES = (0.2, 0.5)  # random within this range, so that waiting processes do not poll in step


@contextlib.contextmanager
def lease_lock(
    cluster: Cluster | None, namespace: str, name: str, holder: str, timeout: float, duration: int = DURATION
) -> Iterator[StillHeld]:
    """Hold a Lease.

    Args:
        cluster: The cluster of the Lease.
        namespace: Its namespace; "" for the pod's own.
        name: Its name.
        holder: This process, for people; a unique suffix is added.
        timeout: Seconds to wait for another holder; more than `duration`, or a dead holder blocks everyone.
        duration: Seconds that the Lease is valid without renewal.

    Yields:
        A function that renews the Lease, and raises PlatformError when it was lost.

    Raises:
        InputError: No cluster or namespace is named.
        PlatformError: Another process holds the Lease for `timeout` seconds, or the API fails.
    """
    if cluster is None:
        raise InputError(
            f"the lock {name} is a Lease of Kubernetes, and no cluster is named",
            "Run it in the cluster, name a context in MYNAH_KUBE_CONTEXT, or set MYNAH_LOCK=postgresql://… or MYNAH_LOCK=file:FOLDER.",
        )
    # Containers of a pod share a host name, and each runs as process 1.
    lease = _Lease(cluster, namespace or own_namespace(), name, f"{holder}_{uuid.uuid4()}", duration)
    lease.take(timeout)
    ended = threading.Event()
    renewing = threading.Thread(target=lease.renew_until, args=(ended,), name=f"renew {name}", daemon=True)
    renewing.start()
    try:
        yield lease.still_held
    finally:
        ended.set()
        renewing.join()
        lease.release()


def own_namespace() -> str:
    """Return the namespace of this pod. Raises InputError outside a pod."""
    try:
        return (SERVICE_ACCOUNT / "namespace").read_text(encoding="utf-8").strip()
    except OSError as error:
        raise InputError("nothing names the namespace of the lock's Lease", "Set MYNAH_LOCK=lease:NAMESPACE.") from error


class _Lease:
    """A Lease, and its state as this process last read it."""

    def __init__(self, cluster: Cluster, namespace: str, name: str, identity: str, duration: int) -> None:
        self._cluster = cluster
        self._namespace, self._name = namespace, name
        self._identity = identity
        self._duration = duration
        self._last: Object = {}  # as returned by our last write
        self._lost = ""  # why we no longer hold it
        self._one_at_a_time = threading.Lock()  # the check and the renewal thread write the same record

    def take(self, timeout: float) -> None:
        """Take the Lease once it is free. Raises PlatformError when that takes more than `timeout` seconds."""
        deadline = time.monotonic() + timeout
        last_record: tuple[object, ...] = ()
        changed_at = 0.0
        while True:
            lease = self._read()
            record = _record(lease)
            if record != last_record:
                last_record, changed_at = record, time.monotonic()
            # The holder's clock may be wrong by hours: renewTime shows only that something changed, never when.
            is_free = not _holder(lease) or time.monotonic() - changed_at >= self._valid_for(lease)
            if is_free and self._try_write(lease):
                return
            if time.monotonic() >= deadline:
                raise held_too_long(f"the Lease {self._namespace}/{self._name} (as {_holder(lease) or 'nobody'})", timeout)
            time.sleep(min(random.uniform(*SECONDS_BETWEEN_TRIES), max(0.0, deadline - time.monotonic())))

    def still_held(self) -> None:
        """Renew the Lease, which is then valid for its whole duration. Raises PlatformError when it is lost or cannot be renewed."""
        with self._one_at_a_time:
            self._write_ours(self._identity)

    def renew_until(self, ended: threading.Event) -> None:
        """Renew the Lease every third of its duration, sooner after a failure, until it is lost or `ended` is set."""
        pause = self._duration / 3
        while not ended.wait(pause):
            try:
                self.still_held()
                pause = self._duration / 3
            except PlatformError:  # reported by the next check
                if self._lost:
                    return
                pause = self._duration / 15

    def release(self) -> None:
        """Release the Lease immediately. An API failure is no error: the Lease then expires."""
        with self._one_at_a_time:
            with contextlib.suppress(PlatformError):
                self._write_ours("")
            self._lost = self._lost or "its holder has ended"

    def _read(self) -> Object | None:
        return self._call("get", name=self._name)

    def _try_write(self, lease: Object | None) -> bool:
        """Write our record, and return whether we were the first of all who saw the Lease free."""
        spec = _spec(lease)
        now = _now()
        ours = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": self._duration,
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": (spec.get("leaseTransitions") or 0) + 1 if lease else 0,
        }
        try:
            if lease:
                written = self._call("replace", name=self._name, body={**lease, "spec": {**spec, **ours}})
            else:
                about = {"name": self._name, "namespace": self._namespace}
                body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": about, "spec": ours}
                written = self._call("create", body=body)
                if not written:
                    raise PlatformError(
                        f"the cluster has no namespace {self._namespace!r}", "Name one in MYNAH_LOCK=lease:NAMESPACE."
                    )
        except PlatformError as error:
            if http_status(error) != HTTPStatus.CONFLICT:
                raise
            return False
        self._last = written or {}
        return bool(written)  # False: deleted since it was read

    def _write_ours(self, holder: str) -> None:
        """Write our record again, on condition that we still hold the Lease. Raises PlatformError when we do not."""
        for is_last in (False, True):
            if self._lost:
                raise self._loss()
            spec = {**_spec(self._last), "holderIdentity": holder, "renewTime": _now()}
            try:
                written = self._call("replace", name=self._name, body={**self._last, "spec": spec})
            except PlatformError as error:
                if is_last or http_status(error) != HTTPStatus.CONFLICT:
                    raise
                written = None
            if written:
                self._last = written
                return
            # Changed since our last write: by another holder, by a label, or by a write of ours whose response was lost.
            self._reread()
        raise self._loss()

    def _reread(self) -> None:
        lease = self._read()
        if lease and _holder(lease) == self._identity:
            self._last = lease
        else:
            self._lost = f"{_holder(lease) or 'nobody'} holds it now" if lease else "somebody deleted it"

    def _loss(self) -> PlatformError:
        return PlatformError(
            f"the Lease {self._namespace}/{self._name} was lost: {self._lost}",
            "Another promotion may have run meanwhile: see `mynah bots`, and try again.",
        )

    def _valid_for(self, lease: Object | None) -> float:
        """Return the seconds that the record is valid: as its holder wrote, which may differ from our duration."""
        seconds = _spec(lease).get("leaseDurationSeconds")
        return seconds if isinstance(seconds, int) and seconds > 0 else self._duration

    def _call(self, verb: str, **options: object) -> Object | None:
        # Not the client's CoordinationV1Api: it drops unknown fields of a newer Lease, and writes a time on a whole
        # second without microseconds, which the server rejects.
        return self._cluster.call_custom_objects(
            LEASES, f"{verb}_namespaced_custom_object", READ, namespace=self._namespace, **options
        )


def _spec(lease: Object | None) -> Object:
    return (lease or {}).get("spec") or {}


def _holder(lease: Object | None) -> str:
    return str(_spec(lease).get("holderIdentity") or "")


def _record(lease: Object | None) -> tuple[object, ...]:
    """Return the fields that a renewal changes."""
    metadata = (lease or {}).get("metadata") or {}
    return metadata.get("uid"), metadata.get("resourceVersion"), _holder(lease), _spec(lease).get("renewTime")


def _now() -> str:
    """Return the current time as MicroTime: UTC with six digits of microseconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
