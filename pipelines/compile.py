"""Compiles the pipelines to YAML for Kubeflow Pipelines."""

import tempfile
from pathlib import Path

from mynah.core.errors import InputError
from mynah.core.files import make_folder, write_text
from pipelines.kfp_compat import check_tasks_quickly
from pipelines.placement import Placement

AT_ONCE = 4  # concurrent bots of a fleet, or trials of a sweep
PIPELINES = ("bot", "fleet", "sweep")


def write(out: Path, placement: Placement, pipeline: str = "bot", at_once: int = AT_ONCE) -> None:
    """Compile a pipeline to a file.

    Args:
        out: The file; its name ends with .yaml or .yml.
        placement: The images, resources and limits of the steps.
        pipeline: bot, fleet or sweep.
        at_once: The number of concurrent bots of a fleet, or trials of a sweep.

    Raises:
        InputError: The pipeline is unknown, or `out` has another ending or is a folder.
    """
    if out.suffix not in (".yaml", ".yml"):
        raise InputError(f"{out} does not end with .yaml", "Kubeflow's compiler writes YAML: name a .yaml file.")
    if out.is_dir():
        raise InputError(f"{out} is a folder", "Name a file for the pipeline.")
    text = compiled(placement, pipeline, at_once)
    make_folder(out.parent)
    write_text(out, text)


def compiled(placement: Placement, pipeline: str = "bot", at_once: int = AT_ONCE) -> str:
    """Compile a pipeline.

    Args:
        placement: The images, resources and limits of the steps.
        pipeline: bot, fleet or sweep.
        at_once: The number of concurrent bots of a fleet, or trials of a sweep.

    Returns:
        Two YAML documents: the pipeline and its Kubernetes platform configuration.

    Raises:
        InputError: The pipeline is unknown.
    """
    if pipeline not in PIPELINES:
        raise InputError(f"there is no pipeline {pipeline[:40]!r}", f"There are: {', '.join(PIPELINES)}.")
    from kfp import compiler

    from pipelines.definitions.bot import on_a_cluster
    from pipelines.definitions.fleet import fleet_on_a_cluster
    from pipelines.definitions.sweep import sweep_on_a_cluster

    check_tasks_quickly()
    parallel = {"fleet": fleet_on_a_cluster, "sweep": sweep_on_a_cluster}
    definition = parallel[pipeline](placement, at_once) if pipeline in parallel else on_a_cluster(placement)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "pipeline.yaml"
        compiler.Compiler().compile(definition, str(path))
        return path.read_text("utf-8")
