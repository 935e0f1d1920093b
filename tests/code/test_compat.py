"""What is used of libraries beyond their documented interfaces lies in compat modules, each written for the version that is pinned."""

import ast
import importlib.metadata
import re
from pathlib import Path

import pytest
from kfp import dsl
from kfp.local import docker_task_handler

import mynah.decoding.compat
import mynah.hub.compat
import mynah.mlflow_client.compat
import pipelines.kfp_compat
import serving.compat
from mynah.core.errors import PlatformError
from pipelines.local.containers import run_container

ROOT = Path(__file__).parents[2]
MODULES = [mynah.decoding.compat, mynah.hub.compat, mynah.mlflow_client.compat, pipelines.kfp_compat, serving.compat]
LIBRARIES = ("mlflow", "kfp", "kfp_server_api", "huggingface_hub", "uvicorn", "torch")
# Importable, and documented nowhere.
UNDOCUMENTED = ("mlflow.utils", "mlflow.store", "mlflow.system_metrics", "uvicorn.protocols")
HANDLERS = ("docker_task_handler", "subprocess_task_handler")
# Names of such modules that are documented, or of no library above.
KNOWN = {
    (
        "mynah/tracking/database.py",
        "_mapping",
    ),  # https://docs.sqlalchemy.org/en/20/core/connections.html#sqlalchemy.engine.Row._mapping
    ("serving/models/model_cache.py", "_sizes"),  # its own
    ("components/finetune/train_node.py", "_exit"),  # public: https://docs.python.org/3/library/os.html#os._exit
}


def pins():
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    found = [re.match(r"([\w.-]+)==([^\s;]+)", line) for line in lines]
    return {match[1].lower().replace("_", "-"): match[2] for match in found if match}


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_a_compat_module_was_written_for_the_pinned_version(module):
    """When this fails: read what the module uses in the new version's source, run its tests, and move the constant."""
    assert module.WRITTEN_FOR
    for package, version in module.WRITTEN_FOR.items():
        assert pins()[package.lower().replace("_", "-")] == version
        assert importlib.metadata.version(package).split("+")[0] == version


def private_names(path):
    """The lines of a file that use what begins with an underscore, or what is documented nowhere, of something that is not its own."""
    tree = ast.parse(path.read_text("utf-8"))
    own = {"self", "cls"} | {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            module = node.module or ""
            names = [each.name for each in node.names]
            private = any(part.startswith("_") for part in [*module.split("."), *names] if not part.startswith("__"))
            if module.split(".")[0] in LIBRARIES and (
                private or module.startswith(UNDOCUMENTED) or any(name in HANDLERS for name in names)
            ):
                yield node.lineno, module
        elif isinstance(node, ast.Attribute) and re.match(r"_(?!_)", node.attr):
            of_super = isinstance(node.value, ast.Call) and getattr(node.value.func, "id", "") == "super"
            if not of_super and not (isinstance(node.value, ast.Name) and node.value.id in own):
                yield node.lineno, node.attr
        elif isinstance(node, ast.Attribute) and ast.unparse(node).startswith(("torch.ops.mkldnn.", "torch.ops.quantized.")):
            yield node.lineno, ast.unparse(node)


@pytest.mark.slow
def test_private_interfaces_are_used_in_compat_modules_alone():
    compat = {Path(module.__file__) for module in MODULES}
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for package in ("mynah", "components", "serving", "pipelines")
        for path in sorted((ROOT / package).rglob("*.py"))
        if path not in compat
        for line, name in private_names(path)
        if (str(path.relative_to(ROOT)), name) not in KNOWN
    ]
    assert not found, f"move these into a compat module: {found}"


@pytest.mark.parametrize("module", [mynah.decoding.compat, mynah.mlflow_client.compat, mynah.hub.compat, pipelines.kfp_compat])
def test_the_search_finds_what_the_compat_modules_hold(module):
    assert list(private_names(Path(module.__file__)))


def test_a_function_that_kfp_no_longer_has_is_not_replaced_in_vain(monkeypatch):
    monkeypatch.delattr(docker_task_handler, "run_docker_container")
    with pytest.raises(PlatformError, match=r"no kfp.local.docker_task_handler.run_docker_container") as refused:
        pipelines.kfp_compat.run_containers_with(run_container)
    assert pipelines.kfp_compat.WRITTEN_FOR["kfp"] in refused.value.fix


def test_a_task_without_a_container_is_refused_what_containers_have():
    pipelines.kfp_compat.check_tasks_quickly()

    @dsl.component(base_image="python:3.11", install_kfp_package=False)
    def count() -> int:
        return 1

    @dsl.pipeline
    def inner():
        count().set_cpu_limit("1")

    with pytest.raises(ValueError, match="set_cpu_limit can only be used on single-step components"):

        @dsl.pipeline
        def outer():
            inner().set_cpu_limit("1")
