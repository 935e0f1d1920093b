"""`mynah publish` against a hub over real HTTP: what goes up, and what is refused."""

import json
import re
import urllib.parse
from pathlib import Path

import pytest
from fake_hub import Repository
from publish_inputs import SECRET_FILES, refused, tag, version
from registry_inputs import add_version

from components.publish.files import remove_private_links
from mynah.data.authors import AUTHORS_TAG, CONSENT_TAG
from mynah.models import checkpoint
from mynah.registry.forgotten_authors import mark_forgotten
from mynah.registry.history import events
from mynah.registry.lineage import CONTINUED_TAG
from mynah.registry.published_copies import PUBLISHED
from mynah.registry.registry import Registry
from mynah.tracking.open import open_store
from tests.code.card_inputs import source


def test_what_goes_up_is_the_model_with_its_card_and_nothing_else(publish, hub, workdir, tmp_path):
    done = publish("--json")
    assert (done.returncode, done.stderr) == (0, ""), done
    told, repo = json.loads(done.stdout), hub.repositories["ann/wren"]
    assert told["url"] == f"{hub.url}/ann/wren"
    assert (told["commit"], told["version"], told["public"], repo.private) == (repo.commits[0][0], 1, False, True)
    assert [title for _, title, _ in repo.commits] == ["wren version 1, published by Mynah", "initial commit"]
    model = Registry(open_store(workdir)).checkpoint(version(workdir))
    wanted = {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
              "README.md", "predictions.png", "BASE_LICENSE.txt", "NOTICE.txt"}  # fmt: skip
    assert repo.files.keys() == wanted | {".gitattributes"}
    assert set(told["files"]) == wanted
    for name in wanted - {"README.md", "BASE_LICENSE.txt", "NOTICE.txt"}:
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
    assert (done.returncode, "visible to everybody" in done.stdout) == (0, True), done
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
    assert hub.requests == []


def test_a_source_without_consent_is_named(publish, hub, workdir):
    add_version(workdir, 3.9)
    tag(workdir, CONTINUED_TAG, "1", number=2)
    assert publish("--version", "2").returncode == 0  # the one it goes on from may be published too
    [sources] = [path for path in (workdir / "mlartifacts").rglob("sources.json") if "bob_author" not in path.read_text()]
    sources.write_text(json.dumps([source("ann_author", source="csv:posts.csv", basis="unstated")]))
    refused(publish(), 4, "csv:posts.csv of @ann_author may not be (consent: unstated)")
    sources.write_text(json.dumps([{"source": "csv:posts.csv"}]))
    refused(publish(), 4, "posts whose sources cannot be read", "has no '[0].kind'", "(consent: unstated)")
    registry = Registry(open_store(workdir))
    registry.client.delete_model_version_tag("wren", "1", CONSENT_TAG)
    sources.unlink()
    refused(publish(), 4, "posts of it may not be (consent: unstated)")
    tag(workdir, CONSENT_TAG, "unstated")
    registry.client.set_model_version_tag("wren", "2", CONSENT_TAG, "permission")
    refused(publish("--version", "2"), 4, "of version 1 which it goes on from, may not be (consent: unstated)")


def test_who_asked_to_be_forgotten_is_not_published(publish, hub, workdir):
    tag(workdir, f"{AUTHORS_TAG}.ancestors", '["Zoe"]')
    mark_forgotten(open_store(workdir), "zoe")
    refused(publish(), 4, "@Zoe asked on", "to be forgotten")
    assert hub.requests == []


@pytest.mark.parametrize(
    "to", ["hub:../x", "hub:ann", "hub:ann/" + "w" * 97, "hub:ann/wrén", "hub:ann/a--b", "hub:a/b/c", "hub:", "s3://bucket/x", "", "hub:ann/\x1b]0;"],
)  # fmt: skip
def test_places_that_are_none(publish, hub, to):
    done = publish(to=to)
    refused(done, 2, "hub:ORG/NAME")
    assert ("\x1b" in done.stderr, hub.requests) == (False, [])


def test_what_there_is_not(publish, hub, workdir):
    refused(publish(name="wern"), 2, "Did you mean 'wren'?")
    refused(publish("--version", "9"), 2, "wren has no version 9")
    Registry(open_store(workdir)).client.delete_registered_model_alias("wren", "champion")
    refused(publish(), 2, "wren has no champion")
    refused(publish("--version", "1", HF_TOKEN=""), 2, "there is none", "Set HF_TOKEN", "hf auth login")
    refused(publish("--version", "1", HF_TOKEN="hf_\u00e9"), 2, "contains characters that no token has")
    refused(publish("--version", "1", HF_ENDPOINT="ftp://user:hf_secret@x"), 2, "HF_ENDPOINT is 'ftp://x'")
    assert hub.requests == []


def test_files_that_are_not_what_was_registered(publish, hub, workdir):
    [weights] = [path for path in (workdir / "mlartifacts").rglob("model.safetensors") if (path.parent / "seen.txt").exists()]
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    refused(publish(), 3, "model.safetensors of wren version 1 is not what was registered")
    weights.unlink()
    refused(publish(), 2, "are gone from")
    assert hub.requests == []


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
    assert remove_private_links(card) == told
