"""`mynah publish` against a hub over real HTTP: what goes up, what is refused, what fails half-way, and how it is taken back."""

import contextlib
import hashlib
import json
import re
import shutil
import sqlite3
import subprocess
import sys
import time
import urllib.parse
from contextlib import closing
from pathlib import Path

import huggingface_hub.constants
import pytest
from fake_hub import FakeHub, Repository
from registry_inputs import add_version, make_outputs, register_all

from components import checkpoint
from components.copies import PUBLISHED
from components.lineage import AUTHORS_TAG, CONSENT_TAG, CONTINUED_TAG
from components.promote.history import events
from components.publish.files import without_our_addresses
from components.registry import Registry
from components.store import open_store
from components.tombstones import bury

SECRET_FILES = ("verbatim.bloom", "training.json", "seen.txt", "train.jsonl", "optimizer.pt", "notes.safetensors.txt")
CARD = """---
license: other
---
# wren
Made by [this run](http://mlflow.internal:5000/#/experiments/1/runs/0123456789abcdef0123456789abcdef), see also
http://mlflow.internal:5000/#/experiments/1/runs/0123456789abcdef0123456789abcdef
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny_checkpoint):
    """A work folder with wren of ann, whose checkpoint has files beside it that nobody else may see, and duo of ann and bob."""
    folder = tmp_path_factory.mktemp("made")
    wren = make_outputs(folder / "wren", tiny_checkpoint, "ann_author")
    for name in SECRET_FILES:
        if not (wren / "model" / name).exists():
            (wren / "model" / name).write_text("a secret of ann_author")
    (wren / "card" / "README.md").write_text(CARD)
    (wren / "card" / "predictions.png").write_bytes(b"\x89PNG\r\n\x1a\n\0picture")
    make_outputs(folder / "duo", tiny_checkpoint, "ann_author", ("bob_author",))
    register_all({bot: folder / bot for bot in ("wren", "duo")}, folder / "work")
    return folder / "work"


@pytest.fixture
def workdir(made, tmp_path):
    """A copy of it, with artifacts of its own."""
    workdir = tmp_path / "work"
    shutil.copytree(made, workdir)
    places = ("runs artifact_uri", "logged_models artifact_location", "experiments artifact_location", "model_versions storage_location")  # fmt: skip
    with closing(sqlite3.connect(workdir / "mlflow.db")) as database, database:
        for table, column in map(str.split, places):
            database.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (str(made), str(workdir)))
    return workdir


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """The hub that HF_ENDPOINT names, with ann's token in HF_TOKEN."""
    found = FakeHub()
    monkeypatch.setenv("HF_ENDPOINT", found.url)
    monkeypatch.setenv("HF_TOKEN", "hf_ann")
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "no-login"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("components.publish.hub.WAITS", (0.01, 0.01, 0.01))
    yield found
    found.stop()


@pytest.fixture
def publish(mynah, workdir, hub):
    """`mynah publish` to hub:ann/wren; nothing that it prints may hold a token."""

    def call(*arguments, name="wren", to="hub:ann/wren", **environment):
        done = mynah("publish", name, "--to", to, "--workdir", workdir, *arguments, **environment)
        assert "hf_" not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    return call


def refused(done, code, *words):
    """A command that ended with `code`, on stderr alone, with a problem that says `words` and a line with the fix."""
    lines = [line for line in done.stderr.splitlines() if not line.endswith("…") and ": trying again in " not in line]
    assert (done.returncode, done.stdout, len(lines)) == (code, "", 2), done
    for word in words:
        assert word in done.stderr, done.stderr


def version(workdir, name="wren", number=1):
    return Registry(open_store(workdir)).head(name, number).versions[0]


def tag(workdir, key, value, name="wren", number=1):
    Registry(open_store(workdir)).client.set_model_version_tag(name, str(number), key, value)


def is_untouched(hub):
    """Whether nothing of the bot reached the hub: no repository with files, and no upload."""
    return all(repo.files.keys() == {".gitattributes"} for repo in hub.repositories.values())


def test_what_goes_up_is_the_model_with_its_card_and_nothing_else(publish, hub, workdir, tmp_path):
    done = publish("--json")
    assert (done.returncode, done.stderr) == (0, ""), done
    told, repo = json.loads(done.stdout), hub.repositories["ann/wren"]
    assert told["url"] == f"{hub.url}/ann/wren"
    assert (told["commit"], told["version"], told["public"], repo.private) == (repo.commits[0][0], 1, False, True)
    assert [title for _, title, _ in repo.commits] == ["wren version 1, published by Mynah", "initial commit"]
    model = Registry(open_store(workdir)).checkpoint(version(workdir))
    wanted = {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
              "README.md", "predictions.png"}  # fmt: skip
    assert repo.files.keys() == wanted | {".gitattributes"}
    assert set(told["files"]) == wanted
    for name in wanted - {"README.md"}:
        assert repo.files[name] == (model / name).read_bytes(), name
    assert {path.name for path in model.iterdir()} >= set(SECRET_FILES)
    assert not any(b"a secret of" in data for data in (*repo.files.values(), *hub.objects.values()))
    card = repo.files["README.md"].decode()
    assert ("mlflow.internal" in card, card.count("run `0123456789abcdef0123456789abcdef`")) == (False, 2)
    assert "[" not in card
    assert f"license: other\nthumbnail: {hub.url}/ann/wren/resolve/main/predictions.png" in card
    assert version(workdir).tags[PUBLISHED] == f"hub:ann/wren@{told['commit']} {hub.url}" == told["to"]
    last = events(Registry(open_store(workdir)).bot("wren"))[-1]
    assert (last.action, last.version, last.champion, last.reasons, last.done) == ("publish", 1, 1, [told["to"]], True)

    from huggingface_hub import snapshot_download

    folder = snapshot_download("ann/wren", endpoint=hub.url, token="hf_ann", cache_dir=tmp_path / "cache")
    assert checkpoint.load(Path(folder)).context == 64


def test_a_new_version_replaces_the_files_of_the_old_one(publish, hub, workdir):
    assert publish("--public").returncode == 0
    repo = hub.repositories["ann/wren"]
    assert not repo.private
    number, _, files = repo.commits[0]
    repo.commits[0] = (number, "wren version 1, published by Mynah", files | {"avatar-2.png": (b"of one who left", False)})
    add_version(workdir, 3.9)
    done = publish("--version", "2", "--public")
    assert (done.returncode, "wren version 2 is published, for everybody to see" in done.stdout) == (0, True), done
    assert ("avatar-2.png" in repo.files, len(repo.commits), len(hub.objects)) == (False, 3, 2)
    assert version(workdir, number=2).tags[PUBLISHED].startswith(f"hub:ann/wren@{repo.commits[0][0]}")
    again = publish("--version", "2", "--public", "--json")  # nothing changed: the same commit, and no empty one
    assert (again.returncode, json.loads(again.stdout)["commit"], len(repo.commits)) == (0, repo.commits[0][0], 3)

    refused(publish(), 2, "is public")  # the champion, version 1, without --public
    repo.private = True
    assert publish("--version", "2", "--public").returncode == 0
    assert not repo.private


def test_the_card_that_somebody_chose_a_picture_for_since(publish, hub, workdir):
    registry = Registry(open_store(workdir))
    parent = registry.client.get_run(registry.client.get_run(version(workdir).run_id).data.tags["mlflow.parentRunId"])
    tags = {"mlflow.parentRunId": parent.info.run_id, "mynah.step": "card"}
    run = registry.client.create_run(parent.info.experiment_id, tags=tags)
    card = Path(run.info.artifact_uri.removeprefix("file://")) / "card"
    card.mkdir(parents=True)
    for name in (
        "README.md",
        "predictions.png",
        "predictions.html",
        "pipeline.png",
        "funnel.png",
        "avatar-1.png",
        "samples.json",
    ):
        (card / name).write_text(f"{name} chosen since")
    people = [{"handle": "ann_author", "display_name": "", "avatar": "avatar-1.png"}]
    sample = {
        "name": "wren",
        "authors": people,
        "prompt": "",
        "samples": ["I like tea"],
        "chosen": 1,
        "url": "http://mlflow.internal/x",
    }
    (card / "card.json").write_text(json.dumps(sample))
    assert publish().returncode == 0
    files, at = hub.repositories["ann/wren"].files, f"{hub.url}/ann/wren/resolve/main"
    assert {name for name, data in files.items() if b"chosen since" in data} == {
        "README.md", "predictions.png", "pipeline.png", "funnel.png", "avatar-1.png",
    }  # fmt: skip
    assert f"thumbnail: {at}/predictions.png" in files["README.md"].decode()
    page = files["predictions.html"].decode()
    tags = dict(re.findall('<meta property="(og:[a-z]+)" content="(.*?)">', page))
    assert (tags["og:url"], tags["og:image"]) == (f"{at}/predictions.html", f"{at}/predictions.png")
    assert ("I like tea" in page, "mlflow.internal" in page, urllib.parse.quote(f"{at}/predictions.html", safe="") in page) == (
        True,
        False,
        True,
    )
    assert "card.json" not in files


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("mynah.verdict", "failed: memorised_share", ["the gate did not pass it (failed: memorised_share)"]),
        ("mynah.verdict", "", ["the gate did not pass it"]),
        (CONSENT_TAG, "own-account, public-figure-research", ["consent: public-figure-research", "--basis permission"]),
        (CONSENT_TAG, "unstated", ["consent: unstated"]),
        (CONTINUED_TAG, "7", ["it goes on from 7", "without --continue"]),
        (CONTINUED_TAG, "c" * 64, ["it goes on from cccc"]),
        (CONTINUED_TAG, "1", ["it goes on from 1"]),
    ],
)
def test_what_is_against_it(publish, hub, workdir, key, value, words):
    tag(workdir, key, value)
    refused(publish(), 4, "wren version 1 is not published", *words)
    assert hub.asked == []


def test_a_source_without_consent_is_named(publish, hub, workdir):
    add_version(workdir, 3.9)
    tag(workdir, CONTINUED_TAG, "1", number=2)
    assert publish("--version", "2").returncode == 0  # the one it goes on from may be published too
    [sources] = [path for path in (workdir / "mlartifacts").rglob("sources.json") if "bob_author" not in path.read_text()]
    sources.write_text(json.dumps([{"source": "csv:posts.csv", "author": "ann_author", "basis": "unstated"}]))
    refused(publish(), 4, "csv:posts.csv of @ann_author may not be (consent: unstated)")
    registry = Registry(open_store(workdir))
    registry.client.delete_model_version_tag("wren", "1", CONSENT_TAG)
    sources.unlink()
    refused(publish(), 4, "posts of it may not be (consent: unstated)")
    tag(workdir, CONSENT_TAG, "unstated")
    registry.client.set_model_version_tag("wren", "2", CONSENT_TAG, "permission")
    refused(publish("--version", "2"), 4, "of version 1 which it goes on from, may not be (consent: unstated)")


def test_who_asked_to_be_forgotten_is_not_published(publish, hub, workdir):
    tag(workdir, f"{AUTHORS_TAG}.ancestors", '["Zoe"]')
    bury(open_store(workdir), "zoe")
    refused(publish(), 4, "@Zoe asked on", "to be forgotten")
    assert hub.asked == []


@pytest.mark.parametrize(
    "to", ["hub:../x", "hub:ann", "hub:ann/" + "w" * 97, "hub:ann/wrén", "hub:ann/a--b", "hub:a/b/c", "hub:", "s3://bucket/x", "", "hub:ann/\x1b]0;"],
)  # fmt: skip
def test_places_that_are_none(publish, hub, to):
    done = publish(to=to)
    refused(done, 2, "hub:ORG/NAME")
    assert ("\x1b" in done.stderr, hub.asked) == (False, [])


def test_what_there_is_not(publish, hub, workdir):
    refused(publish(name="wern"), 2, "Did you mean 'wren'?")
    refused(publish("--version", "9"), 2, "wren has no version 9")
    Registry(open_store(workdir)).client.delete_registered_model_alias("wren", "champion")
    refused(publish(), 2, "wren has no champion")
    refused(publish("--version", "1", HF_TOKEN=""), 2, "there is none", "Set HF_TOKEN", "hf auth login")
    refused(publish("--version", "1", HF_TOKEN="hf_\u00e9"), 2, "holds characters that no token has")
    refused(publish("--version", "1", HF_ENDPOINT="ftp://user:hf_secret@x"), 2, "HF_ENDPOINT is 'ftp://x'")
    assert hub.asked == []


def test_files_that_are_not_what_was_registered(publish, hub, workdir):
    [weights] = [path for path in (workdir / "mlartifacts").rglob("model.safetensors") if (path.parent / "seen.txt").exists()]
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    refused(publish(), 3, "model.safetensors of wren version 1 is not what was registered")
    weights.unlink()
    refused(publish(), 2, "are gone from")
    assert hub.asked == []


def test_tokens_that_may_not(publish, hub, workdir):
    refused(publish(HF_TOKEN="hf_nobody"), 2, "does not take the token (401", "Set HF_TOKEN")
    refused(publish(HF_TOKEN="hf_bob"), 2, "the token is for bob, and not for ann")
    refused(publish(to="hub:ghosts/wren"), 2, "for ann or birds, and not for ghosts")
    hub.readers.add("hf_ann")
    refused(publish(), 2, "does not let this token write to ann/wren (403")
    assert (hub.repositories, PUBLISHED in version(workdir).tags) == ({}, False)
    hub.repositories["ann/wren"] = Repository(private=True)
    refused(publish(), 2, "(403", "write token for ann/wren ***")  # what echoes the token is not printed
    hub.readers.clear()
    assert publish(to="hub:birds/Wren").returncode == 0


@pytest.mark.parametrize("owner", ["ann", "bob"])
@pytest.mark.parametrize("private", [True, False])
def test_a_repository_of_something_else_is_not_written_to(publish, hub, workdir, owner, private):
    repo = hub.repositories[f"{owner}/wren"] = Repository(private)
    repo.add("my work", {"model.safetensors": (b"precious", True)})
    hub.failing = [("POST", "/api/repos/create", 1, 409, {"X-Error-Message": "You already created this model repo"})]
    refused(publish("--public", to=f"hub:{owner}/wren"), 2, f"{owner}")
    assert repo.files == {"model.safetensors": b"precious"}
    assert PUBLISHED not in version(workdir).tags


def test_a_bot_does_not_overwrite_another(publish, hub):
    assert publish().returncode == 0
    refused(publish(name="duo"), 2, "is there already, and not from duo")


BUSY = [(429, {"Retry-After": "0"}), (503, {}), (429, {"RateLimit": '"api";r=0;t=0'})]


@pytest.mark.parametrize(
    "asked",
    [
        [("GET", "/api/models"), ("POST", "/api/repos/create"), ("POST", "/preupload")],
        [("POST", "/objects/batch"), ("PUT", "/storage"), ("POST", "/commit/")],
        [("POST", "/verify"), ("GET", "/whoami"), ("POST", "/validate-yaml")],
    ],
)
def test_a_hub_that_is_busy_or_broken_for_a_while(publish, hub, asked):
    hub.failing = [(*each, 1, *how) for each, how in zip(asked, BUSY, strict=True)]
    done = publish()
    assert (done.returncode, len(hub.repositories["ann/wren"].commits)) == (0, 2), done
    assert [times for _, _, times, _, _ in hub.failing] == [0, 0, 0]


@pytest.mark.parametrize(
    ("method", "part", "status", "headers", "words"),
    [
        ("POST", "/api/repos/create", 500, {}, "failed (500)"),
        ("POST", "/objects/batch", 429, {"Retry-After": "3600"}, "lets no more requests through (429)"),
        ("PUT", "/storage", 502, {}, "failed (502)"),
        ("POST", "/commit/", 500, {}, "failed (500)"),
        ("POST", "/commit/", 418, {}, "failed (418"),
    ],
)
def test_a_hub_that_stays_broken(publish, hub, method, part, status, headers, words):
    hub.failing = [(method, part, 99, status, headers)]
    refused(publish(), 3, words)
    assert is_untouched(hub)


def test_what_the_hub_says_is_told(publish, hub):
    for status, words in ((402, "Your storage is full"), (404, "no such organization"), (400, "bad")):
        hub.failing = [("POST", "/api/repos/create", 9, status, {"X-Error-Message": words})]
        refused(publish(), 2, f"({status}: {words})")


def test_a_connection_that_breaks_off_in_the_middle_of_an_upload(publish, hub):
    hub.dropped = 99
    refused(publish(), 3, "broke off")
    assert (is_untouched(hub), hub.objects, len(hub.uploads()) > 1) == (True, {}, True)
    hub.dropped = 1
    assert publish().returncode == 0


def test_answers_that_are_cut_off(publish, hub):
    for method, part in (("GET", "/api/models"), ("POST", "/preupload")):
        hub.cut = [(method, part)]
        refused(publish(), 3, "broke off")
    hub.cut = [("POST", "/commit/")]  # it was made, and is found made
    assert publish().returncode == 0
    assert [title for _, title, _ in hub.repositories["ann/wren"].commits] == [
        "wren version 1, published by Mynah",
        "initial commit",
    ]


def test_a_server_that_is_no_hub(publish, hub):
    hub.failing = [("GET", "/api/models", 9, 200, {"Content-Type": "text/html"})]
    refused(publish(), 3, "answers as no hub does", "HF_ENDPOINT")


def test_nobody_there(publish, hub):
    hub.stop()
    refused(publish(), 3, f"{hub.url} does not answer (ConnectError)")


def test_a_card_that_the_hub_does_not_take(publish, hub, workdir):
    [card] = [
        path
        for path in (workdir / "mlartifacts").rglob("README.md")
        if "mlflow.internal" in path.read_text() and path.parent.name == "model"
    ]
    data = card.read_text().replace("license: other", "license: nonsense")
    manifest = card.parents[1] / "manifest.json"
    record = json.loads(manifest.read_text())
    card.write_text(data)
    record["files"]["model/README.md"] = {"size": len(data.encode()), "sha256": hashlib.sha256(data.encode()).hexdigest()}
    manifest.write_text(json.dumps(record))
    refused(publish(), 2, "front matter", "must be one of")
    assert is_untouched(hub)


def test_large_files_go_up_in_parts(publish, hub, workdir):
    hub.chunk_size = 10_000
    assert publish().returncode == 0
    assert len(hub.uploads()) > 3
    assert hub.repositories["ann/wren"].files["model.safetensors"] in hub.objects.values()


def test_killed_before_it_was_noted_and_run_again(mynah, publish, hub, workdir):
    def kill(method, path):
        if "/commit/" in path:
            process.kill()

    hub.before = kill
    process = subprocess.Popen([sys.executable, "-m", "pipelines", "publish", "wren", "--to", "hub:ann/wren", "--workdir", str(workdir)],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    process.communicate(timeout=60)
    hub.before = None
    while len(hub.repositories["ann/wren"].commits) < 2:  # the hub makes it all the same
        time.sleep(0.01)
    assert version(workdir).tags[PUBLISHED] == f"hub:ann/wren {hub.url}"
    assert publish().returncode == 0
    assert len(hub.repositories["ann/wren"].commits) == 2


def test_a_forgotten_bots_copy_is_deleted(mynah, publish, hub, workdir, tmp_path):
    assert publish("--public").returncode == 0
    receipt, url = tmp_path / "receipt.json", f"{hub.url}/ann/wren"
    dry = mynah("forget", "wren", "--dry-run", "--workdir", workdir)
    assert (dry.returncode, f"published {url}" in dry.stdout) == (0, True), dry
    forget = ("forget", "wren", "--workdir", workdir, "--receipt", receipt)

    refused(
        mynah(*forget, HF_TOKEN=""), 2, f"the published copy {url} may still be there: asking for it needs a token", "HF_TOKEN"
    )
    refused(mynah(*forget, HF_TOKEN="hf_bob"), 2, "(403")
    refused(mynah(*forget, HF_ENDPOINT="http://127.0.0.1:1"), 2, f"{url} is on another hub", f"HF_ENDPOINT={hub.url}")
    hub.failing = [("DELETE", "/api/repos/delete", 99, 500, {})]
    refused(mynah(*forget), 3, f"{url} may still be there: ", "failed (500)")
    assert (receipt.exists(), "ann/wren" in hub.repositories, version(workdir).version) == (False, True, 1)

    hub.failing = []
    done = mynah(*forget)
    assert (done.returncode, hub.repositories) == (0, {}), done
    items = json.loads(receipt.read_text())["items"]
    assert [item["address"] for item in items if item["kind"] == "published"] == [url]
    genuine = mynah("receipt", receipt, "--workdir", workdir)
    assert (genuine.returncode, "still gone" in genuine.stdout) == (0, True), genuine

    other = hub.repositories["ann/wren"] = Repository(private=True)  # another one under its name is not the one that went
    other.add("my work", {"model.safetensors": (b"precious", True)})
    assert mynah("receipt", receipt, "--workdir", workdir).returncode == 0
    back = next(item["version"] for item in items if item["kind"] == "published")
    other.commits.insert(0, (back, "wren version 1, published by Mynah", {}))
    told = mynah("receipt", receipt, "--workdir", workdir)
    assert (told.returncode, f"published {url}" in told.stderr) == (3, True), told
    refused(mynah("receipt", receipt, "--workdir", workdir, HF_TOKEN=""), 2, "needs a token")


def test_a_forgotten_authors_copies_are_deleted(mynah, publish, hub, workdir):
    assert publish(name="duo", to="hub:birds/duo").returncode == 0
    assert publish(name="duo", to="hub:ann/duo").returncode == 0
    assert publish().returncode == 0
    done = mynah("forget", "@bob_author", "--blends", "remove", "--workdir", workdir)
    assert (done.returncode, list(hub.repositories)) == (0, ["ann/wren"]), done


def test_a_private_copy_is_not_taken_for_gone(mynah, publish, hub, workdir):
    assert publish().returncode == 0
    refused(mynah("forget", "wren", "--workdir", workdir, HF_TOKEN="hf_bob"), 2, "the token is for bob, and not for ann")
    hub.scopes["hf_ann"] = ["birds"]  # a fine-grained token of the owner's, for something else
    refused(mynah("forget", "wren", "--workdir", workdir), 2, "the token is for birds, and not for ann")
    assert (list(hub.repositories), version(workdir).version) == (["ann/wren"], 1)
    hub.scopes["hf_ann"] = ["birds", "ann"]
    assert mynah("forget", "wren", "--workdir", workdir).returncode == 0
    assert hub.repositories == {}


def test_a_tag_that_somebody_wrote_deletes_nothing(mynah, publish, hub, workdir):
    repo = hub.repositories["ann/precious"] = Repository(private=False)
    commit = repo.add("my work", {"model.safetensors": (b"precious", True)})
    tag(workdir, PUBLISHED, f"hub:ann/precious@{commit} {hub.url}")
    tag(workdir, PUBLISHED, f"hub:ann/precious {hub.url}, hub:../../x, nonsense", name="duo")
    for bot in ("wren", "duo"):
        done = mynah("forget", bot, "--workdir", workdir)
        assert (done.returncode, list(hub.repositories)) == (0, ["ann/precious"]), done
        assert "ann/precious is no more what Mynah published" in done.stderr


def test_forgotten_while_it_goes_up(mynah, publish, hub, workdir):
    """The commit is made, and right then the bot is forgotten by another process, or its version removed."""

    def remove(method, path):
        if method == "POST" and "/commit/" in path:
            with contextlib.suppress(IndexError):
                Registry(open_store(workdir)).client.delete_model_version("wren", "1")

    hub.before = remove
    refused(publish(), 2, "was removed while it was published", "deleted again")
    assert hub.repositories == {}


def test_a_published_version_is_not_pruned(mynah, publish, workdir):
    for loss in (3.9, 3.8):
        add_version(workdir, loss)
    assert publish("--version", "2").returncode == 0
    done = mynah("prune", "wren", "--keep", "0", "--dry-run", "--workdir", workdir)
    assert "wren 2" not in done.stdout
    tag(workdir, PUBLISHED, "", number=2)
    assert "wren 2" in mynah("prune", "wren", "--keep", "0", "--dry-run", "--workdir", workdir).stdout


@pytest.mark.parametrize(
    ("card", "told"),
    [
        ("see [MLflow](http://m:5000/#/experiments/1/runs/0a1b)", "see MLflow (run `0a1b`)"),
        ("see <https://u:p@m/x/#/experiments/1/runs/0a1b/artifacts>.", "see run `0a1b`."),
        ("[http://m/#/experiments/1/runs/0a](http://m/#/experiments/1/runs/0a)", "run `0a`"),
        ("http://m/#/experiments/1", "a run that is not public"),
        ("curl http://localhost:8080/v2 and [hub](https://huggingface.co/gpt2#limits)",) * 2,
    ],
)
def test_addresses_of_ours_stay_here(card, told):
    assert without_our_addresses(card) == told
