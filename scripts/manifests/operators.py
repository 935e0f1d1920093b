"""Schemas of what Mynah writes for Kubeflow Trainer and Kueue: the fields that it uses, with every other key an error.

Written by hand from the custom resource definitions of Trainer 2.3.0 and Kueue 0.19.2, whose own schemas have thousands of lines. A field
that is new here has to be added, after a look at the definition.
"""

import functools
from collections.abc import Iterator
from typing import Any

from scripts.manifests.objects import Object

Schema = dict[str, Any]
TEXT: Schema = {"type": "string", "minLength": 1}
TEXTS: Schema = {"type": "array", "items": TEXT, "minItems": 1}
LABELS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
ANY: Schema = {"type": "object"}  # checked as a part of a kind of Kubernetes' own
QUANTITY: Schema = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"}
NAME: Schema = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", "maxLength": 253}
PREEMPTION: Schema = {"enum": ["Never", "LowerPriority", "LowerOrNewerEqualPriority", "Any"]}


def _object(required: str = "", **properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": required.split(), "additionalProperties": False}


def _list(item: Schema) -> Schema:
    return {"type": "array", "items": item, "minItems": 1}


def _kind(spec: Schema) -> Schema:
    return _object("apiVersion kind metadata spec", apiVersion=TEXT, kind=TEXT, metadata=ANY, spec=spec)


QUOTA = _object("name nominalQuota", name=TEXT, nominalQuota=QUANTITY, borrowingLimit=QUANTITY, lendingLimit=QUANTITY)
FLAVOR = _object("name resources", name=NAME, resources=_list(QUOTA))
PATCHED_POD = _object("spec", spec=_object(nodeSelector=LABELS))
PATCHED_JOB = _object("name template", name=TEXT, template=_object("spec", spec=_object("template", template=PATCHED_POD)))
PATCH = _object(
    "manager trainingRuntimeSpec",
    manager=TEXT,
    trainingRuntimeSpec=_object("template", template=_object("spec", spec=_object(replicatedJobs=_list(PATCHED_JOB)))),
)
TRAINER = _object(
    "image command args numNodes numProcPerNode resourcesPerNode", image=TEXT, command=TEXTS, args=TEXTS,
    numNodes={"type": "integer", "minimum": 1}, numProcPerNode={"type": "integer", "minimum": 1},
    env=_list(_object("name value", name=TEXT, value=TEXT)), resourcesPerNode=_object("requests limits", requests=LABELS, limits=LABELS),
)  # fmt: skip
SCHEMAS: dict[tuple[str, str], Schema] = {
    ("trainer.kubeflow.org/v1alpha1", "TrainJob"): _kind(
        _object(
            "runtimeRef trainer", trainer=TRAINER, runtimePatches=_list(PATCH),
            runtimeRef=_object("name", apiGroup=TEXT, kind={"enum": ["TrainingRuntime", "ClusterTrainingRuntime"]}, name=NAME),
        )
    ),
    ("trainer.kubeflow.org/v1alpha1", "TrainingRuntime"): _kind(
        _object(
            "mlPolicy template", mlPolicy=_object("numNodes torch", numNodes={"type": "integer"}, torch=_object()),
            template=_object("spec", spec=_object(replicatedJobs=_list(_object("name template", name=TEXT, template=ANY)))),
        )
    ),
    ("kueue.x-k8s.io/v1beta2", "ResourceFlavor"): _kind(_object(nodeLabels=LABELS)),
    ("kueue.x-k8s.io/v1beta2", "LocalQueue"): _kind(_object("clusterQueue", clusterQueue=NAME)),
    ("kueue.x-k8s.io/v1beta2", "ClusterQueue"): _kind(
        _object(
            "namespaceSelector resourceGroups", cohortName=NAME, namespaceSelector=_object(matchLabels=LABELS),
            preemption=_object(reclaimWithinCohort=PREEMPTION, withinClusterQueue=PREEMPTION),
            resourceGroups=_list(_object("coveredResources flavors", coveredResources=TEXTS, flavors=_list(FLAVOR))),
        )
    ),
}  # fmt: skip


def has_schema(item: Object) -> bool:
    """Return whether there is a schema of an object's kind here."""
    return (item["apiVersion"], item["kind"]) in SCHEMAS


def problems(item: Object) -> Iterator[str]:
    """Yield what is wrong in an object of these kinds."""
    for error in _validator(item["apiVersion"], item["kind"]).iter_errors(item):
        yield f"{'.'.join(map(str, error.absolute_path)) or 'it'}: {error.message[:200]}"


def jobs_of(item: Object) -> list[Object]:
    """Return the Jobs that Trainer's JobSet makes of a TrainingRuntime, as objects of Kubernetes; [] for another kind."""
    if item["kind"] != "TrainingRuntime":
        return []
    about, made = item["metadata"], item["spec"]["template"]["spec"]["replicatedJobs"]
    return [
        {
            "apiVersion": "batch/v1", "kind": "Job", "spec": job["template"]["spec"],
            "metadata": {**job["template"].get("metadata", {}), "name": about["name"], "namespace": about["namespace"]},
        }
        for job in made
    ]  # fmt: skip


@functools.cache
def _validator(version: str, kind: str) -> Any:  # noqa: ANN401 - jsonschema has no types
    import jsonschema  # comes with kubernetes-validate

    return jsonschema.Draft7Validator(SCHEMAS[version, kind])
