"""Registering and promoting on a real MLflow store: who serves after which promotion, and what is refused."""

import json
import shutil
import sqlite3
import subprocess
from collections import Counter
from contextlib import closing

import pytest
from registry_inputs import FOLDERS, add_version, aliases, make_outputs, register, register_all

from components.promote.compare import NATS
from components.promote.compare import TOLERANCE as TOLERANCES
from components.promote.step import promote
from components.register.step import register_folders
from mynah.core.errors import InputError
from mynah.core.files import digest
from mynah.mlflow_client.store import BOT_TAG
from mynah.registry.history import events
from mynah.registry.registry import Registry
from mynah.tracking.open import open_store
from tests.fork_client import RUN_CODE

TOLERANCE = TOLERANCES[NATS]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory, tiny_checkpoint):
    """What the steps before `register` leave: the folders model, data, report and card."""
    return make_outputs(tmp_path_factory.mktemp("outputs"), tiny_checkpoint)


@pytest.fixture(scope="module")
def registered(tmp_path_factory, outputs):
    """A work folder with wren version 1, by the command line."""
    workdir = tmp_path_factory.mktemp("registry") / "work"
    done = register(outputs, workdir)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "wren version 1 registered; `mynah promote wren` promotes it\n"
    assert set(done.stderr.splitlines()) <= {"Opening the registry …", "Registering …"}  # said where it takes long
    return workdir


@pytest.fixture
def workdir(registered, tmp_path):
    """A copy of that folder, for one test alone."""
    shutil.copytree(registered, tmp_path / "work")
    return tmp_path / "work"


def test_a_version_says_where_it_comes_from(registered, outputs):
    [found] = Registry(open_store(registered)).bot("wren").versions
    assert found.tags["mynah.data_digest"] == digest(outputs / "data" / "train.jsonl")
    assert found.tags["mynah.held_out_digest"] == digest(outputs / "data" / "held_out.jsonl")
    assert (found.tags["mynah.consent"], found.tags["mynah.authors"]) == ("own-account", '["ann"]')
    assert (found.tags["mynah.base_model"], found.tags["mynah.seed"], found.passed, found.held_out_loss) == (
        "fledgling",
        "42",
        True,
        4.0,
    )
    assert found.tags["mynah.base_license"] == "apache-2.0"
    assert len(found.tags["mynah.model_digest"]) == 64


def test_the_runs_of_registering_by_hand_are_finished(registered):
    client = Registry(open_store(registered)).client
    runs = client.search_runs([client.get_experiment_by_name("mynah").experiment_id])
    assert {run.info.run_name: run.info.status for run in runs} == {
        "wren": "FINISHED",
        "filter": "FINISHED",
        "register": "FINISHED",
    }


def test_who_serves_after_each_promotion(workdir):
    store = open_store(workdir)
    assert promote("wren", store).promoted
    assert aliases(workdir) == {"challenger": 1, "champion": 1}
    assert promote("wren", store).promoted  # again: no harm, and `previous` is not the champion itself
    assert aliases(workdir) == {"challenger": 1, "champion": 1}

    worse = promote("wren", store, add_version(workdir, 4.0 + 2 * TOLERANCE))
    assert not worse.promoted
    assert "trails the champion's 4.0 (version 1, nats per token)" in worse.reasons[0]
    assert aliases(workdir) == {"challenger": 2, "champion": 1}

    within = promote("wren", store, add_version(workdir, 4.0 + TOLERANCE / 2))
    assert within.promoted
    assert aliases(workdir) == {"challenger": 3, "champion": 3, "previous": 1}

    # Measured on other posts: the losses on the tags do not compare, so both are scored on posts that neither was trained on.
    elsewhere = promote("wren", store, add_version(workdir, 9.0, posts="c" * 64))
    assert (elsewhere.promoted, elsewhere.comparison["posts"]) == (True, 20)
    assert elsewhere.comparison["loss"] == elsewhere.comparison["champion_loss"]  # the same weights
    assert aliases(workdir) == {"challenger": 4, "champion": 4, "previous": 3}

    refused = promote("wren", store, add_version(workdir, 1.0, verdict="failed: distinct_2"))
    assert refused.reasons == ["the gate did not pass it (failed: distinct_2)"]
    assert aliases(workdir) == {"challenger": 5, "champion": 4, "previous": 3}

    said = {found.version: found.tags["mynah.promotion"] for found in Registry(store).bot("wren").versions}
    assert [said[number].partition(":")[0] for number in range(1, 6)] == [
        "promoted",
        "refused",
        "promoted",
        "promoted",
        "refused",
    ]


def test_what_cannot_be_compared_is_refused_and_may_be_forced(workdir, mynah):
    assert mynah("promote", "wren", "--workdir", workdir)[0] == 0
    number = add_version(workdir, 1.0, posts="c" * 64)
    client = Registry(open_store(workdir)).client
    run = next(run for run in client.search_runs(["1"]) if run.info.run_name == "filter")
    # Name the copy's run another step, as if nothing had been recorded.
    client.set_tag(run.info.run_id, "mynah.step", "elsewhere")
    code, _, err = mynah("promote", "wren", "--workdir", workdir)
    assert (code, "cannot be compared with the champion (version 1) on the same posts" in err, len(err.splitlines())) == (
        4,
        True,
        2,
    )
    code, out, _ = mynah("promote", "wren", "--workdir", workdir, "--force", "the author likes it better")
    assert (code, f"wren version {number} is the champion, forced against" in out) == (0, True)
    record = json.loads(mynah("show", "wren", "--workdir", workdir, "--json")[1])
    assert record["aliases"]["champion"] == number
    last = record["history"][-1]
    assert (last["action"], last["forced"], len(last["reasons"])) == ("promote", "the author likes it better", 1)
    assert last["who"]
    found = next(version for version in Registry(open_store(workdir)).bot("wren").versions if version.version == number)
    assert found.tags["mynah.promotion_forced"] == "the author likes it better"


def test_promote_on_the_command_line(workdir, mynah):
    assert mynah("promote", "wren", "--workdir", workdir)[:2] == (0, "wren version 1 is the champion\n")
    add_version(workdir, 5.0)
    code, out, err = mynah("promote", "wren", "--workdir", workdir)
    assert (code, out) == (4, "")
    assert "wren version 2 was not promoted" in err
    code, out, _ = mynah("promote", "wren", "--workdir", workdir, "--json")
    assert (code, json.loads(out)["promoted"]) == (4, False)
    for wrong, words in ((["wern"], "Did you mean 'wren'?"), (["wren", "--version", "9"], "Its versions: 2, 1.")):
        code, out, err = mynah("promote", *wrong, "--workdir", workdir)
        assert (code, out) == (2, "")
        assert words in err


AT_ONCE = """
import os, sys
import components.promote.step, mlflow
from pipelines.cli.main import main
*command, versions = sys.argv[1:]
for version in versions.split():
    if not os.fork():
        sys.argv = ["mynah", *command, version]
        main()
for _ in versions.split():
    assert os.wait()[1] == 0
"""


def test_five_promotions_at_once_end_as_if_one_after_the_other(workdir):
    versions = [1, *(add_version(workdir, 4.0) for _ in range(4))]
    command = ["promote", "wren", "--workdir", workdir, "--version", " ".join(map(str, versions))]
    done = subprocess.run([*RUN_CODE, AT_ONCE, *command], capture_output=True, text=True, timeout=120)
    assert (done.returncode, set(done.stderr.splitlines()) <= {"Promoting …"}) == (0, True), done.stderr
    bot = Registry(open_store(workdir)).bot("wren")
    assert Counter(found.tags["mynah.promotion"] for found in bot.versions) == {"promoted": 5}
    history = events(bot)
    assert sorted(event.version for event in history) == versions
    assert [event.was_champion for event in history] == [0, *(event.version for event in history[:-1])]
    assert bot.aliases["champion"] == history[-1].version
    assert bot.aliases["previous"] == history[-2].version


def test_a_champion_whose_files_are_gone(workdir, mynah):
    store = open_store(workdir)
    promote("wren", store)
    client = Registry(store).client
    [model] = client.search_logged_models([client.get_experiment_by_name("mynah").experiment_id])
    # Take the registry's word away: it names a folder that does not exist.
    moved = json.dumps(f"{workdir}/gone")[1:-1]
    with closing(sqlite3.connect(workdir / "mlflow.db")) as database, database:
        database.execute("UPDATE logged_models SET artifact_location = ? WHERE model_id = ?", (moved, model.model_id))
        database.execute("UPDATE model_versions SET storage_location = ?", (moved,))
    for command in (["generate", "wren"], ["serve", "wren", "--port", "0"]):
        code, out, err = mynah(*command, "--workdir", workdir)
        assert (code, out) == (2, "")
        assert "the files of wren version 1 are gone" in err
        assert len(err.splitlines()) == 2


def test_models_of_others_in_the_same_registry_are_no_bots(workdir, mynah):
    registry = Registry(open_store(workdir))
    registry.client.create_registered_model("churn")
    assert [bot.name for bot in registry.bots()] == ["wren"]
    registry.client.create_registered_model("heron", tags={BOT_TAG: "heron"})
    assert [(bot.name, len(bot.versions)) for bot in registry.bots()] == [("heron", 0), ("wren", 1)]
    assert json.loads(mynah("bots", "--workdir", workdir, "--json")[1])[0]["champion"] is None
    with pytest.raises(InputError, match="heron has no challenger"):
        promote("heron", registry.store)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("model", "mynah finetune"),
        ("data", "mynah filter"),
        ("report", "mynah evaluate"),
        ("card", "mynah card"),
    ],
)
def test_a_wrong_folder_is_named_before_a_store_is_made(outputs, tmp_path, wrong, said):
    folders = {name: outputs / name for name in FOLDERS} | {wrong: tmp_path / "none"}
    with pytest.raises(InputError, match=said):
        register_folders("wren", *folders.values(), tmp_path / "work")
    assert list(tmp_path.iterdir()) == []


def test_a_report_without_the_loss_is_refused(outputs, tmp_path):
    shutil.copytree(outputs / "report", tmp_path / "report")
    (tmp_path / "report" / "metrics.json").write_text("{}")
    with pytest.raises(InputError, match=r"metrics\.json has no 'held_out_loss'"):
        register_folders("wren", outputs / "model", outputs / "data", tmp_path / "report", outputs / "card", tmp_path / "work")
    assert not (tmp_path / "work").exists()


def test_registering_leaves_the_model_folder_as_it_was(outputs, tmp_path):
    """The version is made of hard links; neither the model's own README nor its config is written through one."""
    for name in FOLDERS:
        shutil.copytree(outputs / name, tmp_path / name)
    (tmp_path / "model" / "README.md").write_text("my own notes\n")
    (tmp_path / "card" / "config.json").write_text("{}")
    before = digest(tmp_path / "model")
    register_all({"wren": tmp_path}, tmp_path / "work", promoted=False)
    assert digest(tmp_path / "model") == before
    registry = Registry(open_store(tmp_path / "work"))
    kept = registry.checkpoint(registry.bot("wren").versions[0])
    assert (kept / "README.md").read_text() == "# A bot of ann\n"
    assert (kept / "config.json").read_bytes() == (tmp_path / "model" / "config.json").read_bytes()


@pytest.mark.parametrize(
    ("file", "path", "value"),
    [("metrics.json", ["held_out_loss"], value) for value in ("abc", None, [1], float("nan"), float("inf"), True)]
    + [("verdict.json", ["passed"], False), ("verdict.json", ["checks", 0, "passed"], "false"),
       ("verdict.json", ["checks", 0, "value"], float("nan")), ("verdict.json", ["checks", 0, "metric"], None)],
)  # fmt: skip
def test_a_report_that_is_none_is_refused(outputs, tmp_path, mynah, file, path, value):
    shutil.copytree(outputs / "report", tmp_path / "report")
    record = found = json.loads((tmp_path / "report" / file).read_text())
    for step in path[:-1]:
        found = found[step]
    found[path[-1]] = value
    (tmp_path / "report" / file).write_text(json.dumps(record))
    folders = [outputs / "model", outputs / "data", tmp_path / "report", outputs / "card"]
    code, out, err = mynah("register", "--name", "wren", *folders, "--workdir", tmp_path / "work")
    assert (code, out, len(err.splitlines())) == (2, "", 2)
    assert not (tmp_path / "work").exists()


def test_a_loss_that_somebody_tagged_wrong_never_wins(workdir, mynah):
    assert mynah("promote", "wren", "--workdir", workdir)[0] == 0
    client = Registry(open_store(workdir)).client
    for loss in ("abc", "nan", ""):
        number = add_version(workdir, 1.0)
        client.set_model_version_tag("wren", str(number), "mynah.held_out_loss", loss)
        code, _, err = mynah("promote", "wren", "--workdir", workdir)
        assert (code, "trails the champion's 4.0" in err) == (4, True)
    assert mynah("bots", "--workdir", workdir)[0] == 0


@pytest.mark.parametrize("name", ["a/../../esc/x", "", "w" * 300, "Wren", "caf\udce9"])
def test_a_name_that_is_none_makes_nothing(workdir, mynah, name):
    before = {path.name for path in (*workdir.iterdir(), *workdir.parent.iterdir())}
    for command in ("promote", "generate", "serve"):
        code, out, err = mynah(command, name, "--workdir", workdir)
        assert (code, out, len(err.splitlines())) == (2, "", 2), command
    assert {path.name for path in (*workdir.iterdir(), *workdir.parent.iterdir())} == before


def test_a_store_that_is_none_is_told_as_one(tmp_path, mynah):
    (tmp_path / "mlflow.db").write_text("garbage\n" * 100)
    for command in (["bots"], ["promote", "wren"]):
        code, out, err = mynah(*command, "--workdir", tmp_path)
        assert (code, out, len(err.splitlines())) == (3, "", 2)
        assert "mlflow.db failed: " in err


def test_a_work_folder_that_no_address_can_hold(outputs, tmp_path, mynah):
    folders = [outputs / name for name in FOLDERS]
    code, _, err = mynah("register", "--name", "wren", *folders, "--workdir", tmp_path / "w?x")
    assert (code, "holds '?'" in err, list(tmp_path.iterdir())) == (2, True, [])
