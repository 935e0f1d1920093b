"""Inference services of bots in a fake cluster."""

from fake_kubernetes import SERVICES


def serve(kubernetes, name, uri, **labels):
    kubernetes.put(SERVICES, "bots", name, metadata={"labels": labels}, spec={"predictor": {"model": {"storageUri": uri}}})
