"""Kubeflow Trainer over the fake API server: what its webhooks refuse, and its nodes as processes of this machine that torchrun joins.

Read in Trainer 2.3.0: the variables of a node in pkg/runtime/framework/plugins/torch/torch.go, conditions in
pkg/runtime/framework/plugins/jobset/jobset.go, the missing runtime in pkg/runtime/core/trainingruntime.go.
"""

import os
import signal
import socket
import subprocess
import sys
import time

from fake_kubernetes_objects import Refusal

from scripts.manifests import operators

TRAIN_JOBS, RUNTIMES, PODS = "trainjobs.trainer.kubeflow.org", "trainingruntimes.trainer.kubeflow.org", "pods"
WEBHOOK = 'admission webhook "validator.trainjob.trainer.kubeflow.org" denied the request: '
NAMESPACE = "kubeflow"
NO_NODE = {
    "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
}  # fmt: skip


class FakeTrainer:
    """The controller; `environment` is what the TrainingRuntime and the node's pods give every process."""

    def __init__(self, kubernetes, environment):
        self.kubernetes, self.environment = kubernetes, environment
        self.instead = ""  # Python code that every node runs instead
        self.suspends = 0  # how often it is looked at before Kueue admits it
        self.unschedulable = 0  # how often it is looked at while no node has room
        self.kill_after = None  # (node, function): kill that node once the function is true
        self.made = []  # the TrainJobs as they were applied
        self.nodes = {}  # name to processes
        self.deleted = []
        kubernetes.kinds |= {TRAIN_JOBS, RUNTIMES, PODS}
        kubernetes.namespaces.add(NAMESPACE)
        kubernetes.put(RUNTIMES, NAMESPACE, "mynah")
        kubernetes.put(PODS, NAMESPACE, socket.gethostname())
        kubernetes.admission = self.admit
        kubernetes.reactions.append(self.reconcile)

    def admit(self, new, _old):
        if new["kind"] != "TrainJob":
            return new
        for problem in operators.problems(new):
            raise Refusal(400, "BadRequest", f"failed to create typed patch object: {problem}")
        if (RUNTIMES, NAMESPACE, new["spec"]["runtimeRef"]["name"]) not in self.kubernetes.objects:
            raise Refusal(403, "Forbidden", f"{WEBHOOK}spec.runtimeRef: TrainingRuntime specified in TrainJob is not found")
        self.made.append(new)
        return new

    def reconcile(self):
        live = {key[2]: found for key, found in self.kubernetes.objects.items() if key[0] == TRAIN_JOBS}
        for name, processes in self.nodes.items():
            if (name not in live or "deletionTimestamp" in live[name]["metadata"]) and name not in self.deleted:
                self.deleted.append(name)
                self._end(processes, signal.SIGTERM)
        for name, found in live.items():
            if "deletionTimestamp" in found["metadata"]:
                continue
            if self.suspends > 0:
                self.suspends -= 1
                found["status"] = {"conditions": [_condition("Suspended", "TrainJob is suspended")]}
                continue
            found["status"] = {"conditions": [_condition("Suspended", "TrainJob is resumed", "Resumed", "False")]}
            if self.unschedulable > 0:
                self.unschedulable -= 1
                labels, conditions = {"jobset.sigs.k8s.io/jobset-name": name}, [NO_NODE]
                self.kubernetes.put(
                    PODS, NAMESPACE, f"{name}-node-0-0-x", metadata={"labels": labels}, status={"conditions": conditions}
                )
                continue
            if name not in self.nodes:
                self.nodes[name] = self._start(name, found["spec"]["trainer"])
            self._look(name, found)
        self.kubernetes.collect()

    def _look(self, name, found):
        processes = self.nodes[name]
        if self.kill_after and self.kill_after[1]():
            processes[self.kill_after[0]].send_signal(signal.SIGKILL)
            self.kill_after = None
        codes = [process.poll() for process in processes]
        if any(codes):
            self._end(processes, signal.SIGTERM)
            said = f"jobset failed due to one or more job failures (first failed job: {name}-node-0)"
            found["status"] = {"conditions": [_condition("Failed", said, "FailedJobs")]}
        elif codes == [0] * len(codes):
            found["status"] = {"conditions": [_condition("Complete", "jobset completed successfully", "AllJobsCompleted")]}

    def _start(self, name, trainer):
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            port = listening.getsockname()[1]
        program = ["-c", self.instead] if self.instead else trainer["command"][1:]
        command = [sys.executable, *program, *trainer["args"]]
        own = {variable["name"]: variable["value"] for variable in trainer.get("env", [])}
        torch = {
            "PET_NNODES": str(trainer["numNodes"]), "PET_NPROC_PER_NODE": str(trainer["numProcPerNode"]),
            "PET_MASTER_ADDR": "127.0.0.1", "PET_MASTER_PORT": str(port), "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        return [
            subprocess.Popen(command, env=self.environment | own | torch | {"PET_NODE_RANK": str(rank)}, start_new_session=True)
            for rank in range(trainer["numNodes"])
        ]

    def _end(self, processes, number):
        for process in processes:
            if process.poll() is None:
                process.send_signal(number)

    def processes(self):
        """Every node of every TrainJob."""
        return [process for processes in self.nodes.values() for process in processes]

    def wait(self, seconds=60):
        """Wait until every node has ended."""
        deadline = time.monotonic() + seconds
        for process in self.processes():
            process.wait(max(0.1, deadline - time.monotonic()))

    def stop(self):
        for process in self.processes():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _condition(kind, message, reason="Suspended", status="True"):
    return {"type": kind, "status": status, "reason": reason, "message": message}
