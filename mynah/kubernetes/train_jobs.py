"""The kinds of Kubeflow Trainer that Mynah uses, and the TrainingRuntime of its own (k8s/components/trainer)."""

from typing import Final

from mynah.kubernetes.cluster import Resource

TRAIN_JOBS: Final = Resource("trainer.kubeflow.org", "v1alpha1", "trainjobs", ("get", "create", "patch", "delete"))
RUNTIMES: Final = Resource("trainer.kubeflow.org", "v1alpha1", "trainingruntimes", ("get",))
RUNTIME: Final = "mynah"
TRAINER: Final = "Apply k8s/components/trainer and install Kubeflow Trainer 2.2 or newer (docs/training-on-several-nodes.md); or leave --nodes out."
