"""The undocumented parts of Kubeflow Pipelines' SDK that Mynah uses, in one place.

They were checked in the source of the versions below, which constraints.txt pins. `tests/code/test_compat.py` fails when a pin changes
and this module does not. A function is replaced only if it exists: replacing one that kfp no longer calls would have no effect, and a
step that failed in a container would count as succeeded.
"""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mynah.core.errors import PlatformError

if TYPE_CHECKING:
    import kfp
    from kfp.dsl import PipelineTask

WRITTEN_FOR = {"kfp": "2.17.0", "kfp-server-api": "2.17.3"}


def configuration(client: "kfp.Client") -> Any:  # noqa: ANN401 - kfp_server_api.Configuration
    """Return the HTTP configuration of a client: its host, credentials and retries."""
    return client._existing_config


def api_client(client: "kfp.Client") -> Any:  # noqa: ANN401 - kfp_server_api.ApiClient
    """Return the generated client that all APIs of a client share; its `rest_client` sends the requests."""
    return client._run_api.api_client


def health(client: "kfp.Client") -> Any:  # noqa: ANN401 - V2beta1GetHealthzResponse
    """Request the API's health once; `get_kfp_healthz` would try five times."""
    return client._healthz_api.healthz_service_get_healthz()


def run_local_steps_with(run: Callable[..., int]) -> None:
    """Make `kfp.local.SubprocessRunner` run steps with `run(command, environment)`."""
    from kfp.local import subprocess_task_handler

    _replace(subprocess_task_handler, "run_local_subprocess", run)


def run_containers_with(run: Callable[..., int]) -> None:
    """Make `kfp.local.DockerRunner` run containers with `run(client, image, command, volumes, **arguments)`."""
    from kfp.local import docker_task_handler

    _replace(docker_task_handler, "run_docker_container", run)


def keep_outputs_in_loops() -> None:
    """Make kfp's local runner give the tasks of a loop the outputs of earlier tasks; 2.17 gives them the loop's item instead."""
    from kfp.local.orchestrator import task_spec_utils

    original = task_spec_utils.create_parameter_loop_iteration_task_spec

    def create(task_spec: Any, loop_item: Any, loop_task_name: str) -> Any:  # noqa: ANN401 - kfp's PipelineTaskSpec
        made = original(task_spec, loop_item, loop_task_name)
        for name, given in task_spec.inputs.parameters.items():
            if given.HasField("task_output_parameter"):
                made.inputs.parameters[name].CopyFrom(given)
        return made

    _replace(task_spec_utils, "create_parameter_loop_iteration_task_spec", create)


def check_tasks_quickly() -> None:
    """Make kfp check a task that is configured without reading the source of every caller, as it does 120 times for a pipeline."""
    from kfp.dsl.pipeline_task import PipelineTask

    _replace(PipelineTask, "_ensure_container_spec_exists", _require_container)


def _require_container(task: "PipelineTask") -> None:
    if task.container_spec is None:
        method = sys._getframe(1).f_code.co_name
        raise ValueError(f"{method} can only be used on single-step components, not on pipelines or importers.")


def _replace(owner: ModuleType | type, name: str, function: Callable[..., Any]) -> None:
    if not hasattr(owner, name):
        raise PlatformError(
            f"this kfp has no {owner.__name__}.{name}, which Mynah replaces",
            f"Install kfp=={WRITTEN_FOR['kfp']}, as constraints.txt has it.",
        )
    setattr(owner, name, function)
