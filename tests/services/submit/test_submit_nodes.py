"""What `mynah submit --nodes` and `--queue` need is looked for before anything is sent, and is in the pipeline that is sent."""

import pytest

from tests.services.kubeflow_commands import SUBMIT, put_node, refused

TRAIN_JOBS, RUNTIMES = "trainjobs.trainer.kubeflow.org", "trainingruntimes.trainer.kubeflow.org"
QUEUES = "localqueues.kueue.x-k8s.io"
ON_NODES = (*SUBMIT, "--no-wait", "--no-gpu", "--context", "fake", "--nodes", "2")
IN_QUEUE = (*SUBMIT, "--no-wait", "--no-gpu", "--context", "fake", "--queue", "team-a")


def test_trainer_and_its_runtime_are_looked_for(mynah, kubeflow, kubernetes):
    kubernetes.namespaces.add("kubeflow")
    put_node(kubernetes)
    refused(mynah(*ON_NODES), 2, "--nodes 2 needs Kubeflow Trainer", "k8s/components/trainer")
    kubernetes.kinds |= {TRAIN_JOBS, RUNTIMES}
    refused(mynah(*ON_NODES), 2, "there is no TrainingRuntime 'mynah' in namespace kubeflow")
    assert not kubeflow.runs
    kubernetes.forbidden.add(("get", RUNTIMES))  # it may be there
    assert mynah(*ON_NODES).returncode == 0
    kubernetes.forbidden.clear()
    kubernetes.put(RUNTIMES, "kubeflow", "mynah")
    assert mynah(*ON_NODES).returncode == 0


def test_the_queue_is_looked_for(mynah, kubeflow, kubernetes):
    kubernetes.namespaces.add("kubeflow")
    put_node(kubernetes)
    refused(mynah(*IN_QUEUE), 2, "--queue team-a needs Kueue", "k8s/components/kueue")
    kubernetes.kinds.add(QUEUES)
    refused(mynah(*IN_QUEUE), 2, "there is no LocalQueue 'team-a'", "kubectl get localqueues")
    assert not kubeflow.runs
    kubernetes.put(QUEUES, "kubeflow", "team-a")
    assert mynah(*IN_QUEUE).returncode == 0


@pytest.mark.parametrize(
    ("option", "value", "said"), [("--queue", "Team A", "'Team A' is no name"), ("--nodes", "0", "greater than or equal to 1")]
)
def test_bad_values_are_refused(mynah, kubeflow, option, value, said):
    done = mynah(*SUBMIT, "--no-wait", "--no-gpu", option, value)
    assert done.returncode == 2
    assert said in done.stderr
    assert not kubeflow.runs
