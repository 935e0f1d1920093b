"""Commands that are sent to Kubeflow Pipelines."""

from components.run_inputs import read_inputs

STEPS = ("fetch", "filter-posts", "finetune")


def told(run):
    """What the steps of a run, or of a recurring run, of one bot are told."""
    return read_inputs(run["runtime_config"]["parameters"]["spec"])


def refused(done, code, *said):
    assert done.returncode == code, done.stderr
    lines = [line for line in done.stderr.strip().splitlines() if not line.startswith(("warning: ", "run ", "run:"))]
    for text in said:
        assert text in "\n".join(lines)
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


POSTS = "".join(f"post number {number} of the day with a few words\n" for number in range(50))
SUBMIT = ("submit", "--name", "wren", "--from", "s3://bucket/wren.zip")


def put_node(kubernetes, name="laptop", cpu="4", memory="16Gi", **parts):
    """A node of the fake cluster."""
    kubernetes.put("nodes", "", name, status={"allocatable": {"cpu": cpu, "memory": memory}}, **parts)
