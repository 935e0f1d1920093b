"""Check schemas, where unknown keys are errors: Kubernetes' kinds, KServe's by the models of its SDK, Trainer's and Kueue's by operators.py."""

import functools
import json
import re
import sys
from collections.abc import Iterator
from typing import Any

from scripts.manifests import operators
from scripts.manifests.objects import Fault, Manifests, Object, where

KUBERNETES = "1.33"  # the oldest supported version
KSERVE = {
    ("serving.kserve.io/v1beta1", "InferenceService"): "V1beta1InferenceService",
    ("serving.kserve.io/v1alpha1", "ServingRuntime"): "V1alpha1ServingRuntime",
}
CONTAINER_TYPE = re.compile(r"(list|dict)[\[(](?:str, )?(.+)[\])]")


def fits_its_schema(manifests: Manifests) -> Iterator[Fault]:
    """Every object fits the schema of its kind, if we have one; `unchecked` returns the other kinds."""
    for item in manifests.objects:
        for problem in _problems(json.dumps(item)):
            yield Fault(where(item), problem, "See `kubectl explain` for the allowed fields.")


def unchecked(manifests: Manifests) -> set[str]:
    """Return the kinds without a schema here: those of other operators."""
    return {
        f"{item['apiVersion']} {item['kind']}"
        for item in manifests.objects
        if _core(json.dumps(item)) is None and not _model(item) and not operators.has_schema(item)
    }


@functools.cache  # the same object is in many renderings
def _problems(text: str) -> tuple[str, ...]:
    item = json.loads(text)
    if model := _model(item):
        return tuple(_unknown(item, model, ""))
    if operators.has_schema(item):
        found = tuple(operators.problems(item))
        return found or tuple(problem for job in operators.jobs_of(item) for problem in _core(json.dumps(job)) or ())
    return _core(text) or ()


def _model(item: Object) -> str:
    return KSERVE.get((item["apiVersion"], item["kind"]), "")


@functools.cache
def _core(text: str) -> tuple[str, ...] | None:
    """Return the errors of kubernetes-validate for an object; None when it has no schema of its kind."""
    import kubernetes_validate  # takes 0.2 s; the first use loads its schemas

    try:
        kubernetes_validate.validate(json.loads(text), KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        return (f"{'.'.join(map(str, error.path)) or 'it'}: {error.message[:200]}",)
    except kubernetes_validate.SchemaNotFoundError:
        return None
    return ()


def _unknown(data: Any, model: str, path: str) -> Iterator[str]:  # noqa: ANN401 - any JSON value
    """Yield unknown and missing keys of `data` at `path`, by the SDK's model and those that it consists of."""
    if match := CONTAINER_TYPE.fullmatch(model):
        kind, inner = match.groups()
        if not isinstance(data, list if kind == "list" else dict):
            yield f"{path} is {type(data).__name__}, and must be a {kind}"
            return
        for key, value in enumerate(data) if isinstance(data, list) else data.items():
            yield from _unknown(value, inner, f"{path}[{key}]")
        return
    cls = _sdk().get(model)
    if cls is None:  # a plain type, which its value fits or which is a quantity
        return
    if not isinstance(data, dict):
        yield f"{path} is {data!r}, and must be an object"
        return
    names = {written: name for name, written in cls.attribute_map.items()}
    for key, value in data.items():
        if key not in names:
            yield f"{path}.{key} is unknown to {model}"
        else:
            yield from _unknown(value, cls.openapi_types[names[key]], f"{path}.{key}")
    try:
        cls(**{names[key]: value for key, value in data.items() if key in names})
    except ValueError as error:
        yield f"{path}: {error}"


@functools.cache
def _sdk() -> dict[str, Any]:
    """Return the models of KServe's SDK and of the Kubernetes client by name; importing them takes seconds."""
    arguments, sys.argv = sys.argv, sys.argv[:1]  # `import kserve` would parse them as its own
    try:
        import kserve.models
        from kubernetes.client import models
    finally:
        sys.argv = arguments
    return dict(vars(models) | vars(kserve.models))
