"""The pipelines as the YAML that Kubeflow Pipelines takes."""

import tempfile
from pathlib import Path

from components.errors import InputError
from components.files import make_folder, write_text
from pipelines.placing import Placement

AT_ONCE = 4  # bots of a fleet, or trials of a sweep
PIPELINES = ("bot", "fleet", "sweep")


def write(out: Path, placement: Placement, pipeline: str = "bot", at_once: int = AT_ONCE) -> None:
    """Compile a pipeline to `out`. Raises InputError for an unknown one, and unless `out` names a file that ends with .yaml or .yml."""
    if out.suffix not in (".yaml", ".yml"):
        raise InputError(f"{out} does not end with .yaml", "Kubeflow's compiler writes YAML: name the file so.")
    if out.is_dir():
        raise InputError(f"{out} is a folder", "Name a file for the pipeline.")
    text = compiled(placement, pipeline, at_once)
    make_folder(out.parent)
    write_text(out, text)


def compiled(placement: Placement, pipeline: str = "bot", at_once: int = AT_ONCE) -> str:
    """The two documents of a pipeline: what it does, and what Kubernetes is to give it."""
    if pipeline not in PIPELINES:
        raise InputError(f"there is no pipeline {pipeline[:40]!r}", f"There are: {', '.join(PIPELINES)}.")
    from kfp import compiler

    from pipelines.bot import on_a_cluster
    from pipelines.fleet import fleet_on_a_cluster
    from pipelines.sweep import sweep_on_a_cluster

    several = {"fleet": fleet_on_a_cluster, "sweep": sweep_on_a_cluster}
    made = several[pipeline](placement, at_once) if pipeline in several else on_a_cluster(placement)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "pipeline.yaml"
        compiler.Compiler().compile(made, str(path))
        return path.read_text("utf-8")
