"""The list of all checks of a rendering."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from scripts.manifests import kserve, network, pods, queues, references, schemas, selectors, signals
from scripts.manifests.objects import Fault, Manifests

Check = Callable[[Manifests], Iterator[Fault]]

CHECKS: tuple[Check, ...] = (
    schemas.fits_its_schema,  # first: the others assume that objects fit their schemas
    kserve.kserve_accepts_names,
    kserve.kserve_finds_one_server,
    kserve.kserve_can_download,
    kserve.kserve_finds_the_runtime,
    kserve.kserve_can_scale,
    kserve.kserve_can_split,
    kserve.kserve_accepts_the_environment,
    kserve.kserve_leaves_batching_to_us,
    pods.images_are_pinned,
    pods.resources_are_set,
    pods.pods_are_restricted,
    pods.tokens_stay_out,
    pods.servers_are_probed,
    pods.servers_drain_in_time,
    pods.servers_spread,
    pods.everything_fits_the_quota,
    references.accounts_exist,
    references.settings_exist,
    references.secrets_exist_or_are_documented,
    references.priorities_exist,
    references.roles_exist,
    references.rights_are_least,
    references.rights_suffice,
    selectors.workloads_select_their_own,
    selectors.services_lead_to_pods,
    selectors.budgets_protect_pods,
    selectors.routes_lead_to_servers,
    selectors.scalers_scale_something,
    selectors.monitors_find_pods,
    selectors.namespaces_are_restricted,
    selectors.mlflow_answers_its_names,
    queues.queues_lead_to_quota,
    network.policies_mean_something,
    network.ways_are_open_or_closed,
    signals.metrics_are_exported,
    signals.silence_is_heard,
    signals.alerts_have_runbooks,
)


def faults_of(manifests: Manifests) -> list[Fault]:
    """Return the faults of a rendering; only those of the schemas, if there are any."""
    schema, *others = CHECKS
    return _faults(manifests, [schema]) or _faults(manifests, others)


def _faults(manifests: Manifests, checks: Iterable[Check]) -> list[Fault]:
    return [replace(fault, check=check.__name__) for check in checks for fault in check(manifests)]
