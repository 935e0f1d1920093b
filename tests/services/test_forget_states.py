"""Training states hold what was learnt from people's posts: forgotten with them, in folders and in S3, and pruned when nobody goes on."""

import json
import os
import time

import pytest
import torch

from components.fetch.x.api_pages import PageCache, pages_copy_uri
from mynah.tracking.open import open_store
from mynah.training.state_store import State, States

DAYS = 24 * 3600


@pytest.fixture
def workdir(tmp_path, monkeypatch):
    """A work folder with an empty registry."""
    for name in ("MYNAH_CHECKPOINTS", "MYNAH_S3_BUCKET"):
        monkeypatch.delenv(name, raising=False)
    open_store(tmp_path / "work")
    return tmp_path / "work"


def keep(root, bot, authors, data="0", step=7):
    """A state of a bot's training, as fine-tuning saves it; its training's address."""
    states = States(f"{root}/{bot}", {"data_digest": data})
    states.save(State(step, {"weight": torch.ones(9)}, {"progress": {}, "authors": authors}))
    return states.uri


def left(root):
    return sorted(f"{path.parent.parent.parent.name} {path.parent.name}" for path in root.rglob("state.json"))


def forget(mynah, subject, workdir, *more, **environment):
    done = mynah("forget", "--yes", subject, "--workdir", workdir, "--json", *more, **environment)
    assert done.returncode == 0, done.stderr
    return {item["address"] for item in json.loads(done.stdout)["items"]}


def test_an_authors_states_go_and_the_others_stay(mynah, workdir):
    root = workdir / "checkpoints"
    ann, duo = keep(root, "wren", ["ann"]), keep(root, "duo", ["bob", "Ann"], data="1")
    keep(root, "duo", ["bob"], data="2", step=8)
    lost = keep(root, "lark", ["cleo"])  # whose state.json is damaged: nobody knows whose it was
    (root / "lark" / os.path.basename(lost) / "step-000007" / "state.json").write_text("{}")  # noqa: PTH119
    (root / "duo" / "notes").mkdir()
    (root / "duo" / "notes" / "mine.txt").write_text("ann")
    planned = forget(mynah, "@ann", workdir, "--dry-run")
    assert len(left(root)) == 4
    done = forget(mynah, "@ann", workdir)
    assert done == planned
    for training in (ann, duo, lost):
        assert {training, f"{training}/step-000007/state.safetensors", f"{training}/step-000007/state.json"} <= done
    assert left(root) == ["duo step-000008"]
    assert sorted(path.name for path in root.iterdir()) == ["duo"]  # not even the bot's name stays
    assert (root / "duo" / "notes" / "mine.txt").exists()
    [receipt] = (workdir / "receipts").glob("*.json")
    assert f"training states in {root}" in receipt.read_text()
    assert mynah("receipt", receipt, "--workdir", workdir).returncode == 0


def test_a_bots_states_go_wherever_they_are_kept(mynah, workdir, tmp_path):
    other = tmp_path / "elsewhere"
    for root in (workdir / "checkpoints", other):
        keep(root, "wren", ["ann"])
        keep(root, "wren", ["ann"], data="1")
        keep(root, "robin", ["ann"])
    (other / "wren" / "mine.txt").write_text("not a state")
    forget(mynah, "wren", workdir, MYNAH_CHECKPOINTS=str(other))
    assert left(workdir / "checkpoints") == left(other) == ["robin step-000007"]
    assert [path.name for path in (other / "wren").iterdir()] == ["mine.txt"]
    assert not (workdir / "checkpoints" / "wren").exists()
    assert forget(mynah, "wren", workdir, MYNAH_CHECKPOINTS=str(other)) == set()


def test_states_that_nobody_took_up_again_are_pruned(mynah, workdir):
    root = workdir / "checkpoints"
    for bot, days in (("wren", 8), ("robin", 8), ("lark", 6)):
        keep(root, bot, ["ann"])
        _grow_old(root / bot, days)
    prune = ["prune", "--workdir", workdir, "--json"]
    dry = json.loads(mynah(*prune, "--dry-run").stdout)
    assert [(each["kind"], "/robin/" in each["name"]) for each in dry] == [("states", True), ("states", False)]
    assert len(left(root)) == 3
    done = mynah("prune", "--workdir", workdir)
    assert "removing states" in done.stdout
    assert left(root) == ["lark step-000007"]
    assert [path.name for path in root.iterdir()] == ["lark"]


def _grow_old(folder, days):
    then = time.time() - days * DAYS
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, (then, then))


def test_in_s3_older_versions_and_unfinished_uploads_go_too(mynah, workdir, s3, bucket, monkeypatch):
    client, name = bucket
    client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    environment = {**s3.environment, "MYNAH_S3_BUCKET": name}
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    root = f"s3://{name}/checkpoints"
    done = States(f"{root}/wren", {"data_digest": "0"})
    for step in (1, 2, 3):
        done.save(State(step, {"weight": torch.ones(9)}, {"authors": ["ann"]}))
    done.clear()  # the bucket keeps what it was
    keep(root, "robin", ["bob"])
    half = keep(root, "duo", ["bob", "ann"]).removeprefix(f"s3://{name}/")
    client.create_multipart_upload(Bucket=name, Key=f"{half}/step-000009/state.safetensors")
    client.put_object(Bucket=name, Key="checkpoints/duo/notes.txt", Body=b"not a state")
    before = _versions(client, name)
    assert len(before["wren"]) == 12  # three states of two files, and a delete marker of each
    planned = forget(mynah, "@ann", workdir, "--dry-run")
    assert _versions(client, name) == before
    found = forget(mynah, "@ann", workdir)
    assert found == planned
    assert any("/wren/" in address for address in found)
    after = _versions(client, name)
    assert after == {"robin": before["robin"], "duo": ["checkpoints/duo/notes.txt"]}
    assert "Uploads" not in client.list_multipart_uploads(Bucket=name)
    forget(mynah, "robin", workdir)
    assert _versions(client, name) == {"duo": ["checkpoints/duo/notes.txt"]}


def test_pages_of_x_in_the_bucket_go_with_their_author(mynah, workdir, s3, bucket, monkeypatch, tmp_path):
    client, name = bucket
    client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    for key, value in {**s3.environment, "MYNAH_S3_BUCKET": name, "MYNAH_CACHE": str(tmp_path / "pod")}.items():
        monkeypatch.setenv(key, value)
    for author in ("ann", "bob"):
        pages = PageCache(author)
        with pages.locked():
            pages.begin({"id": "1", "username": author})
            pages.add([{"id": "2", "text": "said"}])
    monkeypatch.setenv("MYNAH_CACHE", str(tmp_path / "another machine"))
    found = forget(mynah, "@ann", workdir)
    assert f"{pages_copy_uri('ann')}/pages.jsonl" in found
    assert {f"s3://{name}/{key}" for keys in _versions(client, name).values() for key in keys} == {
        f"{pages_copy_uri('bob')}/pages.jsonl"
    }


def _versions(client, name):
    """Keys of all versions and delete markers by bot."""
    page = client.list_object_versions(Bucket=name)
    found = {}
    for item in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
        found.setdefault(item["Key"].split("/")[1], []).append(item["Key"])
    return {bot: sorted(keys) for bot, keys in found.items()}


@pytest.fixture
def later(monkeypatch):
    """A clock that is so many days ahead: an object's age cannot be set."""
    from datetime import datetime, timedelta

    from mynah.maintenance import prune as prune_module

    def set_clock(days):
        class Later(datetime):
            @classmethod
            def now(cls, zone=None):
                return datetime.now(zone) + timedelta(days=days)

        monkeypatch.setattr(prune_module, "datetime", Later)

    return set_clock


def test_pruning_in_s3(mynah, workdir, s3, bucket, monkeypatch, later):
    client, name = bucket
    for key, value in {**s3.environment, "MYNAH_S3_BUCKET": name}.items():
        monkeypatch.setenv(key, value)
    training = keep(f"s3://{name}/checkpoints", "wren", ["ann"])
    client.create_multipart_upload(Bucket=name, Key=training.removeprefix(f"s3://{name}/") + "/step-000009/state.safetensors")
    assert json.loads(mynah("prune", "--workdir", workdir, "--json").stdout) == []

    later(8)
    [gone] = json.loads(mynah("prune", "--workdir", workdir, "--json").stdout)
    assert (gone["kind"], gone["name"]) == ("states", training)
    assert "Contents" not in client.list_objects_v2(Bucket=name)
    assert "Uploads" not in client.list_multipart_uploads(Bucket=name)


def test_what_runs_on_a_cluster_handed_on_is_pruned_when_they_are_over(mynah, workdir, s3, bucket, monkeypatch, later):
    from mynah.tracking.kfp_runs import start_run
    from mynah.tracking.runs import end_run

    client, name = bucket
    for key, value in {**s3.environment, "MYNAH_S3_BUCKET": name}.items():
        monkeypatch.setenv(key, value)
    ended, running, unknown = (f"00000000-0000-4000-8000-00000000000{number}" for number in range(3))
    store = open_store(workdir)
    end_run(store, start_run("wren", ended, store, {}), "FAILED")
    start_run("wren", running, store, {})
    kept = ["runs/00000000000000aa/spec.json", "runs/00000000000000aa/uploads/posts.jsonl", f"runs/00000000000000aa/{running}/raw/posts.jsonl",
            f"runs/{ended}/posts.jsonl", "runs/00000000000000aa/notes/mine.txt"]  # fmt: skip
    gone = [f"runs/00000000000000aa/{ended}/raw/posts.jsonl", f"runs/00000000000000aa/{ended}/logs/fetch-1.log",
            f"runs/00000000000000bb/{unknown}/raw/posts.jsonl"]  # fmt: skip
    for key in (*kept, *gone):
        client.put_object(Bucket=name, Key=key, Body=b'{"name": "wren", "sources": []}')
    client.create_multipart_upload(Bucket=name, Key=f"runs/00000000000000aa/{ended}/model/model.safetensors")
    prune = ["prune", "--workdir", workdir, "--json"]
    assert json.loads(mynah(*prune).stdout) == []  # all of it is young
    later(8)
    assert json.loads(mynah(*prune, "--days", "9").stdout) == []
    found = json.loads(mynah(*prune, "--dry-run").stdout)
    assert sorted((each["kind"], each["name"]) for each in found) == [
        ("files", f"s3://{name}/runs/00000000000000aa/{ended}"), ("files", f"s3://{name}/runs/00000000000000bb/{unknown}"),
    ]  # fmt: skip
    done = json.loads(mynah(*prune).stdout)
    assert sorted(each["why"].split(" that")[0] for each in done) == ["of a run of an unknown bot", "of a run of wren"]
    assert json.loads(mynah(*prune).stdout) == []
    assert sorted(each["Key"] for each in client.list_objects_v2(Bucket=name)["Contents"]) == sorted(kept)
    assert "Uploads" not in client.list_multipart_uploads(Bucket=name)
