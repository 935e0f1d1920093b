"""deploy: deploy a version of a bot to a KServe InferenceService, test it with a real request, and revert it when it does not serve.

One bot, one InferenceService. Where the shared server (the aviary) follows aliases by itself, nothing needs to be deployed.
"""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Literal

from components.deploy.address import service_url
from components.deploy.canary import Plan, Watched, watch
from components.deploy.diagnostics import pods
from components.deploy.disruption import apply_budget
from components.deploy.kserve_failures import STOP, Before, is_stopped, reported_before, resume
from components.deploy.kserve_modes import canaries, default_mode, mode_of, pods_prefix, require_split, service_of
from components.deploy.manifest import (
    KNATIVE,
    Serving,
    applied,
    has_storage_uris,
    inference_service,
    ours,
    version_of,
    with_canary,
)
from components.deploy.prometheus import Prometheus
from components.deploy.readiness import WaitLimits, serves, until_ready
from components.deploy.scaling import Scaling, scaling_in_knative_mode, scaling_in_standard_mode
from components.deploy.server_side_apply import apply, delete, is_same, read
from components.deploy.service_name import require_name_fits
from components.deploy.serving_runtime import require_runtime
from components.deploy.settings import DeploySettings
from components.deploy.smoke import bot_endpoint, smoke_test
from components.deploy.version_to_deploy import serving_of
from mynah.core.errors import InputError, MynahError, PlatformError
from mynah.core.progress import notify
from mynah.core.settings import MYNAH_API_KEY
from mynah.kubernetes.cluster import Cluster, Object
from mynah.mlflow_client.client import store_errors
from mynah.mlflow_client.store import Store
from mynah.registry.actor import actor
from mynah.registry.registry import Registry

Action = Literal["unchanged", "deployed", "canary", "promoted", "would deploy"]


@dataclass(frozen=True, slots=True)
class Deployed:
    """The result of a deployment."""

    name: str
    namespace: str
    version: int
    action: Action
    former: int = 0  # the version that served before; 0 for none or unknown
    url: str = ""  # as KServe reports it, also where no gateway makes it true
    service_url: str = ""  # within the cluster
    answer: str = ""  # the bot's response to the smoke test
    live: Object | None = field(default=None, repr=False)  # before; shown by a dry run
    then: Object | None = field(default=None, repr=False)  # after


def deploy(serving: Serving, cluster: Cluster, settings: DeploySettings, *, dry_run: bool = False) -> Deployed:
    """Make the InferenceService of a bot serve a version, wait until it does, and test it.

    When it does not become ready or does not respond, the previous state is restored, and the error says so. Repeating it is harmless.

    Args:
        serving: The version.
        cluster: The cluster.
        settings: How to deploy it.
        dry_run: Only validate, and return what would change.

    Returns:
        The result.

    Raises:
        InputError, PlatformError: As `apply`, `until_ready` and `smoke_test` do.
        GateRefused: A canary exceeded its limits.
    """
    require_name_fits(serving.name, settings.namespace)
    done = _Deployment(serving, cluster, settings).run(dry_run)
    if not dry_run and done.then:
        apply_budget(cluster, done.then)
    return done


def record(done: Deployed, store: Store, forced: str = "") -> None:
    """Tag a version with its deployment and the actor.

    Args:
        done: The deployment.
        store: The tracking store.
        forced: The reason for deploying it against the gate; "" for none.

    Raises:
        PlatformError: The store fails.
    """
    entry = f"{done.namespace}/{done.name} {done.action} by {actor()} {datetime.now(UTC).isoformat(timespec='seconds')}"
    with store_errors(store.tracking_uri):
        api = Registry(store).writer
        for key, value in {"mynah.deployed": entry, "mynah.deployed_forced": forced[:1000]}.items():
            if value:
                api.set_model_version_tag(done.name, str(done.version), key, value)


class _Deployment:
    """Deploys one version to one InferenceService."""

    def __init__(self, serving: Serving, cluster: Cluster, settings: DeploySettings) -> None:
        self._serving, self._cluster, self._settings = serving, cluster, settings
        self._live = read(cluster, settings.namespace, serving.name)
        self._former = ours(self._live) if self._live else None
        self._mode = (mode_of(self._live) if self._live else "") or default_mode(cluster)

    def run(self, dry_run: bool) -> Deployed:
        """Deploy, or with `dry_run` only validate."""
        percent = self._settings.percent
        if self._live and is_stopped(self._live):
            where = f"{self._settings.namespace}/{self._serving.name}"
            raise PlatformError(f"{where} is stopped by its annotation {STOP}", resume(self._live))
        if percent:
            self._check_canary()
        manifest = self._split(percent) if percent else self._whole()
        then = apply(self._cluster, manifest, force=self._settings.force_conflicts, dry_run=True)
        require_runtime(self._cluster, self._settings.namespace)
        is_unchanged = bool(self._live) and is_same(then, self._live or {})
        if dry_run:
            return self._done("unchanged" if is_unchanged else "would deploy", then)
        if is_unchanged and self._serves_already(then):
            return self._done("unchanged", then) if not self._settings.prometheus else self._step_by_step()
        if not percent:
            return self._apply(manifest, "deployed")
        done = self._apply(manifest, "canary")
        return self._step_by_step() if self._settings.prometheus else done

    def _whole(self) -> Object:
        """Return the manifest with which this version gets all requests."""
        live = self._live
        name = str(live["spec"]["predictor"].get("name", "")) if live else ""
        for predictor in canaries(live) if live else []:
            if version_of(predictor) == self._serving.version and not self._keeps_name(predictor):
                name = str(predictor.get("name", ""))  # its pods keep running, and serve all
        return inference_service(self._serving, self._settings.namespace, self._mode, name, scaling=self._scaling())

    def _scaling(self) -> Scaling:
        replicas = self._settings.replicas
        if self._mode == KNATIVE:
            return scaling_in_knative_mode(self._live, replicas)
        return scaling_in_standard_mode(self._cluster, self._serving.name, self._live, replicas)

    def _keeps_name(self, canary: Object) -> bool:
        """Return whether the predictor cannot take a canary's name: KServe sees no change of the model where both have storageUris."""
        return bool(self._live) and has_storage_uris(canary) and has_storage_uris((self._live or {})["spec"]["predictor"])

    def _split(self, percent: int) -> Object:
        """Return the manifest with which this version gets `percent` of the requests, and the current one the rest."""
        assert self._live
        predictor = self._live["spec"]["predictor"]
        if self._mode == KNATIVE:
            name, scaling = str(predictor.get("name", "")), self._scaling()
            return inference_service(self._serving, self._settings.namespace, KNATIVE, name, percent, scaling)
        name = f"v{self._serving.version}"
        return with_canary(self._live, self._serving, name if predictor.get("name") != name else f"{name}b", percent)

    def _check_canary(self) -> None:
        """Raise InputError unless there is a stable version to compare a canary with."""
        name, live = self._serving.name, self._live
        if not live:
            raise InputError(f"nothing serves {name} in {self._settings.namespace} yet", "Deploy it without --canary first.")
        stable = live["spec"]["predictor"]
        if version_of(stable) == self._serving.version and stable.get("canaryTrafficPercent") is None:
            raise InputError(f"{name} serves version {self._serving.version} to all already", "Name another --version.")
        if self._settings.prometheus:
            Prometheus(self._settings.prometheus).check()
        require_split(self._cluster, live)

    def _serves_already(self, then: Object) -> bool:
        live = self._live or then
        digest = applied(self._own_predictor(then))
        return serves(live, digest, pods(self._cluster, self._settings.namespace, self._serving.name))

    def _own_predictor(self, live: Object) -> Object:
        """Return the predictor of this version within a service."""
        for predictor in canaries(live):
            if version_of(predictor) == self._serving.version:
                return predictor
        return dict(live["spec"]["predictor"])

    def _apply(self, manifest: Object, action: Action) -> Deployed:
        """Apply, wait and test; revert when that fails."""
        digest = applied(self._own_predictor(manifest))
        notify(f"applying version {self._serving.version} to {self._settings.namespace}/{self._serving.name}")
        before = self._change(manifest)
        try:
            live = self._ready(digest, before)
            service, key = service_of(live, self._own_predictor(live)), MYNAH_API_KEY.get()
            endpoint = bot_endpoint(self._cluster, self._settings.namespace, service, self._settings.address, key)
            answer = smoke_test(endpoint, self._serving, self._settings.wait_limits.answer, self._settings.wait_limits.poll)
        except MynahError as error:
            raise type(error)(f"{error.problem}\n{self._revert(digest)}", error.fix) from error
        except KeyboardInterrupt:
            notify(self._revert(digest, wait=False), "warning")
            raise
        return replace(self._done(action, live), answer=answer)

    def _step_by_step(self) -> Deployed:
        """Watch the canary, increase its share, and finally promote it; or revert it."""
        prometheus, plan, poll = Prometheus(self._settings.prometheus), self._settings.plan, self._settings.wait_limits.poll
        digest = ""
        try:
            for percent in [step for step in plan.steps if self._settings.percent <= step < 100]:
                manifest = self._split(percent)
                digest = applied(self._own_predictor(manifest))
                live = self._ready(digest, self._change(manifest))
                predictor = self._own_predictor(live)
                notify(f"version {self._serving.version} gets {percent} % of the requests, and is watched for {plan.seconds:g} s")
                stable = {**live["spec"]["predictor"], "canaryTrafficPercent": None}
                watched = Watched(self._settings.namespace, pods_prefix(live, predictor), pods_prefix(live, stable))
                watch(prometheus, plan, watched, poll)
        except MynahError as error:
            raise type(error)(f"{error.problem}\n{self._revert(digest, from_canary=True)}", error.fix) from error
        except KeyboardInterrupt:
            notify(self._revert(digest, from_canary=True, wait=False), "warning")
            raise
        former, self._live = self._former, read(self._cluster, self._settings.namespace, self._serving.name)
        done = self._apply(self._whole(), "promoted")
        return replace(done, former=version_of(former["spec"]["predictor"]) if former else 0)

    def _change(self, manifest: Object) -> Before:
        """Apply a manifest, and return what KServe had reported before."""
        namespace, name = self._settings.namespace, self._serving.name
        before = reported_before(self._cluster, namespace, name, read(self._cluster, namespace, name))
        apply(self._cluster, manifest, force=self._settings.force_conflicts)
        return before

    def _ready(self, digest: str, before: Before) -> Object:
        namespace, limits = self._settings.namespace, self._settings.wait_limits
        return until_ready(self._cluster, namespace, self._serving.name, digest, limits, before)

    def _revert(self, digest: str, *, from_canary: bool = False, wait: bool = True) -> str:
        """Restore what served before, and return what was done; never overwrites other changes."""
        where = f"{self._settings.namespace}/{self._serving.name}"
        try:
            live = read(self._cluster, self._settings.namespace, self._serving.name)
            if not live or digest not in map(applied, [live["spec"]["predictor"], *canaries(live)]):
                return f"{where} was changed by somebody else, and is left as it is"
            if not self._former:
                delete(self._cluster, self._settings.namespace, self._serving.name)
                return f"Nothing served it before: {where} was deleted again"
            return self._restore(self._former, live, from_canary, wait)
        except PlatformError as error:
            return f"{where} could not be restored: {error.problem}"

    def _restore(self, former: Object, live: Object, from_canary: bool, wait: bool) -> str:
        before = former["spec"]["predictor"]
        if from_canary and mode_of(live) == KNATIVE:
            # Without the 0, all requests would go to the canary until the recreated revision is ready.
            pinned = {**former, "spec": {**former["spec"], "predictor": {**before, "canaryTrafficPercent": 0}}}
            self._ready(applied(before), self._change(pinned))
        reported = self._change(former)
        what = f"version {version_of(before)}" if version_of(before) else "what it served before"
        if wait:
            self._ready(applied(before), reported)
            return f"Rolled back: {former['metadata']['namespace']}/{former['metadata']['name']} serves {what} again"
        return f"Rolled back to {what}"

    def _done(self, action: Action, then: Object) -> Deployed:
        former = version_of(self._live["spec"]["predictor"]) if self._live else 0
        url = str((then.get("status") or {}).get("url", ""))
        service = service_url(then, self._own_predictor(then)) if action != "would deploy" else ""
        name, namespace = self._serving.name, self._settings.namespace
        return Deployed(name, namespace, self._serving.version, action, former, url, service, "", self._live, then)


__all__ = ["DeploySettings", "Deployed", "Plan", "Serving", "WaitLimits", "deploy", "record", "serving_of"]
