"""The components of k8s/, and the containers in what is rendered."""

EVERYTHING = ("gateway", "keda", "kueue", "mlflow-auth", "monitoring", "serve-in", "trainer")


def container_of(manifests, owner, index=0):
    pod = next(pod for pod in manifests.pods if pod.owner["metadata"]["name"] == owner)
    return pod.spec["containers"][index]
