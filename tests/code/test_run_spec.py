"""One specification of a run: what the command line, the launcher, the submission and the pipelines take from it."""

from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Annotated

import pytest
import typer

from components.fetch.tables.columns import TableColumns
from components.run_inputs import read_inputs
from components.sweep.settings import Sweep
from mynah.core.errors import InputError
from mynah.registry.versions import parse_version
from mynah.training.recipe import build
from pipelines.cli import runs
from pipelines.cli.main import app
from pipelines.flat_signature import FIXED, MadeBy, flatten
from pipelines.kubeflow import submit as submissions
from pipelines.kubeflow.cluster_spec import ClusterSpec, Connection
from pipelines.kubeflow.submit import Submission
from pipelines.local import launcher
from pipelines.placement import Placement
from pipelines.run_spec import RunSpec

WREN = ("--name", "wren", "--from", "sample")
KFP_TYPES = {str: "String", list: "List"}


class ReachedError(Exception):
    """What a command was about to do, with what."""


@pytest.fixture
def ask(monkeypatch):
    """Runs a command line up to where a run would begin; returns what it would begin with."""

    def stop(*arguments):
        raise ReachedError(*arguments)

    monkeypatch.setattr(launcher, "launch", stop)
    monkeypatch.setattr(runs, "_submit", stop)

    def asked(*arguments):
        with pytest.raises(ReachedError) as found:
            app([*map(str, arguments)], standalone_mode=False)
        return found.value.args

    return asked


def test_a_command_without_options_asks_for_the_defaults(ask, tmp_path, monkeypatch):
    monkeypatch.setenv("MYNAH_S3_BUCKET", "b")
    for name in ("MYNAH_KUBE_CONTEXT", "KF_PIPELINES_ENDPOINT", "KF_PIPELINES_NAMESPACE"):
        monkeypatch.delenv(name, raising=False)
    plain = RunSpec("wren", ["s3://b/wren.zip"], "permission")
    s3 = ("--name", "wren", "--from", "s3://b/wren.zip", "--basis", "permission")
    assert ask("run", *WREN, "--workdir", tmp_path) == (RunSpec("wren", ["sample"]), tmp_path, "subprocess")
    assert ask("sweep", *WREN, "--workdir", tmp_path) == (RunSpec("wren", ["sample"], sweep=Sweep()), tmp_path)
    assert ask("submit", *s3) == (Submission([plain], ClusterSpec(bucket="b")), Connection(), True, False)
    (tmp_path / "fleet.yaml").write_text("- {name: wren, from: 's3://b/wren.zip'}")
    fleet = ask("fleet", tmp_path / "fleet.yaml", "--basis", "permission")
    assert fleet == (Submission([plain], ClusterSpec(bucket="b"), fleet=True), Connection(), True, False)


def test_every_option_arrives(ask, tmp_path):
    (tmp_path / "recipe.yaml").write_text("dropout: 0.1")
    options = (
        "--basis", "own-account", "--base-model", "gpt2", "--rules", "huggingtweets", "--recipe", tmp_path / "recipe.yaml",
        "--effort", "best", "--weight", "ann=0.7", "--set", "seed=7", "--limit", 9, "--budget", 2, "--max-cost", 3,
    )  # fmt: skip
    recipe = build("default", {"dropout": 0.1, "effort": "best", "weights": {"ann": 0.7}, "seed": 7})
    common = {
        "basis": "own-account", "base_model": "gpt2", "rules": "huggingtweets", "recipe": recipe, "limit": 9, "budget": 2.0,
        "max_cost": 3.0,
    }  # fmt: skip
    spec, *_ = ask("run", *WREN, *options, "--continue")
    assert spec == RunSpec("wren", ["sample"], **common, continue_training=True)
    spec, *_ = ask("sweep", *WREN, *options, "--trials", 3, "--minutes", 5)
    assert spec == RunSpec("wren", ["sample"], **common, sweep=Sweep(3, "default", 5.0))
    cluster = (
        "--parallel", 2, "--serve-in", "bots", "--no-gpu", "--gpu-pool", "a=b", "--gpus", 2, "--gpu-kind", "gpu-spot", "--deadline", 3,
        "--keep-minutes", 90,
        "--service-account", "me", "--bucket", "b", "--context", "c", "--endpoint", "e", "--namespace", "n", "--token-file", "t",
    )  # fmt: skip
    submission, connection, wait, _ = ask("submit", *WREN, *options, "--trials", 3, "--minutes", 5, *cluster, "--no-wait")
    placement = Placement(gpu=False, gpu_pool="a=b", gpus=2, gpu_kind="gpu-spot", deadline=3.0, keep_minutes=90.0)
    assert submission.runs == [spec]
    assert submission.cluster == ClusterSpec(
        serve_in="bots", placement=placement, at_once=2, service_account="me", bucket="b", context="c"
    )
    assert (connection, wait) == (Connection("e", "n", Path("t")), False)


def test_the_columns_of_a_table_arrive_and_need_a_table(ask, tmp_path):
    (tmp_path / "a.csv").write_text("body\nx\n")
    columns = ("--text-column", "body", "--author-column", "by", "--time-column", "when")
    named = TableColumns("body", "by", "when")
    table = ("--name", "wren", "--from", tmp_path / "a.csv", "--basis", "permission")
    for command in ("run", "sweep"):
        spec, *_ = ask(command, *table, *columns)
        assert spec.columns == named
        assert spec.inputs().columns == {"text": "body", "author": "by", "time": "when"}
    submission, *_ = ask("submit", *table, *columns, "--bucket", "b")
    assert submission.runs[0].columns == named
    (tmp_path / "fleet.yaml").write_text("- {name: wren, from: a.csv}")
    fleet, *_ = ask("fleet", tmp_path / "fleet.yaml", "--basis", "permission", *columns, "--bucket", "b")
    assert fleet.runs[0].columns == named
    for command in (("run",), ("fetch", "--out", tmp_path / "raw")):
        with pytest.raises(InputError, match="--text-column 'body' is for a table"):
            app(
                [*map(str, (*command, "--from", "sample", *columns)), *(["--name", "wren"] if command == ("run",) else [])],
                standalone_mode=False,
            )
    assert TableColumns.from_record(named.to_record()) == named


def test_whatever_it_costs_is_an_agreement_of_its_own(ask):
    assert ask("run", *WREN, "--yes")[0].max_cost == -1
    assert ask("run", *WREN, "--yes", "--max-cost", 5)[0].max_cost == 5
    with pytest.raises(InputError, match="--max-cost is -5"):
        app(["run", *WREN, "--max-cost", "-5"], standalone_mode=False)


def test_a_searched_space_is_that_of_the_preset(ask):
    assert ask("sweep", *WREN, "--space", "huggingtweets")[0].recipe.preset == "huggingtweets"
    assert ask("sweep", *WREN, "--set", "preset=huggingtweets")[0].sweep == Sweep(space="huggingtweets")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"name": "Wren!"}, "can't be a bot's name"), ({"sources": []}, "has no sources"), ({"sources": ["none.zip"]}, "none.zip"),
        ({"sources": ["s3://b/wren.csv"]}, "basis on which the posts may be used"), ({"basis": "whim"}, "whim"), ({"rules": "best"}, "best"),
        ({"budget": -1.0}, "-1"), ({"sources": ["x://ann"], "basis": "permission"}, "X charges"),
        ({"sweep": Sweep(), "continue_training": True}, "starts from the base model"),
        ({"sweep": Sweep(space="huggingtweets")}, "belongs to the preset"),
    ],
)  # fmt: skip
def test_nonsense_is_refused_when_the_specification_is_built(change, problem):
    with pytest.raises(InputError, match=problem):
        RunSpec(**{"name": "wren", "sources": ["sample"], **change})


def test_a_search_without_trials_is_refused(ask):
    for option in (("--space", "default"), ("--minutes", "5")):
        with pytest.raises(InputError, match="--space and --minutes are for a search"):
            app(["submit", *WREN, *option], standalone_mode=False)


def test_what_the_steps_are_told_is_written_and_read_as_it_is(tmp_path):
    spec = RunSpec("wren", ["sample"], "permission", "gpt2", "huggingtweets", build("default", {"epochs": 2, "seed": 7}), 9, 1.5)
    told = spec.inputs(only_news=True, serve_in="bots")
    assert read_inputs(told.write(tmp_path / "run.json")) == told
    assert (told.name, told.sources, told.basis, told.base_model, told.rules) == (
        "wren", ["sample"], "permission", "gpt2", "huggingtweets",
    )  # fmt: skip
    assert (told.limit, told.budget, told.seed, told.start, told.only_news, told.serve_in) == (9, 1.5, 7, "base", True, "bots")
    assert build(**told.recipe) == spec.recipe
    assert RunSpec("wren", ["sample"]).inputs().base_model == "smollm2"
    assert RunSpec("wren", ["sample"], continue_training=True).inputs().start == "champion"
    searched = RunSpec("wren", ["sample"], sweep=Sweep(3, minutes=5.0)).inputs()
    assert (searched.space, searched.minutes) == ("default", 5.0)


def inputs_of(pipeline):
    """A pipeline's parameters as Kubeflow sees them."""
    return {name: each.type.partition("[")[0] for name, each in pipeline.component_spec.inputs.items()}


@pytest.mark.slow
@pytest.mark.parametrize("only_news", [False, True])
def test_the_pipelines_take_what_a_submission_gives(only_news):
    from pipelines.definitions.bot import bot, on_a_cluster
    from pipelines.definitions.fleet import fleet_on_a_cluster
    from pipelines.definitions.sweep import sweep, sweep_on_a_cluster

    spec, searched = RunSpec("wren", ["sample"]), RunSpec("wren", ["sample"], sweep=Sweep(2))
    cluster, reference = ClusterSpec(bucket="b"), "s3://b/runs/0123456789abcdef/spec.json#sha256=00"
    for submission, pipeline in (
        (Submission([spec], cluster), on_a_cluster(Placement(), only_news)),
        (Submission([searched], cluster), sweep_on_a_cluster(Placement(), 4)),
        (Submission([spec], cluster, fleet=True), fleet_on_a_cluster(Placement(), 4, only_news)),
    ):
        given = submission.arguments([reference])
        assert inputs_of(pipeline) == {name: KFP_TYPES[type(value)] for name, value in given.items()}
        assert reference in (given.get("spec"), *given.get("specs", ()))
    assert inputs_of(bot) == {"spec": "String", "parent_run": "String"}
    assert inputs_of(sweep) == {"spec": "String", "trials": "List", "parent_run": "String"}
    assert Submission([searched], cluster).arguments([reference])["trials"] == [1, 2]


def test_a_fleet_has_at_most_so_many_bots(monkeypatch):
    monkeypatch.setattr(submissions, "MAX_BOTS", 1)
    with pytest.raises(InputError, match="the fleet has 2 bots"):
        Submission([RunSpec(name, ["sample"]) for name in ("wren", "heron")], ClusterSpec(bucket="b"), fleet=True)


def doubled(number: Annotated[int, typer.Option(help="It is doubled.")] = 1) -> int:
    return 2 * number


@dataclass(frozen=True)
class Point:
    label: str
    x: Annotated[int, MadeBy(doubled)] = 0
    hidden: Annotated[int, FIXED] = 3
    tags: list[str] | None = None


def test_a_function_of_dataclasses_is_one_of_their_fields():
    got = []

    @flatten
    def show(
        point: Point, make: Annotated[Callable[..., Point], MadeBy(Point, label=None, x=None, tags=None)], size: int = 5
    ) -> None:
        """Show it."""
        got.append((point, make(label="other"), size))

    found = signature(show)
    assert (show.__name__, show.__doc__) == ("show", "Show it.")
    assert {name: each.default for name, each in found.parameters.items()} == {
        "label": found.empty, "number": 1, "tags": None, "size": 5,
    }  # fmt: skip
    show("a", number=4)
    assert got == [(Point("a", 8), Point("other"), 5)]


def test_what_two_dataclasses_call_differently_is_no_parameter():
    @dataclass
    class Other:
        label: int = 0

    def both(point: Point, other: Other) -> None: ...

    with pytest.raises(AssertionError, match="label is declared twice, differently"):
        flatten(both)


@pytest.mark.parametrize(
    ("text", "version"), [("3", 3), ("champion", "champion"), ("0003", 3), ("9" * 400, "9" * 400), ("³", "³")]
)
def test_a_version_is_a_number_or_an_alias(text, version):
    assert parse_version(text) == version
