"""What bots cost: `mynah costs`, the card's lines, and budgets."""

import json

import pytest
from registry_inputs import add_version, make_outputs, register_all

from components.card.inputs import RunRecord
from components.card.read_inputs import read_inputs
from components.card.readme import write
from mynah.core.errors import InputError
from mynah.registry.registry import Registry
from mynah.tracking.costs import seconds_within_budget, spent_so_far, usd_per_1000_answers
from mynah.tracking.open import open_store
from mynah.tracking.runs import end_run, start_parent
from mynah.tracking.step_run import step_run
from tests.code import card_inputs


@pytest.fixture
def priced(monkeypatch, tmp_path):
    """A node that costs ten dollars a second, and one that serves for 3.60 an hour."""
    (tmp_path / "prices.yaml").write_text("huge: 36000\ncpu: 3.6\nfree: 0\n")
    monkeypatch.setenv("MYNAH_PRICES", str(tmp_path / "prices.yaml"))
    monkeypatch.setenv("MYNAH_NODE_KIND", "huge")


@pytest.fixture
def workdir(tmp_path, tiny_checkpoint, priced):
    """A bot with a champion and two runs, of which one failed; and one that only ever failed."""
    outputs = make_outputs(tmp_path / "wren", tiny_checkpoint)
    report = outputs / "report" / "metrics.json"
    report.write_text(json.dumps(json.loads(report.read_text()) | {"answers_per_second": 4.0}))
    register_all({"wren": outputs}, tmp_path / "work")
    store = open_store(tmp_path / "work")
    for name, status in (("wren", "FAILED"), ("owl", "FAILED")):
        run = start_parent(store, name, {})
        for step in ("fetch", "finetune"):
            with step_run(step, store, run):
                pass
        end_run(store, run, status)
    return tmp_path / "work"


def test_what_bots_cost(workdir, mynah):
    done = mynah("costs", "--json", "--workdir", workdir)
    assert done.returncode == 0, done.stderr
    wren, owl = sorted(json.loads(done.stdout), key=lambda record: record["name"], reverse=True)
    assert (wren["name"], wren["runs"], owl["name"], owl["runs"]) == ("wren", 2, "owl", 1)
    assert wren["cost_usd"] == pytest.approx(10 * wren["seconds"], rel=1e-2)
    assert wren["usd_per_1000_answers"] == 0.25  # 250 s of 3.60 an hour
    assert owl["usd_per_1000_answers"] is None
    assert owl["cost_usd"] > 0
    table = mynah("costs", "--workdir", workdir).stdout
    assert all(text in table for text in ("wren", "owl", "$0.2500"))


def test_what_each_step_of_a_bots_runs_cost(workdir, mynah):
    runs = json.loads(mynah("costs", "wren", "--json", "--workdir", workdir).stdout)
    assert [(run["status"], [step["step"] for step in run["steps"]]) for run in runs] == [
        ("FAILED", ["fetch", "finetune"]),
        ("FINISHED", ["filter", "register"]),
    ]
    for run in runs:
        assert run["cost_usd"] == pytest.approx(sum(step["cost_usd"] for step in run["steps"]), abs=1e-5)
        assert {step["node"] for step in run["steps"]} == {"huge"}
    assert "register" in mynah("costs", "wren", "--workdir", workdir).stdout


def test_a_bot_that_only_ever_failed_has_costs_and_an_unknown_one_is_refused(workdir, mynah):
    assert len(json.loads(mynah("costs", "owl", "--json", "--workdir", workdir).stdout)) == 1
    done = mynah("costs", "wrem", "--workdir", workdir)
    assert (done.returncode, done.stdout) == (2, "")
    assert "wrem" in done.stderr


def test_a_later_version_keeps_what_its_answers_cost(workdir):
    add_version(workdir, 3.0)
    versions = Registry(open_store(workdir)).bot("wren").versions
    assert [version.number("mynah.usd_per_1000_answers") for version in versions] == [0.25, 0.25]


def test_the_card_says_what_it_cost(tmp_path, priced):
    folders = card_inputs.CardInputFiles().write(tmp_path)
    assert "| Cost |" not in write(read_inputs("wren", *folders))  # nobody recorded it
    report = folders[2] / "metrics.json"
    report.write_text(json.dumps(json.loads(report.read_text()) | {"answers_per_second": 4.0}))
    card = write(read_inputs("wren", *folders, RunRecord(cost_usd=1.5)))
    assert "| Cost | $1.5000" in card
    assert "about $0.2500 per 1,000 answers" in card


def test_a_budget_leaves_something_to_the_steps_after(priced, capsys, monkeypatch):
    assert seconds_within_budget(10_000.0, 4000.0) == pytest.approx(500.0)  # 9,000 - 4,000 dollars at 10 a second
    assert seconds_within_budget(1000.0, 500.0) == pytest.approx(20.0)  # half a minute's 300 are more than a tenth
    assert seconds_within_budget(0.0, 40.0) is None
    with pytest.raises(InputError, match="leaves nothing for fine-tuning"):
        seconds_within_budget(10_000.0, 9000.0)
    monkeypatch.setenv("MYNAH_NODE_KIND", "free")
    assert seconds_within_budget(100.0, 0.0) is None
    assert "sets no limit" in capsys.readouterr().err


def test_spent_so_far(workdir, monkeypatch):
    store = open_store(workdir)
    run = start_parent(store, "wren", {})
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.tracking_uri)
    assert (spent_so_far(""), spent_so_far(run)) == (None, 0.0)
    with step_run("fetch", store, run):
        pass
    assert spent_so_far(run) > 0
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert spent_so_far(run) is None


def test_a_serving_node_without_a_price_is_named(priced, monkeypatch):
    monkeypatch.setenv("MYNAH_SERVING_NODE_KIND", "moon")
    with pytest.raises(InputError, match="'moon' has no price"):
        usd_per_1000_answers(1.0)
