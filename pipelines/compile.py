"""Compiles the pipelines to YAML for Kubeflow Pipelines."""

import tempfile
from pathlib import Path

from mynah.core.errors import InputError
from mynah.core.files import make_folder, write_text
from pipelines.kfp_compat import check_tasks_quickly
from pipelines.placement import Placement

AT_ONCE = 4  # concurrent bots of a fleet, or trials of a sweep
PIPELINES = ("bot", "fleet", "sweep")


def write(out: Path, placement: Placement, pipeline: str = "bot", at_once: int = AT_ONCE, *, only_news: bool = False) -> None:
    """Compile a pipeline to a file.

    Args:
        out: The file; its name ends with .yaml or .yml.
        placement: The images, resources and limits of the steps.
        pipeline: bot, fleet or sweep.
        at_once: The number of concurrent bots of a fleet, or trials of a sweep.
        only_news: Whether a bot or fleet can end without training; a run whose specification asks for it needs that.

    Raises:
        InputError: The pipeline is unknown, or `out` has another ending or is a folder.
    """
    if out.suffix not in (".yaml", ".yml"):
        raise InputError(f"{out} does not end with .yaml", "Kubeflow's compiler writes YAML: name a .yaml file.")
    if out.is_dir():
        raise InputError(f"{out} is a folder", "Name a file for the pipeline.")
    text = compiled(placement, pipeline, at_once, only_news=only_news)
    make_folder(out.parent)
    write_text(out, text)


def compiled(placement: Placement, pipeline: str = "bot", at_once: int = AT_ONCE, *, only_news: bool = False) -> str:
    """Compile a pipeline.

    Args:
        placement: The images, resources and limits of the steps.
        pipeline: bot, fleet or sweep.
        at_once: The number of concurrent bots of a fleet, or trials of a sweep.
        only_news: Whether a bot or fleet can end without training; a run whose specification asks for it needs that.

    Returns:
        Two YAML documents: the pipeline and its Kubernetes platform configuration.

    Raises:
        InputError: The pipeline is unknown, or a sweep is asked to skip runs without news.
    """
    if only_news and pipeline == "sweep":
        raise InputError("a sweep is no scheduled run, and always trains", "Leave out --only-news.")
    if pipeline not in PIPELINES:
        raise InputError(f"there is no pipeline {pipeline[:40]!r}", f"There are: {', '.join(PIPELINES)}.")
    from kfp import compiler

    from pipelines.definitions.bot import on_a_cluster
    from pipelines.definitions.fleet import fleet_on_a_cluster
    from pipelines.definitions.sweep import sweep_on_a_cluster

    check_tasks_quickly()
    definition = {
        "bot": lambda: on_a_cluster(placement, only_news),
        "fleet": lambda: fleet_on_a_cluster(placement, at_once, only_news),
        "sweep": lambda: sweep_on_a_cluster(placement, at_once),
    }[pipeline]()
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "pipeline.yaml"
        compiler.Compiler().compile(definition, str(path))
        return path.read_text("utf-8")
