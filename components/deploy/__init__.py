"""deploy: a version of a bot to a KServe InferenceService, asked for real before it counts, and put back when it does not serve.

One bot, one InferenceService; where the shared server (the aviary) follows aliases by itself, nothing needs to be deployed.
"""

import os
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Literal

from components.cluster import Cluster, Object
from components.deploy.canary import Plan, Watched, watch
from components.deploy.manifest import KNATIVE, Serving, applied, inference_service, ours, version_of, with_canary
from components.deploy.modes import canaries, mode_of, pods_prefix, require_split, service_of, usual_mode
from components.deploy.prometheus import Prometheus
from components.deploy.server_side import apply, delete, read, same
from components.deploy.smoke import door, smoke_test
from components.deploy.trouble import pods
from components.deploy.version import serving_of
from components.deploy.wait import Patience, serves, until_ready
from components.errors import InputError, MynahError, PlatformError
from components.events import say
from components.promote import actor
from components.registry import Registry
from components.store import Store, store_errors

Action = Literal["unchanged", "deployed", "canary", "promoted", "would deploy"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a version is deployed. Raises InputError for what makes no sense."""

    namespace: str = "mynah"
    percent: int = 0  # of the requests, for a canary; 0: all of them at once
    prometheus: str = ""  # its address: the canary goes on by itself, or is taken back
    plan: Plan = field(default_factory=Plan)
    patience: Patience = field(default_factory=Patience)
    address: str = ""  # where the smoke test asks; "" where the cluster is reached
    force_conflicts: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.percent <= 99:
            raise InputError(
                f"a canary of {self.percent} percent is none", "Give --canary 1 to 99; leave it out for all requests."
            )
        if self.prometheus and not self.percent:
            raise InputError("--prometheus is for a canary", "Add --canary PERCENT, or leave it out.")
        if self.address and not self.address.startswith(("http://", "https://")):
            raise InputError(
                f"{self.address[:80]!r} is no address", "Give --address http://HOST, {service} and {namespace} in it."
            )


@dataclass(frozen=True, slots=True)
class Deployed:
    """What was done."""

    name: str
    namespace: str
    version: int
    action: Action
    former: int = 0  # the version that served before; 0 for none, or none that is known
    url: str = ""
    said: str = ""  # what the bot answered to the smoke test
    live: Object | None = field(default=None, repr=False)  # before; what a dry run shows
    then: Object | None = field(default=None, repr=False)  # after


def deploy(serving: Serving, cluster: Cluster, wanted: Wanted, *, dry_run: bool = False) -> Deployed:
    """Make the InferenceService of a bot serve a version, wait until it does, and ask it.

    When it does not become ready or does not answer, what served before is put back (nothing, for the first), and the error says so.
    Twice does no harm. Raises as `apply`, `until_ready` and `smoke_test` do, and GateRefused for a canary that did not keep to its plan.
    """
    return _Deployment(serving, cluster, wanted).run(dry_run)


def record(done: Deployed, store: Store, forced: str = "") -> None:
    """Write on the version where it is deployed, by whom and why in spite of the gate. Raises PlatformError when the store fails."""
    said = f"{done.namespace}/{done.name} {done.action} by {actor()} {datetime.now(UTC).isoformat(timespec='seconds')}"
    with store_errors(store.tracking_uri):
        api = Registry(store).writer
        for key, value in {"mynah.deployed": said, "mynah.deployed_forced": forced[:1000]}.items():
            if value:
                api.set_model_version_tag(done.name, str(done.version), key, value)


class _Deployment:
    """One version on its way into one InferenceService."""

    def __init__(self, serving: Serving, cluster: Cluster, wanted: Wanted) -> None:
        self._serving, self._cluster, self._wanted = serving, cluster, wanted
        self._live = read(cluster, wanted.namespace, serving.name)
        self._former = ours(self._live) if self._live else None
        self._mode = (mode_of(self._live) if self._live else "") or usual_mode(cluster)

    def run(self, dry_run: bool) -> Deployed:
        percent = self._wanted.percent
        if percent:
            self._check_canary()
        manifest = self._split(percent) if percent else self._whole()
        then = apply(self._cluster, manifest, force=self._wanted.force_conflicts, dry_run=True)
        is_same = bool(self._live) and same(then, self._live or {})
        if dry_run:
            return self._done("unchanged" if is_same else "would deploy", then)
        if is_same and self._serves_already(then):
            return self._done("unchanged", then) if not self._wanted.prometheus else self._step_by_step()
        if not percent:
            return self._carry_out(manifest, "deployed")
        done = self._carry_out(manifest, "canary")
        return self._step_by_step() if self._wanted.prometheus else done

    def _whole(self) -> Object:
        """The manifest by which this version gets all requests."""
        live = self._live
        name = str(live["spec"]["predictor"].get("name", "")) if live else ""
        for made in canaries(live) if live else []:
            if version_of(made) == self._serving.version:  # its pods go on, and serve all
                name = str(made.get("name", ""))
        return inference_service(self._serving, self._wanted.namespace, self._mode, name)

    def _split(self, percent: int) -> Object:
        """The manifest by which this version gets `percent` of the requests, and what serves now the rest."""
        assert self._live
        predictor = self._live["spec"]["predictor"]
        if self._mode == KNATIVE:
            return inference_service(self._serving, self._wanted.namespace, KNATIVE, str(predictor.get("name", "")), percent)
        name = f"v{self._serving.version}"
        return with_canary(self._live, self._serving, name if predictor.get("name") != name else f"{name}b", percent)

    def _check_canary(self) -> None:
        """Raise InputError unless there is something for a canary to be measured against."""
        name, live = self._serving.name, self._live
        if not live:
            raise InputError(f"nothing serves {name} in {self._wanted.namespace} yet", "Deploy it without --canary first.")
        stable = live["spec"]["predictor"]
        if version_of(stable) == self._serving.version and stable.get("canaryTrafficPercent") is None:
            raise InputError(f"{name} serves version {self._serving.version} to all already", "Name another --version.")
        if self._wanted.prometheus:
            Prometheus(self._wanted.prometheus).check()
        require_split(self._cluster, live)

    def _serves_already(self, then: Object) -> bool:
        live = self._live or then
        digest = applied(self._made(then))
        return serves(live, digest, pods(self._cluster, self._wanted.namespace, self._serving.name))

    def _made(self, live: Object) -> Object:
        """The predictor of this version within a service."""
        for made in canaries(live):
            if version_of(made) == self._serving.version:
                return made
        return dict(live["spec"]["predictor"])

    def _carry_out(self, manifest: Object, action: Action) -> Deployed:
        """Apply, wait and ask; when that fails, put back what was before."""
        digest = applied(self._made(manifest))
        say(f"applying version {self._serving.version} to {self._wanted.namespace}/{self._serving.name}")
        apply(self._cluster, manifest, force=self._wanted.force_conflicts)
        try:
            live = self._ready(digest)
            service, key = service_of(live, self._made(live)), os.environ.get("MYNAH_API_KEY", "")
            there = door(self._cluster, self._wanted.namespace, service, self._wanted.address, key)
            said = smoke_test(there, self._serving, self._wanted.patience.answer, self._wanted.patience.poll)
        except MynahError as error:
            raise type(error)(f"{error.problem}\n{self._put_back(digest)}", error.fix) from error
        except KeyboardInterrupt:
            say(self._put_back(digest, wait=False), "warning")
            raise
        return replace(self._done(action, live), said=said)

    def _step_by_step(self) -> Deployed:
        """Watch the canary, give it more, and at last all; or take it back."""
        prometheus, plan, poll = Prometheus(self._wanted.prometheus), self._wanted.plan, self._wanted.patience.poll
        digest = ""
        try:
            for percent in [each for each in plan.steps if self._wanted.percent <= each < 100]:
                manifest = self._split(percent)
                digest = applied(self._made(manifest))
                apply(self._cluster, manifest, force=self._wanted.force_conflicts)
                live = self._ready(digest)
                made = self._made(live)
                say(f"version {self._serving.version} gets {percent} % of the requests, and is watched for {plan.seconds:g} s")
                stable = {**live["spec"]["predictor"], "canaryTrafficPercent": None}
                watched = Watched(self._wanted.namespace, pods_prefix(live, made), pods_prefix(live, stable))
                watch(prometheus, plan, watched, poll)
        except MynahError as error:
            raise type(error)(f"{error.problem}\n{self._put_back(digest, from_canary=True)}", error.fix) from error
        except KeyboardInterrupt:
            say(self._put_back(digest, from_canary=True, wait=False), "warning")
            raise
        former, self._live = self._former, read(self._cluster, self._wanted.namespace, self._serving.name)
        done = self._carry_out(self._whole(), "promoted")
        return replace(done, former=version_of(former["spec"]["predictor"]) if former else 0)

    def _ready(self, digest: str) -> Object:
        return until_ready(self._cluster, self._wanted.namespace, self._serving.name, digest, self._wanted.patience)

    def _put_back(self, digest: str, *, from_canary: bool = False, wait: bool = True) -> str:
        """Put back what served before, and tell what was done; never what somebody else changed meanwhile."""
        where = f"{self._wanted.namespace}/{self._serving.name}"
        try:
            live = read(self._cluster, self._wanted.namespace, self._serving.name)
            if not live or digest not in map(applied, [live["spec"]["predictor"], *canaries(live)]):
                return f"{where} was changed by somebody else, and is left as it is"
            if not self._former:
                delete(self._cluster, self._wanted.namespace, self._serving.name)
                return f"Nothing served it before: {where} was deleted again"
            return self._restore(self._former, live, from_canary, wait)
        except PlatformError as error:
            return f"{where} could not be put back: {error.problem}"

    def _restore(self, former: Object, live: Object, from_canary: bool, wait: bool) -> str:
        before = former["spec"]["predictor"]
        if from_canary and mode_of(live) == KNATIVE:
            # Without the 0, all requests would go to the canary until the revision that is made anew is ready.
            pinned = {**former, "spec": {**former["spec"], "predictor": {**before, "canaryTrafficPercent": 0}}}
            apply(self._cluster, pinned, force=self._wanted.force_conflicts)
            self._ready(applied(before))
        apply(self._cluster, former, force=self._wanted.force_conflicts)
        told = f"version {version_of(before)}" if version_of(before) else "what it served before"
        if wait:
            self._ready(applied(before))
            return f"Rolled back: {former['metadata']['namespace']}/{former['metadata']['name']} serves {told} again"
        return f"Rolled back to {told}"

    def _done(self, action: Action, then: Object) -> Deployed:
        former = version_of(self._live["spec"]["predictor"]) if self._live else 0
        url = str((then.get("status") or {}).get("url", ""))
        return Deployed(
            self._serving.name, self._wanted.namespace, self._serving.version, action, former, url, "", self._live, then
        )


__all__ = ["Deployed", "Patience", "Plan", "Serving", "Wanted", "deploy", "record", "serving_of"]
