"""What Kubeflow is given: addresses below runs/ID/, and nothing that a person named; whatever that holds arrives in the step as it is."""

import json

import pytest

from components.fetch.component import fetch
from components.run_inputs import read_inputs
from mynah.core.errors import InputError
from tests.services.kubeflow_commands import told

# What Argo and Kubernetes would replace in a parameter, what breaks quoting, and what KFP's database cannot hold.
TEXTS = (
    "{{workflow.name}}", "{{=1+1}}", "{{pod.name}}", "{{inputs.parameters.spec}}", "{{$.inputs}}", "$(AWS_SECRET_ACCESS_KEY)",
    "it's \"quoted\" \\", "two\r\nlines\u2028", "🐦\U0001f9a4 python3",
)  # fmt: skip
FLEET_LIMIT = 1_500_000  # bytes; KFP refuses a run over 2 MiB


def sources_in(bucket):
    return [f"s3://{bucket}/{text}/posts.csv" for text in TEXTS]


def kept(fake):
    """All that the API was ever sent and keeps."""
    return json.dumps([fake.runs, fake.recurring, fake.experiments], ensure_ascii=False, default=str)


@pytest.mark.parametrize("how", ["once", "schedule", "fleet"])
def test_texts_that_are_templates_arrive_byte_for_byte(mynah, kubeflow, bucket, tmp_path, how):
    sources = sources_in(bucket[1])
    given = [word for source in sources for word in ("--from", source)]
    weights = ["--weight", f"{TEXTS[0]}=0.2", "--weight", f"{TEXTS[-1]}=0.3"]
    if how == "fleet":
        bots = [{"name": f"bot-{number}", "from": [source]} for number, source in enumerate(sources)]
        (tmp_path / "fleet.json").write_text(json.dumps(bots))
        done = mynah("fleet", tmp_path / "fleet.json", "--basis", "permission", *weights, "--no-wait")
    else:
        schedule = ["--schedule", "0 3 * * 1"] if how == "schedule" else []
        done = mynah("submit", "--name", "wren", *given, "--basis", "permission", *weights, "--no-wait", *schedule)
    assert done.returncode == 0, done.stderr
    [made] = kubeflow.recurring if how == "schedule" else kubeflow.runs.values()
    parameters = made["runtime_config"]["parameters"]
    inputs = [read_inputs(each) for each in parameters["specs"]] if how == "fleet" else [told(made)]
    assert [source for each in inputs for source in each.sources] == sources
    assert all(each.recipe["changes"]["weights"] == {TEXTS[0]: 0.2, TEXTS[-1]: 0.3} for each in inputs)
    held = json.dumps(parameters) + made["display_name"]
    for text in (*TEXTS, "wren", "bot-1", "posts.csv", "permission"):
        assert json.dumps(text)[1:-1] not in held
    assert "{{" not in held
    assert "$(" not in held
    assert held.isascii()


def test_a_step_reads_the_source_as_it_was_named(mynah, kubeflow, bucket, monkeypatch):
    for source in sources_in(bucket[1]):
        kubeflow.runs.clear()
        assert mynah("submit", "--name", "wren", "--from", source, "--basis", "permission", "--no-wait").returncode == 0
        [made] = kubeflow.runs.values()
        with pytest.raises(InputError) as found:
            fetch.python_func(spec=made["runtime_config"]["parameters"]["spec"], kfp_run="", parent_run="")
        assert found.value.problem == f"there is no {source}"


def test_a_fleet_of_a_hundred_bots_is_small(mynah, kubeflow, tmp_path, capsys):
    bots = [{"name": f"canary-{number:03}", "from": [f"s3://somewhere/{'long' * 50}/{number}.zip"]} for number in range(100)]
    (tmp_path / "fleet.json").write_text(json.dumps(bots))
    assert mynah("fleet", tmp_path / "fleet.json", "--no-wait").returncode == 0
    [run] = kubeflow.runs.values()
    size = len(json.dumps({key: run[key] for key in ("pipeline_spec", "runtime_config")}).encode())
    with capsys.disabled():
        print(f"a fleet of 100 bots: {size:,} bytes as a compiled spec with its arguments")
    assert size <= FLEET_LIMIT
    assert "canary" not in kept(kubeflow)
    assert len(run["runtime_config"]["parameters"]["specs"]) == 100


def test_every_submission_has_an_id_of_its_own(mynah, kubeflow, bucket):
    for _ in range(2):
        assert mynah("submit", "--name", "wren", "--from", "s3://b/wren.zip", "--no-wait").returncode == 0
    specs = [run["runtime_config"]["parameters"]["spec"] for run in kubeflow.runs.values()]
    assert len({spec.split("/")[4] for spec in specs}) == 2
    assert [run["display_name"].split("-")[1] for run in kubeflow.runs.values()] == [spec.split("/")[4] for spec in specs]
    assert "wren" not in kept(kubeflow)
