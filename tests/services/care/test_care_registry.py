"""Taking care of bots in a work folder: promotions killed between two calls, rollback, show, diff, prune and the doctor."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import warnings
from contextlib import closing

import pytest
from fake_kubernetes import SERVICES, FakeKubernetes, write_kubeconfig
from PIL import Image
from registry_inputs import FOLDERS, add_version, aliases, make_outputs, register_all

from components.fetch import fetch
from components.filter import FilterSettings, filter_posts
from components.lineage import record_data, record_sources
from components.promote import promote
from components.promote.history import events
from components.register import _fluent
from components.register import register as register_version
from components.registry import Registry
from components.store import client, open_store
from components.tracking import end_run, start_parent, step_run


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny_checkpoint):
    """A work folder with wren, whose version 1 is the champion."""
    folder = tmp_path_factory.mktemp("made")
    register_all({"wren": make_outputs(folder / "wren", tiny_checkpoint)}, folder / "work")
    return folder / "work"


@pytest.fixture
def workdir(made, tmp_path):
    """A copy with artifacts of its own."""
    shutil.copytree(made, tmp_path / "work")
    with closing(sqlite3.connect(tmp_path / "work" / "mlflow.db")) as database, database:
        for table, column in (("runs", "artifact_uri"), ("logged_models", "artifact_location"), ("experiments", "artifact_location"),
                              ("model_versions", "storage_location")):  # fmt: skip
            database.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (str(made), str(tmp_path / "work")))
    return tmp_path / "work"


# Kills the process for real before the N-th call that writes to the registry.
KILL = """
import os, signal, sys
from mlflow.tracking._model_registry.client import ModelRegistryClient as MlflowClient
count = int(sys.argv.pop(1))
def killing(write):
    def call(*args, **kwargs):
        global count
        if count == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        count -= 1
        return write(*args, **kwargs)
    return call
for name in ("set_registered_model_tag", "set_model_version_tag", "set_registered_model_alias"):
    setattr(MlflowClient, name, killing(getattr(MlflowClient, name)))
from pipelines.cli import main
main()
"""


def test_a_promotion_killed_between_any_two_calls_is_completed_by_the_next(workdir, tmp_path):
    number = add_version(workdir, 3.0)
    calls = 0
    while True:
        copy = tmp_path / f"copy-{calls}"
        shutil.copytree(workdir, copy)
        killed = subprocess.run(
            [sys.executable, "-c", KILL, str(calls), "promote", "wren", "--workdir", copy], capture_output=True
        )
        if killed.returncode == 0:
            break
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        # What comes next, a refused promotion, finds the aliases as before or as after, never in between.
        promote("wren", open_store(copy), add_version(copy, 9.0))
        bot = Registry(open_store(copy)).bot("wren")
        decided = [event.action for event in events(bot)]
        if calls == 0:  # nothing had been written yet
            assert (decided, bot.aliases["champion"]) == (["promote", "refuse"], 1)
        else:
            assert decided == ["promote", "promote", "refuse"]
            assert (bot.aliases["champion"], bot.aliases["previous"]) == (number, 1)
        assert all(event.done for event in events(bot))
        calls += 1
    assert calls >= 6  # it did get into the middle


def test_rollback_swaps_and_swaps_again(workdir, mynah):
    done = mynah("rollback", "wren", "--workdir", workdir)
    assert (done.returncode, "wren has no previous champion" in done.stderr) == (2, True)
    add_version(workdir, 3.0)
    assert promote("wren", open_store(workdir)).promoted
    for champion, previous in ((1, 2), (2, 1)):
        done = mynah("rollback", "wren", "--workdir", workdir)
        assert done.stdout == f"wren version {champion} is the champion again, and version {previous} the previous one\n"
        assert aliases(workdir) == {"challenger": 2, "champion": champion, "previous": previous}
    history = json.loads(mynah("show", "wren", "--workdir", workdir, "--json").stdout)["history"]
    assert [(event["action"], event.get("was_champion", 0), event["champion"]) for event in history] == [
        ("promote", 0, 1), ("promote", 1, 2), ("rollback", 2, 1), ("rollback", 1, 2),
    ]  # fmt: skip


def test_an_alias_that_a_person_moved_on_mlflows_page_is_where_promotion_starts(workdir):
    number = add_version(workdir, 3.0)
    Registry(open_store(workdir)).client.set_registered_model_alias("wren", "champion", str(number))
    assert promote("wren", open_store(workdir), add_version(workdir, 2.9)).previous == number
    assert aliases(workdir) == {"challenger": 3, "champion": 3, "previous": number}


def test_show_and_diff(workdir, mynah):
    add_version(workdir, 3.5)
    shown = mynah("show", "wren", "--workdir", workdir).stdout
    assert "own-account" in shown
    assert "none → 1" in shown
    record = json.loads(mynah("show", "wren", "--workdir", workdir, "--json").stdout)
    assert [version["version"] for version in record["versions"]] == [2, 1]
    assert record["versions"][1]["aliases"] == ["champion"]
    assert (record["versions"][1]["consent"], record["versions"][1]["verdict"]) == ("own-account", "passed")
    found = json.loads(mynah("diff", "wren", "champion", "2", "--workdir", workdir, "--json").stdout)
    assert found["versions"] == [1, 2]
    assert found["data"] == {"same": True, "in_both": 40, "only_in": [0, 0]}
    assert mynah("diff", "wren", "1", "2", "--workdir", workdir).returncode == 0
    for wrong in ("3", "best", "", "9" * 5000, "-1"):
        done = mynah("diff", "wren", "1", "--workdir", workdir, "--", wrong)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 2), done.stderr


def test_hostile_tags_are_shown_as_text(workdir, mynah):
    api = Registry(open_store(workdir)).client
    api.set_model_version_tag("wren", "1", "mynah.consent", "[bold]\x1b]0;owned\x07")
    api.set_registered_model_tag("wren", "mynah.history.000009", "garbage")
    api.set_registered_model_tag("wren", "mynah.history.x", '{"number": 1}')
    for number, change in enumerate(({"at": 5}, {"who": None}, {"champion": "abc", "done": False}, {"reasons": "x"}), 2):
        event = json.loads(Registry(open_store(workdir)).bot("wren").tags["mynah.history.000001"]) | {"number": number} | change
        api.set_registered_model_tag("wren", f"mynah.history.{number:06d}", json.dumps(event))
    api.create_registered_model("o'brien", tags={"mynah.bot": "x"})
    api.set_model_version_tag("wren", "1", "mynah.cost_usd", "nan")
    for command in (["show", "wren"], ["diff", "wren", "1", "1"], ["bots"], ["doctor"]):
        done = mynah(*command, "--workdir", workdir)
        assert (done.returncode, "\x1b" in done.stdout) == (0, False), (command, done.stderr)
    assert "[bold]" in mynah("show", "wren", "--workdir", workdir).stdout
    add_version(workdir, 3.0)
    assert promote("wren", open_store(workdir)).promoted
    assert [event.number for event in events(Registry(open_store(workdir)).bot("wren"))] == [1, 10]


def version_with_files(workdir, outputs):
    register_all({"wren": outputs}, workdir, promoted=False)
    return Registry(open_store(workdir)).bot("wren").versions[0]


def test_prune_never_takes_what_an_alias_refers_to(workdir, tmp_path, tiny_checkpoint, mynah):
    outputs = make_outputs(tmp_path / "outputs", tiny_checkpoint)
    versions = [version_with_files(workdir, outputs) for _ in range(4)]  # 2 to 5
    promote("wren", open_store(workdir), 3)  # so 3 is the champion, 1 previous, 5 challenger
    registry = Registry(open_store(workdir))
    places = {version.version: registry.files(version) for version in registry.bot("wren").versions}
    dry = mynah("prune", "--keep", "1", "--dry-run", "--workdir", workdir)
    assert "would remove version wren 4" in dry.stdout
    assert len(registry.bot("wren").versions) == 5
    assert "Nothing to remove." in mynah("prune", "--keep", "1", "--days", "1", "--workdir", workdir).stdout
    done = json.loads(mynah("prune", "--keep", "1", "--workdir", workdir, "--json").stdout)
    assert [each["name"] for each in done] == ["wren 4", "wren 2"]
    assert [version.version for version in registry.bot("wren").versions] == [5, 3, 1]
    for number, place in places.items():
        assert bool(place.files()) == (number in (1, 3, 5))
    assert mynah("doctor", "--deep", "--workdir", workdir).returncode == 0
    assert len(versions) == 4


def test_prune_takes_models_and_runs_that_nothing_needs_any_more(workdir, tmp_path, tiny_checkpoint, mynah):
    outputs = make_outputs(tmp_path / "outputs", tiny_checkpoint)
    old = [version_with_files(workdir, outputs) for _ in range(2)]
    store = open_store(workdir)
    registry = Registry(store)
    orphan = registry.files(old[0])
    registry.client.delete_model_version("wren", "2")  # as somebody does on MLflow's page: its files stay
    assert orphan.files()
    assert "Nothing to remove." in mynah("prune", "--keep", "2", "--workdir", workdir).stdout  # it may be at work
    with closing(sqlite3.connect(workdir / "mlflow.db")) as database, database:
        for column in ("creation_timestamp_ms", "last_updated_timestamp_ms"):
            database.execute(f"UPDATE logged_models SET {column} = {column} - 100000000")
        database.execute("UPDATE runs SET start_time = start_time - 100000000, end_time = end_time - 100000000")
    done = json.loads(mynah("prune", "--keep", "2", "--workdir", workdir, "--json").stdout)
    assert [each["kind"] for each in done] == ["model"]
    assert orphan.files() == {}
    done = json.loads(mynah("prune", "--keep", "1", "--workdir", workdir, "--json").stdout)
    assert [each["kind"] for each in done] == ["run"]  # the run of version 2; 1 and 3 have aliases
    assert sorted(version.version for version in registry.bot("wren").versions) == [1, 3]
    assert mynah("doctor", "--workdir", workdir).returncode == 0


@pytest.mark.parametrize("folder", ["..", ".", "../runs", "/", ""])
def test_a_runs_tag_is_no_path(workdir, tmp_path, tiny_checkpoint, mynah, folder):
    store = open_store(workdir)
    for _ in range(2):
        run = start_parent(store, "wren", {"mynah.folder": folder})
        end_run(store, run, "FAILED")
    (workdir / "runs" / "mine").mkdir(parents=True)
    with closing(sqlite3.connect(workdir / "mlflow.db")) as database, database:
        database.execute("UPDATE runs SET start_time = start_time - 100000000, end_time = end_time - 100000000")
    done = mynah("prune", "--keep", "0", "--workdir", workdir)
    assert (done.returncode, "removing run" in done.stdout) == (0, True), done.stderr
    assert (workdir / "mlflow.db").exists()
    assert (workdir / "runs" / "mine").exists()
    assert mynah("doctor", "--deep", "--workdir", workdir).returncode == 0


@pytest.mark.parametrize(
    "how", [lambda _, version: version.source, lambda registry, version: registry.uri(version)], ids=["model", "address"]
)
def test_prune_leaves_the_files_that_another_version_has_too(workdir, tmp_path, tiny_checkpoint, mynah, how):
    """Whatever way it names them: MLflow's page copies versions between models."""
    outputs = make_outputs(tmp_path / "outputs", tiny_checkpoint)
    version = version_with_files(workdir, outputs)
    version_with_files(workdir, outputs)
    registry = Registry(open_store(workdir))
    registry.client.create_registered_model("prod", tags={"mynah.bot": "prod"})
    with _fluent(registry.store.tracking_uri):
        registry.client.create_model_version("prod", how(registry, version))
    assert "removing version wren 2" in mynah("prune", "wren", "--keep", "0", "--workdir", workdir).stdout
    assert registry.files(registry.bot("prod").versions[0]).files()


@pytest.fixture
def kubernetes(tmp_path, monkeypatch):
    """A cluster that serves wren from wherever `serve` says; in the kubeconfig it is called `fake`."""
    fake = FakeKubernetes()
    monkeypatch.setenv("KUBECONFIG", str(write_kubeconfig(tmp_path / "kubeconfig", fake.url)))
    yield fake
    fake.stop()


def serve(kubernetes, name, uri, **labels):
    kubernetes.put(SERVICES, "bots", name, metadata={"labels": labels}, spec={"predictor": {"model": {"storageUri": uri}}})


def test_prune_never_takes_what_an_inference_service_refers_to(workdir, tmp_path, tiny_checkpoint, mynah, kubernetes):
    outputs = make_outputs(tmp_path / "outputs", tiny_checkpoint)
    version = version_with_files(workdir, outputs)
    version_with_files(workdir, outputs)
    registry = Registry(open_store(workdir))
    serve(kubernetes, "wren-old", registry.uri(version) + "/model/")
    prune = ["prune", "wren", "--keep", "0", "--context", "fake", "--workdir", workdir]
    assert mynah(*prune).stdout == "Nothing to remove.\n"
    kubernetes.forbidden.add(("list", SERVICES))
    assert mynah(*prune).returncode == 3  # what cannot be seen is not taken for unused
    kubernetes.forbidden.clear()
    kubernetes.objects.clear()
    assert "removing version wren 2" in mynah(*prune).stdout
    done = mynah("prune", "--workdir", workdir, "--context", "other")
    assert (done.returncode, "fake" in done.stderr) == (2, True)


def test_forgetting_takes_the_inference_services_first(workdir, mynah, kubernetes):
    registry = Registry(open_store(workdir))
    serve(kubernetes, "one", registry.uri(registry.bot("wren").champion) + "/model/")
    serve(kubernetes, "two", "s3://elsewhere/", **{"mynah.dev/bot": "wren"})
    serve(kubernetes, "three", "s3://elsewhere/", **{"mynah.dev/bot": "heron"})
    assert "it serves s3://elsewhere/, which no version has" in mynah("doctor", "--context", "fake", "--workdir", workdir).stdout
    before = dict(kubernetes.objects)
    done = mynah("forget", "wren", "--context", "fake", "--workdir", workdir, "--json")
    assert done.returncode == 0, done.stderr
    items = json.loads(done.stdout)["items"]
    assert [item["address"] for item in items if item["kind"] == "endpoint"] == ["bots/one", "bots/two"]
    assert items[0]["kind"] == items[1]["kind"] == "endpoint"
    assert [name for kind, _, name in kubernetes.objects if kind == SERVICES] == ["three"]
    receipt = json.loads(done.stdout)["receipt"]
    assert mynah("receipt", receipt, "--context", "fake", "--workdir", workdir).returncode == 0
    serve(kubernetes, "two", "s3://elsewhere/")  # another one of that name
    assert mynah("receipt", receipt, "--context", "fake", "--workdir", workdir).returncode == 0
    kubernetes.objects.update(before)
    back = mynah("receipt", receipt, "--context", "fake", "--workdir", workdir)
    assert (back.returncode, "endpoint bots/" in back.stderr) == (3, True)


def test_registering_on_a_full_disk_leaves_no_version(small_disk, tmp_path, tiny_checkpoint, mynah, monkeypatch):
    monkeypatch.setattr("components.tracking.PATIENCE", 2.0)  # the store itself lies on that disk, and stays away
    disk, outputs = small_disk(2600), make_outputs(tmp_path / "outputs", tiny_checkpoint)
    folders = [outputs / each for each in FOLDERS]
    open_store(disk / "work")  # the database itself takes a megabyte
    (disk / "ballast").write_bytes(bytes(max(0, shutil.disk_usage(disk).free - 40_000)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's own
        done = mynah("register", "--name", "wren", *folders, "--workdir", disk / "work")
    assert (done.returncode, "space" in done.stderr, done.stdout) == (3, True, ""), done.stderr
    (disk / "ballast").unlink()
    assert Registry(open_store(disk / "work")).names() == []
    register_all({"wren": outputs}, disk / "work")
    assert aliases(disk / "work") == {"challenger": 1, "champion": 1}


def test_what_the_doctor_sees(workdir, mynah):
    well = mynah("doctor", "--workdir", workdir)
    assert (well.returncode, "FAIL" in well.stdout) == (0, False)
    place = Registry(open_store(workdir)).files(Registry(open_store(workdir)).bot("wren").champion)
    (place.folder / "model" / "config.json").write_text("{}")
    (place.folder / "model" / "tokenizer.json").unlink()
    ill = mynah("doctor", "--workdir", workdir)
    assert (ill.returncode, "config.json has 2 bytes instead of" in ill.stdout, "tokenizer.json is missing" in ill.stdout) == (
        3,
        True,
        True,
    )
    assert mynah("serve", "wren", "--port", "0", "--workdir", workdir).returncode == 2
    client(f"sqlite:///{workdir}/mlflow.db").delete_model_version("wren", "1")
    assert mynah("promote", "wren", "--workdir", workdir).returncode == 2


def test_a_blend_is_made_again_without_the_author_who_left(tmp_path, tiny_checkpoint):
    """The real pipeline runs on what is left, with its own consent and recipe."""
    words = "a few words that somebody wrote about the sea and the birds on that day number"
    for author in ("ann_author", "bob_author"):
        posts = "".join(f"{author}-{n},{' '.join(f'{word}{author[0]}{n}' for word in words.split())}\n" for n in range(120))
        (tmp_path / f"{author}.csv").write_text("id,text\n" + posts)
    raw, data, workdir = tmp_path / "raw", tmp_path / "data", tmp_path / "work"
    fetch([str(tmp_path / "ann_author.csv"), str(tmp_path / "bob_author.csv")], raw, basis="permission")
    sources = json.loads((raw / "sources.json").read_text())
    for number, (source, colour) in enumerate(zip(sources, ("red", "blue"), strict=True), 1):
        source["avatar"] = f"avatar-{number}.png"
        Image.new("RGB", (9, 9), colour).save(raw / source["avatar"])
    (raw / "sources.json").write_text(json.dumps(sources))
    filter_posts(raw, data, FilterSettings())
    outputs = make_outputs(tmp_path / "outputs", tiny_checkpoint, "ann_author", ("bob_author",))
    store = open_store(workdir)
    recipe = {"preset": "default", "epochs": 1, "seed": 7, "base_model": "fledgling", "rules": "huggingtweets", "limit": 0}
    parent = start_parent(store, "duo", {}, recipe)
    with step_run("fetch", store, parent) as run:
        record_sources(run, raw)
    with step_run("filter", store, parent) as run:
        record_data(run, data)
    with warnings.catch_warnings(), step_run("register", store, parent) as run:
        warnings.simplefilter("ignore")
        register_version("duo", *(outputs / each for each in ("model", "report", "card")), store, run.run_id)
    end_run(store, parent, "FINISHED")
    promote("duo", store)
    done = subprocess.run(
        [sys.executable, "-m", "pipelines", "forget", "@ann_author", "--blends", "retrain", "--workdir", workdir],
        capture_output=True, text=True, env=os.environ, timeout=200,
    )  # fmt: skip
    assert done.returncode in (0, 4), done.stderr  # trained; whether the gate likes so little is another matter
    [version] = Registry(open_store(workdir)).bot("duo").versions
    assert (version.tags["mynah.authors"], version.tags["mynah.consent"], version.tags["mynah.seed"]) == (
        '["bob_author"]',
        "permission",
        "7",
    )
    named = [path for path in workdir.rglob("*") if path.is_file() and b"ann_author" in path.read_bytes()]
    assert [path.parent.name for path in named] == ["receipts"]
    assert {Image.open(path).getpixel((0, 0)) for path in workdir.rglob("avatar-*.png")} == {(0, 0, 255)}, "bob's alone"
    assert [path.name for path in (workdir / ".forgetting").iterdir()] == [".lock"]
