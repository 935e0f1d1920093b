"""What the kubelet says of a pod, and KServe of a service with such pods, by how they fare."""

IMAGE = 'Back-off pulling image "mynah-serve:0.2.0"'
NO_NODE = "0/3 nodes are available: 3 Insufficient memory. preemption: 0/3 nodes are available."
QUOTA = 'pods "wren-predictor-x" is forbidden: exceeded quota: mynah, requested: requests.memory=2Gi, used: 47Gi, limited: 48Gi'
S3_LOG = "downloading\nbotocore.exceptions.ClientError: An error occurred (403) when calling the HeadObject operation: Forbidden"


def conditions(ready):
    def condition(kind, status):
        reason = (
            {}
            if status
            else {"reason": "MinimumReplicasUnavailable", "message": "Deployment does not have minimum availability."}
        )
        return {"type": kind, "status": str(status), **reason}

    return [condition("IngressReady", True), condition("PredictorReady", ready), condition("Ready", ready)]


def is_ready(pod):
    return any((each["type"], each["status"]) == ("Ready", "True") for each in pod["status"]["conditions"])


def status(fate, is_old_enough):
    """What the kubelet says of a pod with that fate."""
    waits = {
        "image": {"reason": "ImagePullBackOff", "message": IMAGE},
        "crash": {"reason": "CrashLoopBackOff", "message": "back-off 20s restarting failed container"},
        "init": {"reason": "PodInitializing"},
        "no node": {"reason": "ContainerCreating"},
        "hangs": {"reason": "ContainerCreating"},
    }
    ready = is_old_enough and fate not in waits
    conditions = [{"type": "Ready", "status": str(ready)}, {"type": "PodScheduled", "status": "True"}]
    if fate == "no node":
        conditions[1] = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": NO_NODE}
    main = {"name": "kserve-container", "state": {"waiting": waits[fate]} if fate in waits else {"running": {}}}
    init = {"name": "storage-initializer", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}
    ended = {"terminated": {"exitCode": 1, "reason": "Error"}}
    if fate == "crash":
        main |= {"lastState": ended, "restartCount": 2}
    if fate == "init":
        init |= {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": ended, "restartCount": 2}
    return {
        "phase": "Running" if ready else "Pending",
        "conditions": conditions,
        "containerStatuses": [main],
        "initContainerStatuses": [init],
    }
