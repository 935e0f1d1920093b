"""Schemas with unknown keys refused: Kubernetes' own kinds, and KServe's by the models of its SDK."""

import functools
import json
import re
import sys
from collections.abc import Iterator
from typing import Any

from scripts.manifests.objects import Fault, Manifests, Object, where

KUBERNETES = "1.33"  # the oldest whose kinds must take what we write
KSERVE = {
    ("serving.kserve.io/v1beta1", "InferenceService"): "V1beta1InferenceService",
    ("serving.kserve.io/v1alpha1", "ServingRuntime"): "V1alpha1ServingRuntime",
}
CONTAINER_TYPE = re.compile(r"(list|dict)[\[(](?:str, )?(.+)[\])]")


def fits_its_schema(manifests: Manifests) -> Iterator[Fault]:
    """Every object of a kind that we have a schema of fits it; `unchecked` tells the others."""
    for each in manifests.objects:
        for problem in _problems(json.dumps(each)):
            yield Fault(where(each), problem, "See `kubectl explain` for what may stand there.")


def unchecked(manifests: Manifests) -> set[str]:
    """The kinds that have no schema here: those of other operators."""
    return {
        f"{each['apiVersion']} {each['kind']}"
        for each in manifests.objects
        if _core(json.dumps(each)) is None and not _model(each)
    }


@functools.cache  # the same object is in many renderings
def _problems(text: str) -> tuple[str, ...]:
    found = json.loads(text)
    if model := _model(found):
        return tuple(_unknown(found, model, ""))
    return _core(text) or ()


def _model(found: Object) -> str:
    return KSERVE.get((found["apiVersion"], found["kind"]), "")


@functools.cache
def _core(text: str) -> tuple[str, ...] | None:
    """What kubernetes-validate has against an object; None when it has no schema of its kind."""
    import kubernetes_validate

    try:
        kubernetes_validate.validate(json.loads(text), KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        return (f"{'.'.join(map(str, error.path)) or 'it'}: {error.message[:200]}",)
    except kubernetes_validate.SchemaNotFoundError:
        return None
    return ()


def _unknown(data: Any, model: str, path: str) -> Iterator[str]:  # noqa: ANN401 - any JSON value
    """What the SDK's model, and those that it is made of, do not know or miss in `data`."""
    if found := CONTAINER_TYPE.fullmatch(model):
        kind, inner = found.groups()
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
    """The models of KServe's SDK and of the Kubernetes client that it builds on, by name."""
    arguments, sys.argv = sys.argv, sys.argv[:1]  # `import kserve` would parse them as its own
    try:
        import kserve.models
        from kubernetes.client import models
    finally:
        sys.argv = arguments
    return dict(vars(models) | vars(kserve.models))
