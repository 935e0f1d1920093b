"""Stop what would train a bot while it is forgotten: its schedules and its running runs in Kubeflow."""

import time
from collections.abc import Sequence

from components.forget.in_kubeflow import InKubeflow
from components.forget.stop_nodes import end_nodes
from components.forget.subject import Subject
from mynah.core.errors import InputError, PlatformError
from mynah.core.progress import notify, waiting
from mynah.maintenance.kubeflow_records import RUN, KubeflowRecord, KubeflowRecords

SECONDS_TO_END = 120.0  # that terminated runs may take
PAUSE = 2.0  # seconds between two looks


def require_no_fleet_runs(subject: Subject, found: InKubeflow) -> None:
    """Raise InputError while a run makes the subject's bot and others: nobody asked to end the others."""
    if found.busy:
        ids = ", ".join(record.id for record in found.busy)
        raise InputError(
            f"{'a run' if len(found.busy) == 1 else 'runs'} in Kubeflow of {subject} and of others {'has' if len(found.busy) == 1 else 'have'} "
            f"not ended: {ids}",
            f"End it (mynah cancel {found.busy[0].id[:8]}) or wait for its end, then run again. Nothing was erased.",
        )


def stop(records: Sequence[KubeflowRecord], kubeflow: KubeflowRecords) -> bool:
    """Disable schedules, terminate runs, and wait for up to SECONDS_TO_END until they have ended.

    Args:
        records: The subject's, with those that are over.
        kubeflow: The connected Kubeflow.

    Returns:
        Whether any of them was active.

    Raises:
        PlatformError: Kubeflow is unreachable or refuses, or a run does not end.
    """
    active = [record for record in records if record.is_active and kubeflow.is_active(record.kind, record.id)]
    for record in active:  # schedules come first, so that none starts another run
        kubeflow.stop(record)
    if running := [record for record in active if record.kind == RUN]:
        _wait_for_end(running, kubeflow)
    return bool(active)


def _wait_for_end(running: list[KubeflowRecord], kubeflow: KubeflowRecords) -> None:
    ids = [record.id for record in running]
    notify(
        f"{len(running)} running {'run is' if len(running) == 1 else 'runs are'} ended in Kubeflow first, for up to {SECONDS_TO_END:.0f} s"
    )
    until = time.monotonic() + SECONDS_TO_END
    with waiting("Ending runs"):
        while running := [record for record in running if kubeflow.is_active(RUN, record.id)]:
            if time.monotonic() > until:
                raise PlatformError(
                    f"the run {running[0].id} in Kubeflow has not ended within {SECONDS_TO_END:.0f} s, so nothing was erased",
                    f"See mynah runs {running[0].id[:8]}, and run again when it has ended.",
                )
            time.sleep(PAUSE)
    end_nodes(ids)
